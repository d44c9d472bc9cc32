"""Static routes of routers: what goes behind a port gets there and back, from the router's networks, under policy."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.model import Direction, Peer, Policy, Route, Router, Rule, Selector
from hawser.netd.objects.catalogue import Objects
from hawser.netd.parse import parse_publish
from hawser.store import Store
from hawser.store.reconcile import Verb

from . import test_overlay
from .machines import NODE4, OUTSIDE4, ask, outside, ping, send_frame, serving, shut, silent, udp4, within
from .test_overlay import Machine, ip, until
from .test_traffic import Site, ips

pytestmark = pytest.mark.root
BEHIND4, BEHIND6 = "172.16.0.9", "fd16::9"
ROUTES = ("172.16.0.0/12", "fd16::/16")
NETWORKS = {"web": 1, "db": 2, "app": 3}
machines = test_overlay.machines


def router(name: str, *networks: str, via: tuple[str, ...] = (), subnets: tuple[str, ...] = ROUTES) -> Router:
    routes = tuple(
        Route(subnet=ip_network(subnet), via=ip_address(hop))
        for subnet in subnets
        for hop in via
        if ip_network(subnet).version == ip_address(hop).version
    )
    return Router(tenant="t", name=name, networks=networks, routes=routes)


def behind(path: str) -> None:
    """A sandbox that has addresses of its own behind it, and asks for neighbours under those that it has in front."""

    def act() -> None:
        netns.sysctl("ipv4/conf/all/arp_announce", "2")
        with Netlink() as inner:
            index = socket.if_nametoindex("lo")
            inner.do([netlink.add_address(index, ip_interface(f"{one}")) for one in (BEHIND4, BEHIND6)])

    within(path, act)


@pytest.fixture
async def site(net: NetAgent, store: Store, kind: str) -> Site:
    """web, db and app; `hop` on db routes to what is behind it, for web and db; app is joined to db by another."""
    site = Site(net, kind)
    for name, number in NETWORKS.items():
        await site.network(name, subnets=[f"10.0.{number}.0/24", f"fd00:{number}::/64"])
    for box, network in (("a", "web"), ("hop", "db"), ("c", "app"), ("near", "db")):
        await site.box(box, network)
    behind(site.paths["hop"])
    await Objects(store).put(router("r", "web", "db", via=tuple(ips(net.attachments("hop")[0]))))
    await Objects(store).put(router("s", "app", "db"))
    await net.reconcile()
    assert net.statuses() == ()
    assert await net.plan() == ()
    return site


@pytest.fixture
def world(rundir: Path) -> Iterator[Path]:
    with outside(rundir) as path:
        yield path


def address_of(site: Site, box: str, version: int = 4) -> str:
    return ip(site.net.attachments(box)[0], version)


async def test_there_and_back_by_ipv4_and_ipv6(site: Site) -> None:
    a, hop = site.paths["a"], site.paths["hop"]
    with serving(hop, 80, BEHIND4), serving(hop, 80, BEHIND6), serving(a, 80), serving(a, 80, address_of(site, "a", 6)):
        for box in ("a", "near"):
            assert ask(site.paths[box], BEHIND4, 80) == address_of(site, box)
            assert ask(site.paths[box], BEHIND6, 80) == address_of(site, box, 6)
        assert from_behind(hop, address_of(site, "a"), BEHIND4) == BEHIND4
        assert from_behind(hop, address_of(site, "a", 6), BEHIND6) == BEHIND6


def from_behind(path: str, host: str, source: str) -> str | None:
    """What a server says to who speaks to it from behind a sandbox."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with within(path, lambda: socket.socket(family, socket.SOCK_STREAM)) as client:
        client.settimeout(3)
        client.bind((source, 0))
        try:
            client.connect((host, 80))
            return client.recv(100).decode()
        except OSError:
            return None


async def test_only_from_the_routers_networks(site: Site, world: Path) -> None:
    """Another network that is joined to the next hop's sends it outside, as if there were no route."""
    assert ping(site.paths["a"], BEHIND4)
    assert ping(site.paths["c"], address_of(site, "hop"))
    assert silent(site.paths["c"], BEHIND4)

    def outer() -> None:
        with Netlink() as there:
            there.do([netlink.add_address(socket.if_nametoindex("lo"), ip_interface(BEHIND4))])

    netns.inside(world, outer)
    with serving(world, 80, BEHIND4), serving(site.paths["hop"], 80, BEHIND4):
        assert ask(site.paths["c"], BEHIND4, 80) == NODE4
        assert ask(site.paths["a"], BEHIND4, 80) == address_of(site, "a")


