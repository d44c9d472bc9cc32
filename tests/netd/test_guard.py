"""Policies decide by addresses: a frame that reaches a port must be for one of its addresses."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.drivers.nft import Nft
from hawser.netd.model import Direction, Policy, Route, Router, Selector
from hawser.netd.objects.catalogue import Objects
from hawser.store import Store

from . import test_overlay
from .machines import ask, ping, send_frame, serving, udp4, within
from .test_overlay import Machine, ip, until
from .test_traffic import Site, ips

pytestmark = pytest.mark.root
TOKEN, HONEST = b"\xfe\xedto another", b"\xfe\xedto itself"
EVERYBODY, GROUP = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"
machines = test_overlay.machines


class Ear:
    """What an interface was given, whosever it was."""

    def __init__(self, path: str) -> None:
        self.seen = b""
        self._sock = within(path, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self._sock.bind(("eth0", 3))

    def close(self) -> None:
        self._sock.close()

    def hears(self, token: bytes, wait: float = 1.0) -> bool:
        """Whether a frame with these bytes has come, or comes in a while."""
        self._sock.settimeout(wait)
        try:
            while token not in self.seen:
                data, where = self._sock.recvfrom(2048)
                self.seen += data if where[2] != socket.PACKET_OUTGOING else b""
        except TimeoutError:
            return False
        return True


@contextmanager
def ear(path: str) -> Iterator[Ear]:
    found = Ear(path)
    try:
        yield found
    finally:
        found.close()


def udp6(source: str, target: str, data: bytes) -> bytes:
    """An IPv6 UDP packet whose checksum nobody looks at (RFC 8200, RFC 768)."""
    udp = struct.pack("!HHHH", 40000, 7, 8 + len(data), 1) + data
    return struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ip_address(source).packed + ip_address(target).packed + udp


def shut(*networks: str) -> Policy:
    """Nothing may come to `b`."""
    applies = Selector(networks=networks, labels={"name": "b"})
    return Policy(tenant="t", name="shut", applies=applies, directions=(Direction.INGRESS,))


@pytest.fixture
async def site(net: NetAgent, store: Store, kind: str) -> Site:
    """a, b and c on one network; nothing may come to b."""
    site = Site(net, kind)
    await site.network("n", subnets=["10.7.0.0/24", "fd00:7::/64"])
    for name in ("a", "b", "c"):
        site.paths[name] = await net.make_sandbox(name)
        await net.attach(name, tenant="t", network="n", labels={"name": name})
    await Objects(store).put(shut("n"))
    await net.reconcile()
    assert net.statuses() == ()
    assert await net.plan() == ()
    return site


def at(site: Site, name: str) -> Attachment:
    return site.net.attachments(name)[0]


@pytest.mark.parametrize("to", ["b", EVERYBODY, GROUP])
@pytest.mark.parametrize("version", [4, 6])
async def test_a_frame_with_anothers_address_does_not_reach_a_port_that_is_shut(
    site: Site, to: str, version: int
) -> None:
    """To its MAC, or to everybody's, and to the address of one that is open.

    A switch brings a frame for everybody with the address of one to nobody.
    """
    a, b, c = (at(site, name) for name in ("a", "b", "c"))
    mac = b.mac if to == "b" else to
    with ear(site.paths["b"]) as heard, ear(site.paths["c"]) as other:
        if version == 4:
            send_frame(site.paths["a"], "eth0", mac, udp4(ips(a)[0], ips(c)[0], 7, TOKEN), a.mac)
            send_frame(site.paths["a"], "eth0", c.mac, udp4(ips(a)[0], ips(c)[0], 7, HONEST), a.mac)
        else:
            send6(site.paths["a"], mac, udp6(ips(a)[1], ips(c)[1], TOKEN), a.mac)
            send6(site.paths["a"], c.mac, udp6(ips(a)[1], ips(c)[1], HONEST), a.mac)
        assert other.hears(HONEST)
        assert not heard.hears(TOKEN, 0.3)
        assert to == "b" or site.kind == "ovs" or other.hears(TOKEN), "whose address it is has it"


def send6(where: str, to: str, payload: bytes, sender: str) -> None:
    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(bytes.fromhex(f"{to}{sender}".replace(":", "")) + b"\x86\xdd" + payload)

    within(where, send)


async def test_what_is_for_a_port_reaches_it(site: Site) -> None:
    """By its addresses, those that its MAC makes, and what looks for neighbours."""
    assert ping(site.paths["a"], ips(at(site, "c"))[0])
    assert ping(site.paths["a"], ips(at(site, "c"))[1])
    with serving(site.paths["a"], 80), serving(site.paths["a"], 80, ips(at(site, "a"))[1]):
        assert ask(site.paths["b"], ips(at(site, "a"))[0], 80)
        assert ask(site.paths["b"], ips(at(site, "a"))[1], 80)


async def test_where_policies_concern_nothing_frames_are_not_looked_at(net: NetAgent, store: Store) -> None:
    """Nor is there a chain that could; on a network that policies leave alone beside one that they concern, a frame
    reaches whom it names by its MAC."""
    site = Site(net, "bridge")
    await site.network("n", subnets=["10.7.0.0/24"])
    await site.network("m", subnets=["10.8.0.0/24"])
    for name in ("a", "b", "c"):
        await site.box(name)
    await site.box("d", "m")
    assert "to_port" not in rules(site)
    await Objects(store).put(
        Policy(tenant="t", name="p", applies=Selector(networks=("m",)), directions=(Direction.INGRESS,))
    )
    await net.reconcile()
    assert "to_port" in rules(site)
    a, b, c = (at(site, name) for name in ("a", "b", "c"))
    with ear(site.paths["b"]) as heard:
        send_frame(site.paths["a"], "eth0", b.mac, udp4(ips(a)[0], ips(c)[0], 7, TOKEN), a.mac)
        assert heard.hears(TOKEN)


def rules(site: Site) -> str:
    def read() -> str:
        nft = Nft()
        try:
            return nft.run("list ruleset bridge")
        finally:
            nft.close()

    return within(site.tenant(), read)


async def test_what_is_behind_a_port_reaches_it_by_a_static_route_only(site: Site, store: Store) -> None:
    await site.network("m", subnets=["10.8.0.0/24", "fd00:8::/64"])
    await site.box("d", "m")
    a, b, d = (at(site, name) for name in ("a", "b", "d"))
    behind = {"172.16.0.9": "172.16.0.0/12", "fd16::9": "fd16::/16"}
    hops = zip(behind.values(), ips(at(site, "c")), strict=True)
    routes = tuple(Route(subnet=ip_network(subnet), via=ip_address(via)) for subnet, via in hops)
    await Objects(store).put(Router(tenant="t", name="r", networks=("n", "m"), routes=routes))
    await site.net.reconcile()
    with ear(site.paths["c"]) as heard, ear(site.paths["b"]) as other:
        for source in (a, d):
            for target in behind:
                words = f"{source.sandbox} to {target}".encode()
                say(site.paths[source.sandbox], target, words)
                assert heard.hears(words)
        send_frame(site.paths["a"], "eth0", b.mac, udp4(ips(a)[0], "172.16.0.9", 7, TOKEN), a.mac)
        assert not other.hears(TOKEN, 0.3)


def say(path: str, target: str, data: bytes) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with within(path, lambda: socket.socket(family, socket.SOCK_DGRAM)) as client:
        client.sendto(data, (target, 7))


async def test_from_another_machine(machines: list[Machine], store: Store) -> None:
    m1, m2, _ = machines
    await m1.network("t", "n", "10.7.0.0/24")
    a = await m1.box("a", "t", "n")
    for name in ("b", "c"):
        m2.paths[name] = await m2.net.make_sandbox(name)
        await m2.net.attach(name, tenant="t", network="n", labels={"name": name})
    b, c = (m2.net.attachments(name)[0] for name in ("b", "c"))
    await Objects(store).put(shut())
    for machine in (m1, m2):
        await machine.net.reconcile()
    await until(lambda: ping(m1.paths["a"], ip(c), timeout=0.3), "the tunnel")
    with ear(m2.paths["b"]) as heard, ear(m2.paths["c"]) as other:
        await asyncio.to_thread(send_frame, m1.paths["a"], "eth0", b.mac, udp4(ip(a), ip(c), 7, TOKEN), a.mac)
        await asyncio.to_thread(send_frame, m1.paths["a"], "eth0", c.mac, udp4(ip(a), ip(c), 7, HONEST), a.mac)
        assert await asyncio.to_thread(other.hears, HONEST)
        assert not await asyncio.to_thread(heard.hears, TOKEN, 0.3)
