"""Packets through real networks: who reaches whom, and as whom."""

import contextlib
import select
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.drivers import netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.ovs.drivers.programs import kernel_datapath
from hawser.netd.parse import parse_publish
from hawser.netd.site import bridge_name, uplink_name
from tests.wait import until

from .machines import (
    NODE4,
    NODE6,
    OUTSIDE4,
    OUTSIDE6,
    ask,
    outside,
    ping,
    route_back,
    send_frame,
    serving,
    shut,
    silent,
    udp4,
)

pytestmark = pytest.mark.root


class Site:
    """Sandboxes attached in one line."""

    def tenant(self) -> Path:
        """The namespace of the tenant they are all of."""
        path = self.net.tenant_path("t")
        assert path is not None
        return path

    def __init__(self, net: NetAgent, kind: str) -> None:
        self.net, self.kind = net, kind
        self.paths: dict[str, str] = {}

    async def network(self, name: str, **spec: Any) -> None:
        await self.net.create_network({"tenant": "t", "name": name, "kind": self.kind, **spec})

    async def box(self, name: str, network: str = "n", publish: tuple[str, ...] = ()) -> Attachment:
        self.paths[name] = await self.net.make_sandbox(name)
        published = tuple(parse_publish(text) for text in publish)
        return await self.net.attach(name, tenant="t", network=network, publish=published)


@pytest.fixture
async def site(net: NetAgent, kind: str) -> Site:
    site = Site(net, kind)
    await site.network("n")
    return site


@pytest.fixture
def world(rundir: Path) -> Iterator[Path]:
    with outside(rundir) as path:
        yield path


def ips(attachment: Attachment) -> list[str]:
    return [str(address.ip) for address in attachment.addresses]


async def test_containers_of_a_network_reach_each_other_by_ipv4_and_ipv6(site: Site) -> None:
    a, b = await site.box("a"), await site.box("b")
    assert [address.version for address in b.addresses] == [4, 6]
    for host in ips(b):
        assert ping(site.paths["a"], host)
    with serving(site.paths["b"], 80), serving(site.paths["b"], 80, ips(b)[1]):
        assert ask(site.paths["a"], ips(b)[0], 80) == ips(a)[0]
        assert ask(site.paths["a"], ips(b)[1], 80) == ips(a)[1]


async def test_no_address_is_in_doubt_at_first(site: Site, instance: str) -> None:
    """Duplicate detection takes a second or two; meanwhile a bridge asks for no neighbour, and IPv6 stands still.

    However long it takes the kernel to give the address: it has not asked the neighbours first (RFC 4862 §5.4.2).
    """
    await site.box("a")
    bridge = bridge_name(instance, "t/n")

    def certain(ifname: str) -> bool:
        """A link-local address that is not tentative (flag 0x40 of /proc/net/if_inet6)."""
        lines = [line.split() for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines()]
        return any(line[5] == ifname and line[3] == "20" and not int(line[4], 16) & 0x40 for line in lines)

    def asked(ifname: str) -> int:
        lines = Path(f"/proc/thread-self/net/dev_snmp6/{ifname}").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Icmp6OutNeighborSolicits")))

    inside = Path(site.paths["a"])
    tenant = site.tenant()
    until(lambda: netns.inside(tenant, lambda: certain(bridge)), timeout=20, what="the bridge's link-local address")
    until(lambda: netns.inside(inside, lambda: certain("eth0")), timeout=20, what="the container's")
    assert netns.inside(tenant, lambda: asked(bridge)) == 0
    assert netns.inside(inside, lambda: asked("eth0")) == 0


async def test_the_outside_sees_the_node_not_the_container(site: Site, world: Path) -> None:
    await site.box("a")
    with serving(world, 80), serving(world, 80, OUTSIDE6):
        assert ask(site.paths["a"], OUTSIDE4, 80) == NODE4
        assert ask(site.paths["a"], OUTSIDE6, 80) == NODE6
    assert ping(site.paths["a"], OUTSIDE4)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
async def test_a_published_port_is_reached_from_everywhere(site: Site, world: Path, proto: str) -> None:
    udp = proto == "udp"
    a = await site.box("a", publish=(f"8080:80/{proto}",))
    await site.box("b")
    await site.network("other")
    await site.box("c", "other")
    with serving(site.paths["a"], 80, udp=udp), serving(site.paths["a"], 80, ips(a)[1], udp=udp):
        assert ask(world, NODE4, 8080, udp=udp) == OUTSIDE4, "from outside, with the client's own address"
        assert ask(world, NODE6, 8080, udp=udp) == OUTSIDE6
        assert ask(None, NODE4, 8080, udp=udp), "from the host by its address"
        assert ask(None, "127.0.0.1", 8080, udp=udp), "from the host by loopback"
        assert ask(site.paths["b"], NODE4, 8080, udp=udp), "from a neighbour"
        assert ask(site.paths["b"], NODE6, 8080, udp=udp)
        assert ask(site.paths["a"], NODE4, 8080, udp=udp), "from itself"
        assert ask(site.paths["c"], NODE4, 8080, udp=udp), "from another network by the node's address"