async def test_a_route_never_leads_to_the_tenants_own_subnets(site: Site, store: Store) -> None:
    """Nor may its port speak under their addresses, whatever the route."""
    await site.network("lone", subnets=["10.0.9.0/24"])
    hop = site.net.attachments("hop")[0]
    via = tuple(ips(hop))
    await Objects(store).put(router("r", "web", "db", via=via, subnets=("10.0.0.0/8", "fd00::/8")))
    await site.net.reconcile()
    assert await site.net.plan() == ()

    def more() -> None:
        with Netlink() as inner:
            index = socket.if_nametoindex("lo")
            mine = ("10.99.0.9", "10.0.9.9", "10.0.1.77", "fd99::9")
            inner.do([netlink.add_address(index, ip_interface(one)) for one in mine])

    within(site.paths["hop"], more)
    for host in ("10.99.0.9", "fd99::9", address_of(site, "near")):
        await until(lambda host=host: ping(site.paths["a"], host), f"the way to {host}")
    assert silent(site.paths["a"], "10.0.9.9")
    near = site.net.attachments("near")[0]
    with within(site.paths["near"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 7))
        server.settimeout(0.3)
        for source, passes in (("10.99.0.9", True), ("10.0.9.9", False), ("10.0.1.77", False)):
            send_frame(site.paths["hop"], "eth0", near.mac, udp4(source, ips(near)[0], 7, b"x"), hop.mac)
            assert heard(server) is passes, source


def heard(server: socket.socket) -> bool:
    try:
        return server.recv(10) == b"x"
    except TimeoutError:
        return False


async def test_who_has_no_route_may_not_speak_from_behind(site: Site) -> None:
    near, a = site.net.attachments("near")[0], site.net.attachments("hop")[0]
    with within(site.paths["hop"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 7))
        server.settimeout(0.3)
        for source, passes in ((ips(near)[0], True), (BEHIND4, False)):
            send_frame(site.paths["near"], "eth0", a.mac, udp4(source, ips(a)[0], 7, b"x"), near.mac)
            assert heard(server) is passes


async def test_under_policy_by_its_addresses(site: Site, store: Store) -> None:
    """Out to it, and in from it; the port it goes through has nothing to say."""
    web, cidr = Selector(networks=("web",)), Peer(cidr=ip_network("172.16.0.0/16"))
    objects = Objects(store)
    out = Rule(direction=Direction.EGRESS, peers=(cidr,), proto="tcp", ports=((80, 80),))
    into = Rule(direction=Direction.INGRESS, peers=(Peer(cidr=ip_network(f"{BEHIND4}/32")),), proto="tcp")
    await objects.put(Policy(tenant="t", name="out", applies=web, directions=(Direction.EGRESS,), rules=(out,)))
    await objects.put(Policy(tenant="t", name="in", applies=web, directions=(Direction.INGRESS,), rules=(into,)))
    shut_db = Policy(tenant="t", name="db", applies=Selector(networks=("db",)), directions=(Direction.INGRESS,))
    await objects.put(shut_db)
    await site.net.reconcile()
    a, hop = site.paths["a"], site.paths["hop"]
    with serving(hop, 80, BEHIND4), serving(hop, 81, BEHIND4), serving(hop, 80, BEHIND6), serving(a, 80):
        assert ask(a, BEHIND4, 80)
        assert shut(a, BEHIND4, 81)
        assert shut(a, BEHIND6, 80)
        assert from_behind(hop, address_of(site, "a"), BEHIND4) == BEHIND4
        assert from_behind(hop, address_of(site, "a"), address_of(site, "hop")) is None


