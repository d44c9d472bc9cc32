"""Floating addresses: the outside finds a tenant's port under an address of its own, and sees it under that."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns, wire
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.errors import Conflict, Invalid
from hawser.netd.model import Direction, Floating, Peer, Policy, Rule, Selector
from hawser.netd.objects.catalogue import Objects
from hawser.store import Store
from hawser.store.reconcile import Verb

from . import test_overlay
from .machines import NODE4, NODE6, OUTSIDE4, OUTSIDE6, ask, outside, ping, serving, shut, silent
from .test_connections import both, tcp
from .test_overlay import Machine, until
from .test_traffic import Site, ips

pytestmark = pytest.mark.root
FLOAT4, FLOAT6 = "192.0.2.50", "2001:db8:1::50"
FAR4 = "203.0.113.9"
machines = test_overlay.machines


@pytest.fixture
async def site(net: NetAgent, kind: str) -> Site:
    site = Site(net, kind)
    await site.network("n", subnets=["10.7.0.0/24", "fd00:7::/64"])
    return site


@pytest.fixture
def world(rundir: Path) -> Iterator[Path]:
    with outside(rundir) as path:
        yield path


def floating(address: str, target: str, network: str = "n", tenant: str = "t") -> Floating:
    return Floating(tenant=tenant, address=ip_address(address), target=ip_address(target), network=network)


async def put(store: Store, net: NetAgent, *floatings: Floating) -> None:
    for one in floatings:
        await Objects(store).put(one)
    await net.reconcile()
    assert net.statuses() == ()
    assert await net.plan() == ()


async def test_in_and_out_by_ipv4_and_ipv6(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    await site.box("b")
    await put(store, site.net, floating(FLOAT4, ips(a)[0]), floating(FLOAT6, ips(a)[1]))
    pa = site.paths["a"]
    with serving(pa, 80), serving(pa, 80, ips(a)[1]):
        assert ask(world, FLOAT4, 80) == OUTSIDE4, "with the client's own address"
        assert ask(world, FLOAT6, 80) == OUTSIDE6
        assert ping(world, FLOAT4)
        assert ping(world, FLOAT6)
        assert ask(None, FLOAT4, 80), "from the host"
        assert ask(site.paths["b"], FLOAT4, 80), "from a neighbour"
        assert ask(pa, FLOAT6, 80), "from itself"
    with serving(world, 80), serving(world, 80, OUTSIDE6):
        assert ask(pa, OUTSIDE4, 80) == FLOAT4
        assert ask(pa, OUTSIDE6, 80) == FLOAT6
        assert ask(site.paths["b"], OUTSIDE4, 80) == NODE4, "others go out as before"
        assert ask(site.paths["b"], OUTSIDE6, 80) == NODE6


async def test_an_address_of_no_subnet_of_the_hosts_is_answered_for_towards_the_default_route(
    site: Site, store: Store, world: Path
) -> None:
    a = await site.box("a")
    await put(store, site.net, floating(FAR4, ips(a)[0]))

    def onlink() -> None:
        with Netlink() as there:
            index = socket.if_nametoindex("world0")
            there.do([netlink.add_address(index, ip_interface("203.0.113.1/24"))])

    netns.inside(world, onlink)
    with serving(site.paths["a"], 80):
        assert ask(world, FAR4, 80)


async def test_policies_decide_by_the_target(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    rule = Rule(
        direction=Direction.INGRESS, peers=(Peer(cidr=ip_network("192.0.2.0/24")),), proto="tcp", ports=((80, 80),)
    )
    await Objects(store).put(
        Policy(tenant="t", name="p", applies=Selector(), directions=(Direction.INGRESS,), rules=(rule,))
    )
    await put(store, site.net, floating(FLOAT4, ips(a)[0]), floating(FLOAT6, ips(a)[1]))
    with serving(site.paths["a"], 80), serving(site.paths["a"], 81), serving(site.paths["a"], 80, ips(a)[1]):
        assert ask(world, FLOAT4, 80)
        assert shut(world, FLOAT4, 81)
        assert shut(world, FLOAT6, 80)


async def test_published_ports_stay_what_they_are(site: Site, store: Store, world: Path) -> None:
    """Of the port itself, and of another of the tenant, which has the same number."""
    a = await site.box("a", publish=("8080:80",))
    await site.box("b", publish=("8081:80",))
    await put(store, site.net, floating(FLOAT4, ips(a)[0]))
    with serving(site.paths["a"], 80), serving(site.paths["b"], 80), serving(site.paths["a"], 8081):
        assert ask(world, NODE4, 8080) == OUTSIDE4
        assert ask(world, NODE4, 8081) == OUTSIDE4
        assert ask(site.paths["a"], NODE4, 8081) == FLOAT4, "under its address also from here to here"
        assert ask(world, FLOAT4, 8081), "the target's own port"
        assert shut(world, FLOAT4, 8080)


async def test_two_tenants_speak_by_their_floating_addresses_only(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    await site.net.create_network({"tenant": "u", "name": "n", "kind": site.kind, "subnets": ["10.7.0.0/24"]})
    path = await site.net.make_sandbox("c")
    c = await site.net.attach("c", tenant="u", network="n")
    assert ips(c)[0] == ips(a)[0], "they have one address"
    await put(store, site.net, floating(FLOAT4, ips(a)[0]), floating("192.0.2.51", ips(c)[0], tenant="u"))
    with serving(site.paths["a"], 80), serving(path, 80):
        assert ask(path, FLOAT4, 80) == "192.0.2.51"
        assert ask(site.paths["a"], "192.0.2.51", 80) == FLOAT4


async def test_an_address_that_leads_elsewhere_takes_its_connections_along(
    site: Site, store: Store, world: Path
) -> None:
    a, b = await site.box("a"), await site.box("b")
    await put(store, site.net, floating(FLOAT4, ips(a)[0]))
    with tcp(world, site.paths["a"], ips(a)[0], 80, asked=(FLOAT4, 80)) as line:
        assert both(line)
        await put(store, site.net, floating(FLOAT4, ips(b)[0]))
        assert not line.speaks()
    with serving(site.paths["b"], 80), serving(world, 80):
        assert ask(world, FLOAT4, 80) == OUTSIDE4
        assert ask(site.paths["a"], OUTSIDE4, 80) == NODE4
    await Objects(store).remove("floating", FLOAT4)
    await site.net.reconcile()
    assert silent(world, FLOAT4)
    assert await site.net.plan() == ()


def meddle(*requests: netlink.Request) -> None:
    with Netlink() as here:
        here.do(requests)


async def test_what_is_changed_by_hand_is_repaired(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    await put(store, site.net, floating(FLOAT4, ips(a)[0]), floating(FLOAT6, ips(a)[1]))
    uplink = socket.if_nametoindex("up0")
    with Netlink() as here:
        routes = [route for route in here.routes() if str(route.subnet.network_address) in (FLOAT4, FLOAT6)]
    assert len(routes) == 2
    for route in routes:
        assert route.gateway is not None
        meddle(netlink.delete_route(route.subnet, route.index, route.gateway))
    meddle(netlink.delete_proxy(uplink, ip_address(FLOAT4)))
    netns.sysctl("ipv6/conf/up0/proxy_ndp", "0")
    steps = await site.net.reconcile()
    assert {(step.verb, step.key) for step in steps} == {
        (Verb.CREATE, f"floating:{FLOAT4}"),
        (Verb.UPDATE, f"floating:{FLOAT6}"),
    }
    with serving(site.paths["a"], 80), serving(site.paths["a"], 80, ips(a)[1]):
        assert ask(world, FLOAT4, 80)
        assert ask(world, FLOAT6, 80)
    meddle(netlink.delete_proxy(uplink, ip_address(FLOAT4)))
    netns.sysctl("ipv6/conf/up0/proxy_ndp", "0")
    assert {step.key for step in await site.net.reconcile()} == {f"floating:{FLOAT4}", f"floating:{FLOAT6}"}
    assert await site.net.plan() == ()


async def test_what_others_route_or_answer_for_is_left_alone(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    uplink, other = socket.if_nametoindex("up0"), ip_network("192.0.2.51/32")
    meddle(
        netlink.add_route(other, uplink, ip_address(OUTSIDE4)),
        netlink.add_proxy(uplink, ip_address("192.0.2.52")),
    )
    await put(store, site.net, floating(FLOAT4, ips(a)[0]))
    await Objects(store).remove("floating", FLOAT4)
    await Objects(store).put(floating(str(other.network_address), ips(a)[0]))
    await site.net.reconcile()
    (status,) = [status for status in site.net.statuses() if status.key.startswith("floating:")]
    assert status.reason == "floating 192.0.2.51: this machine has a route to it already; remove that first"
    await Objects(store).remove("floating", str(other.network_address))
    await site.net.reconcile()
    with Netlink() as here:
        assert [route.subnet for route in here.routes() if route.subnet == other] == [other]
        assert [str(entry.address) for entry in here.proxied(2)] == ["192.0.2.52"]
    meddle(netlink.delete_proxy(uplink, ip_address("192.0.2.52")))


async def test_the_hosts_own_address_is_refused(site: Site, store: Store, world: Path) -> None:
    a = await site.box("a")
    await Objects(store).put(floating(NODE4, ips(a)[0]))
    await site.net.reconcile()
    (status,) = [status for status in site.net.statuses() if status.key.startswith("floating:")]
    assert status.reason == f"floating {NODE4} is an address of this machine itself; give another"
    assert ping(world, NODE4)
    await Objects(store).remove("floating", NODE4)


async def test_a_port_that_comes_later_has_its_address_at_once_and_one_that_goes_leaves_nothing(
    site: Site, store: Store, world: Path
) -> None:
    await Objects(store).put(floating(FLOAT4, "10.7.0.9"))
    await site.net.reconcile()
    site.paths["late"] = await site.net.make_sandbox("late")
    await site.net.attach("late", tenant="t", network="n", addresses=["10.7.0.9"])
    assert await site.net.plan() == ()
    with serving(site.paths["late"], 80):
        assert ask(world, FLOAT4, 80)
    await site.net.remove_sandbox("late")
    with Netlink() as here:
        assert here.proxied(2) == ()
        assert [route for route in here.routes() if str(route.subnet.network_address) == FLOAT4] == []
    assert await site.net.plan() == ()


async def test_it_follows_its_port_to_another_machine(machines: list[Machine], store: Store) -> None:
    """The neighbours are told: who spoke to the old machine speaks to the new one without asking again."""
    m1, m2, _ = machines
    with Netlink() as here:
        index = socket.if_nametoindex("wire0")
        here.do([netlink.add_address(index, ip_interface("192.0.2.254/24"))])
        here.do([netlink.add_address(index, ip_interface("2001:db8:1::254/64"))])
    for machine, host in ((m1, "2001:db8:1::1/64"), (m2, "2001:db8:1::2/64")):
        netns.inside(machine.path, lambda host=host: _address("eth0", host))  # type: ignore[misc]
    await m1.network("t", "n", "10.7.0.0/24", "fd00:7::/64")
    await Objects(store).put(floating(FLOAT4, "10.7.0.9"))
    await Objects(store).put(floating(FLOAT6, "fd00:7::9"))
    for number, machine in enumerate((m1, m2, m1)):
        name = f"box{number}"
        machine.paths[name] = await machine.net.make_sandbox(name)
        await machine.net.attach(name, tenant="t", network="n", addresses=["10.7.0.9", "fd00:7::9"])
        mac = netns.inside(machine.path, lambda: _mac("eth0"))
        if number:
            await until(lambda mac=mac: _known() == {mac}, "what the neighbours were told", timeout=2)
        with serving(machine.paths[name], 80), serving(machine.paths[name], 80, "fd00:7::9"):
            for host in (FLOAT4, FLOAT6):
                await until(lambda host=host: ask(None, host, 80, timeout=0.5), f"{host} at {machine.name}")
        await machine.net.remove_sandbox(name)


def _address(ifname: str, address: str) -> None:
    with Netlink() as inner:
        inner.do([netlink.add_address(socket.if_nametoindex(ifname), ip_interface(address))])


def _mac(ifname: str) -> str:
    with Netlink() as inner:
        link = inner.link(ifname)
        assert link is not None
        return link.mac


def _known() -> set[str]:
    """The MACs that this namespace has for the floating addresses."""
    with Netlink() as here:
        found = here.neighbours(wire.AF_INET) + here.neighbours(wire.AF_INET6)
        return {entry.mac for entry in found if str(entry.address) in (FLOAT4, FLOAT6)}


async def test_a_network_cannot_swallow_a_floating_address(site: Site, store: Store) -> None:
    """Of its own tenant; another's subnets are nothing to it."""
    await Objects(store).put(floating(FLOAT4, "10.7.0.9"))
    with pytest.raises(Conflict, match=r"^192\.0\.2\.0/24: floating 192\.0\.2\.50 is in it; choose another subnet"):
        await site.network("m", subnets=["192.0.2.0/24"])
    await site.net.create_network({"tenant": "u", "name": "m", "subnets": ["192.0.2.0/24"]})


async def test_an_address_of_the_hosts_is_told_before_it_is_written(site: Site, world: Path) -> None:
    with pytest.raises(Invalid, match=rf"^floating {NODE4} is an address of this machine itself; give another$"):
        await site.net.check_floating(ip_address(NODE4))
    await site.net.check_floating(ip_address(FLOAT4))
