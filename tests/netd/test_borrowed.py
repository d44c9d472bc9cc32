"""Links of the host's, lent: whatever is cut off in between, a link is somewhere, and what it was is known."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from hawser.netd import compile as compiler
from hawser.netd import parse, specs
from hawser.netd.drivers import borrowed, netlink, wire
from hawser.netd.drivers.world import World
from hawser.netd.errors import Conflict, Invalid, NetError, NotFound
from hawser.netd.fabric import Fabric
from hawser.netd.intent import Sandbox
from hawser.netd.model import LINK, Port
from hawser.netd.rounds import run
from hawser.netd.site import Site
from hawser.netd.specs import BorrowedSpec, Spec, TenantSpec
from hawser.store.reconcile import Step, Verb

KEY = "port:vm:out7"
HOST = wire.Link(7, "out7", "", 1500, "02:00:00:00:00:07", 0, "", True, 0)
WANTED = BorrowedSpec(tenant="t", ifname="hwp7", bridge="hwb7", mtu=1500, source="out7", network="t/n")


def route(subnet: str, index: int) -> wire.Route:
    return wire.Route(4, ip_network(subnet), ip_address("198.51.100.1"), index, wire.MAIN_TABLE, 0, False)


def test_a_plain_link_may_be_lent() -> None:
    other = wire.Link(8, "out8", "", 1500, "02:00:00:00:00:08", 0, "vlan", True, 9)
    address = wire.LinkAddress(7, ip_interface("192.0.2.1/24"), 0)
    borrowed.check(HOST, (HOST, other), (route("192.0.2.0/24", 7), route("0.0.0.0/0", 8)), [address], WANTED)


@pytest.mark.parametrize(
    ("link", "others", "routes", "error"),
    [
        (replace(HOST, name="lo"), (), (), Invalid),
        (replace(HOST, kind="bridge"), (), (), Invalid),
        (replace(HOST, alias="hawser:01234567:tenant:t"), (), (), Conflict),
        (replace(HOST, alias="hawser-borrowed:76543210:port:a:b"), (), (), Conflict),
        (replace(HOST, master=9), (replace(HOST, index=9, name="bond9"),), (), Conflict),
        (HOST, (replace(HOST, index=9, name="out7.5", kind="vlan", iflink=7),), (), Conflict),
        (HOST, (replace(HOST, index=9, name="slave", master=7),), (), Conflict),
        (HOST, (), (route("0.0.0.0/0", 7),), Conflict),
    ],
)
def test_what_the_host_stands_on_may_not(
    link: wire.Link, others: tuple[wire.Link, ...], routes: tuple[wire.Route, ...], error: type[NetError]
) -> None:
    with pytest.raises(error):
        borrowed.check(link, (link, *others), routes, [], WANTED)


def test_what_carries_the_tunnels_may_not() -> None:
    address = wire.LinkAddress(7, ip_interface("192.0.2.1/24"), 0)
    with pytest.raises(Conflict, match="other machines"):
        borrowed.check(HOST, (HOST,), (), [address], replace(WANTED, underlay=ip_address("192.0.2.1")))


def test_a_tenant_waits_for_its_lent_link() -> None:
    """Its namespace would take a virtual one with it."""
    tenant = TenantSpec(name="t", path="/t", ifname="hwu7", mtu=1500, transit=None)
    steps = specs.steps({}, {"tenant:t": tenant, KEY: WANTED})

    def refuse(step: Step[Spec]) -> None:
        if step.key == KEY:
            raise Conflict("not now")

    outcome = run(steps, refuse)
    assert outcome.done == ()
    assert outcome.failures.keys() == {KEY, "tenant:t"}


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=10).stdout


@pytest.fixture
def world(instance: str, rundir: Path) -> Iterator[World]:
    """A kernel, and a link `out7` of the host's with an address."""
    made = World(instance, rundir)
    ip("link", "add", "out7", "up", "type", "veth", "peer", "name", "out7-peer")
    ip("link", "set", "out7", "alias", "mine")
    ip("address", "add", "192.0.2.7/24", "dev", "out7")
    yield made
    for step in specs.steps({}, made.observe()):
        made.apply(step)
    assert made.observe() == {}
    assert state() == ("mine", True), "whatever the test did, the host has its link back as it was"
    made.close()
    ip("link", "delete", "out7")


