"""Applied one by one, changes of other machines' ports give what compiling everything anew gives."""

from ipaddress import ip_address, ip_interface, ip_network
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd.changes import Change, affected
from hawser.netd.compile import compile_intent
from hawser.netd.fabric import Fabric
from hawser.netd.model import (
    Default,
    Direction,
    Endpoint,
    Kind,
    Network,
    Peer,
    Policy,
    Port,
    Router,
    Rule,
    Selector,
    Tenant,
)
from hawser.netd.site import SWITCH, Site
from hawser.netd.specs import RemoteSpec, Spec, TunnelSpec

SITE = Site(
    machine="m1",
    instance="one",
    tenants="/run/tenants",
    mtu=1500,
    numbers={"blue": 0, SWITCH: 1},
    datapath="netdev",
    switch="/run/switch",
)
SANDBOXES = {f"s{number}": SimpleNamespace(path=f"/run/s{number}", source="") for number in range(4)}
NETWORKS = {"front": 1, "back": 2, "lone": 3, "loud": 4, "switched": 5}
MACHINES = ("m1", "m2", "m3", "m4")


def fabric(default: Default = Default.ALLOW) -> Fabric:
    """front and back are joined, loud floods; m4 is not known."""
    found = Fabric()
    found.tenants["blue"] = Tenant(name="blue", default=default)
    for name, number in NETWORKS.items():
        subnet = ip_network(f"10.0.{number}.0/24")
        made = Network(
            tenant="blue",
            name=name,
            subnets=(subnet,),
            gateways=(subnet.network_address + 1,),
            vni=number,
            multicast=name in ("loud", "back", "switched"),
            kind=Kind.OVS if name == "switched" else Kind.BRIDGE,
        )
        found.networks[made.key] = made
    found.routers["blue/r"] = Router(tenant="blue", name="r", networks=("front", "back"))
    web, db = (Selector(labels={"app": name}) for name in ("web", "db"))
    rule = Rule(direction=Direction.INGRESS, peers=(Peer(ports=web),), proto="tcp", ports=((80, 80),))
    found.policies["blue/p"] = Policy(
        tenant="blue", name="p", applies=db, directions=(Direction.INGRESS,), rules=(rule,)
    )  # fmt: skip
    for number, machine in enumerate(MACHINES[:3], 1):
        found.endpoints[machine] = Endpoint(machine=machine, address=ip_address(f"192.0.2.{number}"), mtu=1500)
    return found


def port(machine: str, sandbox: str, network: str = "front", host: int = 2, mac: int = 0, **fields: Any) -> Port:
    return Port(
        machine=machine,
        sandbox=sandbox,
        ifname="eth0",
        tenant="blue",
        network=network,
        netns=f"/run/{sandbox}",
        mac=f"02:00:00:00:{NETWORKS[network]:02x}:{mac or host:02x}",
        addresses=(ip_interface(f"10.0.{NETWORKS[network]}.{host}/24"),),
        **fields,
    )


ports = st.builds(
    port,
    st.sampled_from(MACHINES),
    st.sampled_from(sorted(SANDBOXES)),
    st.sampled_from(sorted(NETWORKS)),
    st.integers(2, 5),
    st.sampled_from((0, 0, 0, 200)),
    labels=st.sampled_from(({}, {"app": "web"}, {"app": "db"}, {"app": "other"})),
    leaving=st.booleans(),
)