async def test_the_ipv6_loopback_refuses_at_once(site: Site) -> None:
    """So that a client of `localhost`, which is both, goes on to 127.0.0.1."""
    await site.box("a", publish=("8080:80",))
    with serving(site.paths["a"], 80):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", 8080), timeout=3)
        socket.create_connection(("127.0.0.1", 8080), timeout=3).close()


async def test_a_port_published_on_one_address_is_on_no_other(site: Site, world: Path) -> None:
    await site.box("a", publish=("127.0.0.1:8080:80",))
    with serving(site.paths["a"], 80):
        assert ask(None, "127.0.0.1", 8080)
        assert shut(world, NODE4, 8080)
        assert shut(None, NODE4, 8080)


async def test_nothing_passes_between_two_networks(site: Site) -> None:
    await site.box("a")
    await site.network("other")
    b = await site.box("b", "other")
    with serving(site.paths["b"], 80), serving(site.paths["b"], 80, ips(b)[1]):
        for host in ips(b):
            assert silent(site.paths["a"], host)
            assert shut(site.paths["a"], host, 80)
            assert ask(site.tenant(), host, 80), "its tenant's namespace does reach it"


async def test_the_outside_reaches_only_what_is_published(site: Site, world: Path) -> None:
    a = await site.box("a", publish=("8080:80",))
    route_back(world, a.addresses[0].network)
    route_back(world, a.addresses[1].network, NODE6)
    with serving(site.paths["a"], 80), serving(site.paths["a"], 81), serving(site.tenant(), 53):
        assert ask(world, NODE4, 8080)
        for host in ips(a):
            assert shut(world, host, 80)
            assert silent(world, host)
        assert shut(world, a.gateways[0], 53), "the gateway is not the outside's"
        assert ask(site.paths["a"], a.gateways[0], 53) == ips(a)[0]


async def test_an_internal_network_has_no_way_out_and_none_in(site: Site, world: Path) -> None:
    await site.network("inner", internal=True)
    a, b = await site.box("a", "inner"), await site.box("b", "inner")
    route_back(world, a.addresses[0].network)
    assert ping(site.paths["a"], ips(b)[0])
    assert ping(site.paths["a"], a.gateways[0])
    assert silent(site.paths["a"], OUTSIDE4)
    assert silent(world, ips(a)[0])


async def test_a_container_reaches_neither_the_hosts_loopback_nor_another_gateway(site: Site) -> None:
    await site.network("other")
    b = await site.box("b", "other")
    a = await site.box("a")
    with serving(None, 6001), serving(site.tenant(), 6001):
        assert ping(site.paths["a"], a.gateways[0]), "its own gateway answers"
        assert shut(site.paths["a"], a.gateways[0], 6001), "but for names only"
        for gateway in b.gateways:
            assert silent(site.paths["a"], gateway)
        assert shut(site.paths["a"], b.gateways[0], 6001)


async def test_frames_of_a_containers_own_making_do_not_reach_the_loopback(site: Site) -> None:
    """As they did where route_localnet is on for published ports (CVE-2020-8558)."""
    a = await site.box("a")
    own, gateway, mac = ips(a)[0], str(a.gateways[0]), site.net.fabric.networks["t/n"].gateway_mac
    with netns.inside(site.tenant(), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 53))
        server.setblocking(False)

        def arrives(source: str, target: str, data: bytes) -> bool:
            send_frame(site.paths["a"], "eth0", mac, udp4(source, target, 53, data), a.mac)
            with contextlib.suppress(BlockingIOError):
                return server.recv(10) == data
            return False

        until(lambda: arrives(own, gateway, b"honest"), timeout=20, what="an honest packet")
        assert not arrives(own, "127.0.0.1", b"evil")
        assert not arrives("127.0.0.1", gateway, b"evil")
        seen: set[bytes] = set()

        def last() -> bool:
            seen.add(_read(server))
            return b"last" in seen

        send_frame(site.paths["a"], "eth0", mac, udp4(own, gateway, 53, b"last"), a.mac)
        until(last, timeout=20, what="the last packet")
        assert b"evil" not in seen