def state() -> tuple[str, bool]:
    """The alias of the host's link, and whether it has its address."""
    shown = ip("link", "show", "dev", "out7") + ip("address", "show", "dev", "out7")
    alias = next((line.split("alias ")[1].strip() for line in shown.splitlines() if "alias " in line), "")
    return alias, "192.0.2.7/24" in shown


@pytest.fixture
def desired(instance: str, rundir: Path) -> dict[str, Spec]:
    """A network with the link on it."""
    network = parse.parse_network({"tenant": "t", "name": "n", "subnets": ["10.9.0.0/24"]})
    port = Port(
        machine="m",
        sandbox="vm",
        ifname="out7",
        tenant="t",
        network="n",
        netns=str(rundir / "netns" / "vm"),
        mac="02:00:00:00:00:99",
        addresses=(ip_interface("10.9.0.5/24"),),
        link="out7",
    )
    assert parse.parse_port(parse.encode_port(port)) == port
    fabric = Fabric(networks={network.key: network})
    fabric.set_ports([port])
    site = Site(machine="m", instance=instance, tenants=str(rundir / "tenants"), mtu=1500, numbers={"t": 0})
    kept = {"vm": Sandbox(path=port.netns, owner="attach", source=f"{LINK}out7")}
    found = compiler.compile_intent(fabric, site, kept)
    assert not any(key.startswith("sandbox:") for key in found), "it has no namespace"
    return found


def make(world: World, wanted: dict[str, Spec]) -> None:
    for step in specs.steps(wanted, world.observe()):
        world.apply(step)


@pytest.mark.root
def test_lent_and_given_back(world: World, desired: dict[str, Spec]) -> None:
    make(world, desired)
    assert specs.steps(desired, world.observe()) == ()
    assert "out7:" not in ip("link")
    make(world, {})
    assert state() == ("mine", True)


@pytest.mark.root
def test_noted_and_not_moved(world: World, desired: dict[str, Spec], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = desired[KEY]
    make(world, {key: one for key, one in desired.items() if key != KEY})
    with monkeypatch.context() as killed:
        killed.setattr(netlink, "move_link", _die)
        with pytest.raises(KeyboardInterrupt):
            world.apply(Step(verb=Verb.CREATE, key=KEY, reason="", spec=spec))
    assert KEY in world.observe()
    make(world, desired)
    assert specs.steps(desired, world.observe()) == ()


@pytest.mark.root
@pytest.mark.parametrize("step", ["rename_link", "mark_link", "add_address"])
def test_moved_back_and_not_restored(
    world: World, desired: dict[str, Spec], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    make(world, desired)
    with monkeypatch.context() as killed:
        killed.setattr(netlink, step, _die)
        with pytest.raises(KeyboardInterrupt):
            world.apply(Step(verb=Verb.DELETE, key=KEY, reason="", spec=desired[KEY]))
    assert KEY in world.observe(), "it is still to be seen to"
    make(world, desired)
    assert specs.steps(desired, world.observe()) == (), "or it is lent again"


@pytest.mark.root
def test_a_link_that_is_not_there_is_waited_for(world: World, desired: dict[str, Spec]) -> None:
    spec = desired[KEY]
    assert isinstance(spec, BorrowedSpec)
    make(world, {key: one for key, one in desired.items() if key != KEY})
    with pytest.raises(NotFound, match="nosuch7"):
        world.apply(Step(verb=Verb.CREATE, key=KEY, reason="", spec=replace(spec, source="nosuch7")))
    assert KEY not in world.observe()


@pytest.mark.root
def test_a_tenant_s_end_gives_back_what_was_lent(world: World, desired: dict[str, Spec]) -> None:
    """Even when it is asked for out of order."""
    make(world, desired)
    world.apply(Step(verb=Verb.DELETE, key="tenant:t", reason="", spec=desired["tenant:t"]))
    assert state() == ("mine", True)


def _die(*_: object, **__: object) -> object:
    raise KeyboardInterrupt