@pytest.mark.parametrize("kind", ["bridge"])
async def test_a_default_route_leaves_published_ports_to_the_host(site: Site, store: Store, world: Path) -> None:
    """What the host itself asks for by a published port finds back; what goes outside goes through the next hop."""
    hop = site.net.attachments("hop")[0]
    site.paths["p"] = await site.net.make_sandbox("p")
    await site.net.attach("p", tenant="t", network="web", publish=(parse_publish("8080:80"),))
    await Objects(store).put(router("r", "web", "db", via=(ips(hop)[0],), subnets=("0.0.0.0/0",)))
    await site.net.reconcile()
    with serving(site.paths["p"], 80), serving(site.paths["hop"], 80, BEHIND4):
        assert ask(site.paths["a"], BEHIND4, 80)
        assert ask(None, "127.0.0.1", 8080)
        assert silent(site.paths["a"], OUTSIDE4)
        assert ping(site.paths["c"], OUTSIDE4)


async def test_what_is_changed_by_hand_is_repaired_and_what_goes_is_gone(site: Site, store: Store) -> None:
    def meddle() -> None:
        with Netlink() as inner:
            routes = [route for route in inner.routes() if route.table > 255]
            assert len(routes) == 4, "two subnets, two networks"
            first = routes[0]
            assert first.gateway is not None
            inner.do([netlink.delete_route(first.subnet, first.index, first.gateway, table=first.table)])
            rules = inner.rules()
            inner.do(
                [netlink.delete_rule(rule.source, rule.table, rule.version) for rule in rules if rule.version == 6]
            )

    within(site.tenant(), meddle)
    steps = await site.net.reconcile()
    assert {(step.verb, step.key.partition(":")[0]) for step in steps} == {
        (Verb.CREATE, "route"),
        (Verb.UPDATE, "route"),
    }
    assert await site.net.plan() == ()
    assert ping(site.paths["a"], BEHIND4)
    assert ping(site.paths["a"], BEHIND6)
    await Objects(store).put(router("r", "web", "db"))
    await site.net.reconcile()
    assert silent(site.paths["a"], BEHIND4)

    def left() -> tuple[int, int]:
        with Netlink() as inner:
            return len([route for route in inner.routes() if route.table > 255]), len(inner.rules())

    assert within(site.tenant(), left) == (0, 0)


async def test_another_next_hop_takes_over(site: Site, store: Store) -> None:
    behind(site.paths["near"])
    await Objects(store).put(router("r", "web", "db", via=tuple(ips(site.net.attachments("near")[0]))))
    await site.net.reconcile()
    assert await site.net.plan() == ()
    with serving(site.paths["near"], 80, BEHIND4), serving(site.paths["near"], 80, BEHIND6):
        assert ask(site.paths["a"], BEHIND4, 80)
        assert ask(site.paths["a"], BEHIND6, 80)


@pytest.mark.parametrize("policy", [False, True])
async def test_the_next_hop_is_on_another_machine(machines: list[Machine], store: Store, policy: bool) -> None:
    m1, m2, _ = machines
    objects = Objects(store)
    for name in ("web", "db"):
        number = NETWORKS[name]
        subnets = [f"10.0.{number}.0/24", f"fd00:{number}::/64"]
        await m1.network("t", name, *subnets)
    a, hop = await m1.box("a", "t", "web"), await m2.box("hop", "t", "db")
    behind(m2.paths["hop"])
    await objects.put(router("r", "web", "db", via=(ip(hop), ip(hop, 6))))
    if policy:
        cidr = Peer(cidr=ip_network("172.16.0.0/12"))
        rules = (Rule(direction=Direction.EGRESS, peers=(cidr,)), Rule(direction=Direction.INGRESS, peers=(cidr,)))
        directions = (Direction.EGRESS, Direction.INGRESS)
        applies = Selector(networks=("web",))
        await objects.put(Policy(tenant="t", name="p", applies=applies, directions=directions, rules=rules))
    await until(lambda: ping(m1.paths["a"], BEHIND4, timeout=0.3), "the route")
    with serving(m2.paths["hop"], 80, BEHIND4), serving(m1.paths["a"], 80):
        assert await asyncio.to_thread(ask, m1.paths["a"], BEHIND4, 80) == ip(a)
        assert await asyncio.to_thread(from_behind, m2.paths["hop"], ip(a), BEHIND4) == BEHIND4
    if policy:
        await until(lambda: silent(m1.paths["a"], BEHIND6), "the policy")
    else:
        assert await asyncio.to_thread(ping, m1.paths["a"], BEHIND6)