def put(fabric: Fabric, wanted: Port, dropping: bool) -> Change | None:
    """Change a port as the store would let it: nobody takes an address that another holds."""
    before = fabric.ports.get(wanted.key)
    if dropping:
        fabric.drop_port(wanted.key)
        return (before, None) if before else None
    held = {address.ip for other in fabric.ports.values() if other.key != wanted.key for address in other.addresses}
    if held & {address.ip for address in wanted.addresses}:
        return None
    fabric.put_port(wanted)
    return before, wanted


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(Default),
    st.lists(st.lists(st.tuples(ports, st.sampled_from((False, False, True))), min_size=1, max_size=3), max_size=12),
)
def test_changes_one_by_one_give_what_compiling_anew_gives(
    default: Default, batches: list[list[tuple[Port, bool]]]
) -> None:
    world = fabric(default)
    desired = compile_intent(world, SITE, SANDBOXES)
    for batch in batches:
        changes = [change for wanted, dropping in batch if (change := put(world, wanted, dropping))]
        found = affected(world, SITE, changes)
        anew = compile_intent(world, SITE, SANDBOXES)
        if found is None:
            touched = [one for change in changes for one in change if one is not None]
            touched += [other for one in touched for other in world.sharing(one).values()]
            assert "m1" in {one.machine for one in touched}
            desired = anew
        else:
            kept = {key: spec for key, spec in desired.items() if key not in found.gone}
            desired = {**kept, **found.desired}
        assert desired == anew


def here(*others: Port) -> Fabric:
    """A port of this machine on front and on loud, and others."""
    world = fabric()
    for one in (port("m1", "s0"), port("m1", "s1", "loud"), *others):
        world.put_port(one)
    return world


def kinds(found: dict[str, Spec]) -> list[str]:
    return sorted({key.partition(":")[0] for key in found})


def test_a_new_port_elsewhere_touches_itself_and_where_its_network_floods() -> None:
    new, loud = port("m2", "s2", host=9), port("m2", "s3", "loud", host=9)
    world = here(new, loud)
    quiet = affected(world, SITE, [(None, new)])
    assert quiet is not None
    assert kinds({**quiet.desired}) == ["remote"]
    flooding = affected(world, SITE, [(None, loud)])
    assert flooding is not None
    tunnel = flooding.desired["tunnel:blue/loud"]
    assert isinstance(tunnel, TunnelSpec)
    assert [*map(str, tunnel.flood)] == ["192.0.2.2"]
    assert kinds({**flooding.desired}) == ["remote", "tunnel"]


def test_a_port_that_moves_is_one_update() -> None:
    old, new = port("m2", "s2", host=9), port("m3", "s2", host=9)
    found = affected(here(new), SITE, [(old, None), (None, new)])
    assert found is not None
    [(key, spec)] = found.desired.items()
    assert not found.gone
    assert found.touched == {key}
    assert isinstance(spec, RemoteSpec)
    assert str(spec.endpoint) == "192.0.2.3"


def test_networks_that_are_not_here_are_nothing_to_this_machine() -> None:
    lone = port("m2", "s2", "lone")
    found = affected(here(lone), SITE, [(None, lone)])
    assert found is not None
    assert not found.touched


def test_an_address_that_has_come_here_meanwhile_is_compiled_anew() -> None:
    gone = port("m2", "s2", host=2)
    assert affected(here(), SITE, [(gone, None)]) is None


def test_a_switch_follows_what_happens_on_its_networks_and_those_they_are_joined_to() -> None:
    new, switched = port("m2", "s2", host=9), port("m2", "s3", "switched", host=9, labels={"app": "db"})
    world = here(new, switched, port("m1", "s3", "switched"))
    apart = affected(world, SITE, [(None, new)])
    assert apart is not None
    assert not apart.switched
    found = affected(world, SITE, [(None, switched)])
    assert found is not None
    assert found.switched
    assert kinds({**found.desired}) == ["rule"]
    world.routers["blue/r"] = Router(tenant="blue", name="r", networks=("front", "switched"))
    joined = affected(world, SITE, [(None, new)])
    assert joined is not None
    assert joined.switched


def test_only_a_machine_with_tunnels_leaves_their_port_untracked() -> None:
    world = here()
    assert "rule::tunnels:4789" in compile_intent(world, SITE, SANDBOXES)
    world.endpoints.clear()
    assert "rule::tunnels:4789" not in compile_intent(world, SITE, SANDBOXES)