def _read(server: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return server.recv(10)
    return b""


async def test_a_udp_client_that_never_stops_reaches_the_next_container(site: Site, world: Path) -> None:
    """conntrack would keep leading its packets to the container that is gone."""
    client = netns.inside(world, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.connect((NODE4, 5000))
    client.setblocking(False)

    def answered() -> bool:
        try:
            client.send(b"x")
            return bool(client.recv(100))
        except OSError:
            return False

    with client:
        assert not answered()  # an entry from before the port is published
        for name in ("a", "b"):
            await site.box(name, publish=("5000:53/udp",))
            with serving(site.paths[name], 53, udp=True):
                until(answered, what=f"an answer of {name}")
            await site.net.remove_sandbox(name)


async def test_the_mtu_is_the_uplinks(net: NetAgent, instance: str, rundir: Path, kind: str) -> None:
    with outside(rundir, mtu=1400):
        assert await net.reconcile() == ()
        site = Site(net, kind)
        await site.network("n")
        await site.box("a")
        await site.network("small", mtu=1300)
        await site.box("b", "small")

        def mtu(name: str) -> int:
            with Netlink() as here:
                link = here.link(name)
                assert link is not None
                return link.mtu

        for name, sandbox, wanted in (("n", "a", 1400), ("small", "b", 1300)):
            gateway = bridge_name(instance, f"t/{name}")
            assert netns.inside(site.tenant(), partial(mtu, gateway)) == wanted
            assert netns.inside(Path(site.paths[sandbox]), partial(mtu, "eth0")) == wanted
        assert mtu(uplink_name(instance, "t")) == 1400
    steps = [step.key for step in await net.reconcile()]
    if kind == "ovs" and not kernel_datapath():
        assert steps.pop(0) == "switch:"
    gateway = "bridge" if kind == "bridge" else "gateway"
    assert steps == ["tenant:t", f"{gateway}:t/n", "port:a:eth0"], "the uplink's MTU changed"
    assert await net.plan() == ()


async def test_tenants_have_the_same_subnets_and_never_meet(net: NetAgent, world: Path, kind: str) -> None:
    """The same addresses, at the same time, with the same outside."""
    sites = {}
    for tenant in ("red", "blue"):
        await net.create_network(
            {"tenant": tenant, "name": "n", "kind": kind, "subnets": ["10.9.0.0/24", "fd00:9::/64"]}
        )
        for name in ("a", "b"):
            sandbox = f"{tenant}-{name}"
            sites[sandbox] = await net.make_sandbox(sandbox)
            publish = (parse_publish(f"{8080 if tenant == 'red' else 8081}:80"),) if name == "b" else ()
            await net.attach(sandbox, tenant=tenant, network="n", publish=publish)
    assert {str(a.addresses[0].ip) for a in net.attachments()} == {"10.9.0.2", "10.9.0.3"}
    with serving(sites["red-b"], 80), serving(world, 80):
        assert ask(sites["red-a"], "10.9.0.3", 80) == "10.9.0.2"
        assert ask(world, NODE4, 8080) == OUTSIDE4
        assert shut(sites["blue-a"], "10.9.0.3", 80)
        assert shut(world, NODE4, 8081)
        assert ask(sites["red-a"], OUTSIDE4, 80) == ask(sites["blue-a"], OUTSIDE4, 80) == NODE4


@pytest.mark.parametrize(("mac", "source"), [(True, False), (False, True)])
async def test_a_port_speaks_for_itself_only(site: Site, mac: bool, source: bool) -> None:
    """A frame with another's MAC, or a packet with another's address, goes nowhere."""
    a, b = await site.box("a"), await site.box("b")
    with netns.inside(Path(site.paths["b"]), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 7))
        server.settimeout(0.3)
        honest = udp4(ips(a)[0], ips(b)[0], 7, b"honest")

        def heard() -> bool:
            send_frame(site.paths["a"], "eth0", b.mac, honest, a.mac)
            with contextlib.suppress(TimeoutError):
                return server.recv(10) == b"honest"
            return False

        until(heard, what="a bridge that forwards: the kernel opens a new port a moment after its link is up")
        while select.select([server], [], [], 0)[0]:
            server.recv(10)
        forged = udp4("10.64.0.77" if source else ips(a)[0], ips(b)[0], 7, b"forged")
        send_frame(site.paths["a"], "eth0", b.mac, forged, "02:00:00:00:00:77" if mac else a.mac)
        with pytest.raises(TimeoutError):
            server.recv(10)
