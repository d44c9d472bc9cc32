"""Open connections follow a change of policy: who is no longer allowed is cut at once, the others notice nothing."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.drivers.world import World
from hawser.netd.model import Default, Direction, Peer, Policy, Router, Rule, Selector, Tenant
from hawser.netd.objects.catalogue import Objects
from hawser.netd.parse import parse_publish
from hawser.store import Store
from tests.wait import until

from .machines import NODE4, NODE6, outside, within
from .test_traffic import Site, ips

pytestmark = pytest.mark.root
HELD = 0.4
SERVERS = Selector(labels={"role": "server"})


class Line:
    """A connection between two places, both ends in the test's hands."""

    def __init__(self, near: socket.socket, far: socket.socket, *, udp: bool = False) -> None:
        self.near, self.far, self.udp = near, far, udp

    def speaks(self, *, back: bool = False) -> bool:
        """Whether what one end says reaches the other: the end that began, or (`back`) the other."""
        one, other = (self.far, self.near) if back else (self.near, self.far)
        other.settimeout(HELD if self.udp else 1.0)
        try:
            one.send(b"x")
            return other.recv(100) == b"x"
        except OSError:
            return False

    def reset(self, *, back: bool = False) -> bool:
        """Whether an end is told that the connection is over when it speaks."""
        one = self.far if back else self.near
        one.settimeout(3.0)
        try:
            one.send(b"x")
            return one.recv(100) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


async def server(site: Site, network: str = "n", publish: tuple[str, ...] = ()) -> Attachment:
    """The sandbox `b`, by its labels a server."""
    site.paths["b"] = await site.net.make_sandbox("b")
    published = tuple(map(parse_publish, publish))
    return await site.net.attach("b", tenant="t", network=network, publish=published, labels=SERVERS.labels)


def both(line: Line) -> bool:
    """Whether both ends hear each other."""
    return line.speaks() and line.speaks(back=True)


@contextmanager
def tcp(
    client: str | Path | None, server: str | Path, host: str, port: int, *, asked: tuple[str, int] | None = None
) -> Iterator[Line]:
    """A TCP connection to `host` (or by way of whom is `asked`)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = within(server, lambda: socket.create_server((host, port), family=family))
    with within(client, lambda: socket.socket(family)) as near:
        with door:
            near.settimeout(3)
            near.connect(asked or (host, port))
            far, _ = door.accept()
        with far:
            yield Line(near, far)


@contextmanager
def udp(client: str | Path, server: str | Path, host: str, port: int) -> Iterator[Line]:
    """Two UDP sockets that have spoken to each other."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with within(server, lambda: socket.socket(family, socket.SOCK_DGRAM)) as far:
        far.bind((host, port))
        far.settimeout(3)
        with within(client, lambda: socket.socket(family, socket.SOCK_DGRAM)) as near:
            near.connect((host, port))
            near.send(b"hello")
            _, peer = far.recvfrom(100)
            far.connect(peer)
            line = Line(near, far, udp=True)
            assert line.speaks(back=True)
            yield line


def allowing(*ports: int, sources: tuple[Peer, ...] = ()) -> Policy:
    """What may come to servers: to these ports by TCP and UDP, or (none given) to all."""
    rules = tuple(
        Rule(direction=Direction.INGRESS, peers=sources, proto=proto, ports=tuple((port, port) for port in ports))
        for proto in (("tcp", "udp") if ports else (None,))
    )
    return Policy(tenant="t", name="p", applies=SERVERS, directions=(Direction.INGRESS,), rules=rules)


@pytest.fixture
def kind() -> str:
    """Connections between ports of a switch are not in the tenant's connection tracking."""
    return "bridge"


@pytest.fixture
async def site(net: NetAgent, kind: str) -> Site:
    site = Site(net, kind)
    await site.network("n", subnets=["10.7.0.0/24", "fd00:7::/64"])
    return site


@pytest.mark.parametrize("version", [4, 6])
async def test_on_a_network_who_is_no_longer_allowed_is_cut_and_who_is_notices_nothing(
    site: Site, store: Store, version: int
) -> None:
    await site.box("a")
    b = await server(site)
    objects, host = Objects(store), ips(b)[version // 6]
    await objects.put(allowing(80, 81))
    await site.net.reconcile()
    pa, pb = site.paths["a"], site.paths["b"]
    with (
        tcp(pa, pb, host, 80) as kept,
        tcp(pa, pb, host, 81) as cut,
        udp(pa, pb, host, 80) as kept_udp,
        udp(pa, pb, host, 81) as cut_udp,
    ):
        assert all(both(line) for line in (kept, cut, kept_udp, cut_udp))
        await objects.put(allowing(80))
        await site.net.reconcile()
        assert both(kept)
        assert both(kept_udp)
        assert not cut_udp.speaks()
        assert cut.reset()


async def test_the_other_ends_next_word_does_not_bring_a_connection_back(site: Site, store: Store) -> None:
    """It may open connections to whom may not open any to it: so a packet of its own would be taken for a first one."""
    await site.box("a")
    b = await server(site)
    objects, pa, pb = Objects(store), site.paths["a"], site.paths["b"]
    await objects.put(allowing(80, 81))
    await site.net.reconcile()
    with tcp(pa, pb, ips(b)[0], 81) as cut:
        await objects.put(allowing(80))
        await site.net.reconcile()
        assert not cut.speaks(back=True)
        assert not cut.speaks()


async def test_what_is_allowed_again_before_it_ended_goes_on(site: Site, store: Store) -> None:
    await site.box("a")
    b = await server(site)
    objects = Objects(store)
    await objects.put(allowing(80, 81))
    await site.net.reconcile()
    with tcp(site.paths["a"], site.paths["b"], ips(b)[0], 81) as line:
        for ports in ((80,), (80, 81)):
            await objects.put(allowing(*ports))
            await site.net.reconcile()
        assert both(line)


EVERYBODY = Policy(
    tenant="t", name="p", applies=Selector(), directions=(Direction.INGRESS,), rules=allowing(80, 81).rules
)


@pytest.mark.parametrize("version", [4, 6])
async def test_a_first_policy_knows_who_began_what_its_bridge_has_never_seen(
    site: Site, store: Store, version: int
) -> None:
    """Whoever speaks first after it. Whom nothing is allowed is cut, even if the other end might begin; who is allowed
    goes on, even if the other end may not."""
    await site.box("a")
    b = await server(site)
    objects, (pa, pb), host = Objects(store), (site.paths["a"], site.paths["b"]), ips(b)[version // 6]
    with (
        tcp(pa, pb, host, 80) as first,
        tcp(pa, pb, host, 81) as second,
        tcp(pa, pb, host, 82) as cut,
        tcp(pa, pb, host, 83) as cut_too,
    ):
        await objects.put(allowing(80, 81))
        await site.net.reconcile()
        assert cut.reset(back=True)
        assert cut_too.reset()
        await objects.put(EVERYBODY)
        await site.net.reconcile()
        assert second.speaks(back=True), "the client may not be spoken to by itself"
        assert both(first)
        await objects.put(replace(EVERYBODY, rules=()))
        await site.net.reconcile()
        assert first.reset()
        assert second.reset(back=True)


async def test_a_first_policy_on_the_whole_network(site: Site, store: Store) -> None:
    await site.box("a")
    b = await server(site)
    pa, pb, host = site.paths["a"], site.paths["b"], ips(b)[0]
    with tcp(pa, pb, host, 80) as kept, tcp(pa, pb, host, 82) as cut:
        await Objects(store).put(EVERYBODY)
        await site.net.reconcile()
        assert kept.speaks(back=True)
        assert kept.speaks()
        assert cut.reset(back=True)


async def test_who_listens_was_begun_to_whatever_the_numbers(site: Site, store: Store) -> None:
    """A server on a high port, which speaks both versions by one socket, and a client from a low one."""
    await site.box("a")
    b = await server(site)
    pa, pb = site.paths["a"], site.paths["b"]
    door = within(pb, lambda: socket.create_server(("::", 60000), family=socket.AF_INET6, dualstack_ipv6=True))
    with door, within(pa, lambda: socket.socket(socket.AF_INET)) as near:
        near.bind((ips(site.net.attachments("a")[0])[0], 1000))
        near.connect((ips(b)[0], 60000))
        far, _ = door.accept()
        with far:
            line = Line(near, far)
            await Objects(store).put(allowing(60000))
            await site.net.reconcile()
            assert line.speaks(back=True)
            await Objects(store).put(allowing(1000))
            await site.net.reconcile()
            assert line.reset(back=True)


async def test_a_router_that_goes_takes_its_connections(site: Site, store: Store) -> None:
    await site.network("m", subnets=["10.8.0.0/24", "fd00:8::/64"])
    await site.box("a")
    b = await server(site, network="m")
    objects = Objects(store)
    await objects.put(Router(tenant="t", name="r", networks=("n", "m")))
    await objects.put(allowing())
    await site.net.reconcile()
    pa, pb = site.paths["a"], site.paths["b"]
    with tcp(pa, pb, ips(b)[0], 80) as old, tcp(pa, pb, ips(b)[1], 80) as new, udp(pa, pb, ips(b)[0], 80) as datagrams:
        lines = (old, new, datagrams)
        assert all(both(line) for line in lines)
        await objects.put(allowing(80))
        await site.net.reconcile()
        assert all(both(line) for line in lines)
        await objects.remove("router", "t/r")
        await site.net.reconcile()
        assert not any(line.speaks() or line.speaks(back=True) for line in lines)


async def test_between_routed_networks_as_on_one(site: Site, store: Store) -> None:
    await site.network("m", subnets=["10.8.0.0/24", "fd00:8::/64"])
    await site.box("a")
    b = await server(site, network="m")
    objects = Objects(store)
    await objects.put(Router(tenant="t", name="r", networks=("n", "m")))
    await site.net.reconcile()
    pa, pb = site.paths["a"], site.paths["b"]
    with tcp(pa, pb, ips(b)[0], 80) as kept, tcp(pa, pb, ips(b)[0], 81) as cut, udp(pa, pb, ips(b)[1], 81) as cut_udp:
        assert all(both(line) for line in (kept, cut, cut_udp))
        await objects.put(allowing(80, sources=(Peer(ports=Selector(networks=("n",))),)))
        await site.net.reconcile()
        assert both(kept)
        assert cut.reset(back=True)
        assert not cut_udp.speaks()


async def test_a_published_ports_connections(site: Site, store: Store, rundir: Path) -> None:
    with outside(rundir) as world:
        b = await server(site, publish=("8080:80", "8081:81"))
        objects, pb = Objects(store), site.paths["b"]
        for host, node, here in ((ips(b)[0], NODE4, "192.0.2.0/24"), (ips(b)[1], NODE6, "2001:db8:1::/64")):
            await objects.put(allowing())
            await site.net.reconcile()
            with (
                tcp(world, pb, host, 80, asked=(node, 8080)) as kept,
                tcp(world, pb, host, 81, asked=(node, 8081)) as cut,
            ):
                await objects.put(allowing(80, sources=(Peer(cidr=ip_network(here)),)))
                await site.net.reconcile()
                assert both(kept)
                assert cut.reset()
                await objects.put(allowing(80, sources=(Peer(cidr=ip_network("198.51.100.0/24")),)))
                await site.net.reconcile()
                assert kept.reset(back=True)


async def test_what_only_a_policy_allowed_goes_with_it(site: Site, store: Store) -> None:
    await site.box("a")
    b = await server(site)
    objects, pa, pb = Objects(store), site.paths["a"], site.paths["b"]
    await objects.put(Tenant(name="t", default=Default.DENY))
    for name, direction in (("in", Direction.INGRESS), ("out", Direction.EGRESS)):
        rule = Rule(direction=direction, proto="tcp")
        await objects.put(Policy(tenant="t", name=name, applies=Selector(), directions=(direction,), rules=(rule,)))
    await site.net.reconcile()
    with tcp(pa, pb, ips(b)[0], 80) as line:
        assert both(line)
        await objects.remove("policy", "t/out")
        await site.net.reconcile()
        assert line.reset()


async def test_a_flush_that_a_crash_left_out_is_made_up_for(
    site: Site, store: Store, instance: str, rundir: Path
) -> None:
    """The next process judges every tenant's connections once."""
    await site.box("a")
    b = await server(site)
    objects, pa, pb = Objects(store), site.paths["a"], site.paths["b"]
    await objects.put(allowing(80, 81))
    await site.net.reconcile()
    with tcp(pa, pb, ips(b)[0], 80) as kept, tcp(pa, pb, ips(b)[0], 81) as cut:
        await objects.put(allowing(80))
        steps = await site.net.plan()
        half = World(instance, rundir)
        for step in steps:
            half.apply(step)
        half.close()
        assert both(cut), "the table has changed, nobody has looked at the connections"
        assert await site.net.plan() == (), "and no plan shows it"
        again = NetAgent(store, instance, rundir)
        await again.open()
        try:
            assert both(kept)
            assert cut.reset()
        finally:
            await again.close()


async def test_a_long_stream_goes_on_through_changes(site: Site, store: Store) -> None:
    """Not a byte of it is lost, and it does not stand still."""
    await site.box("a")
    b = await server(site)
    objects, pa, pb = Objects(store), site.paths["a"], site.paths["b"]
    got = 0
    with tcp(pa, pb, ips(b)[0], 80) as line:
        line.near.settimeout(5)
        line.far.settimeout(5)

        def send() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line.near.send(bytes(1 << 16))

        def take() -> None:
            nonlocal got
            with contextlib.suppress(OSError):
                while data := line.far.recv(1 << 18):
                    got += len(data)

        threads = [threading.Thread(target=act, daemon=True) for act in (send, take)]
        for thread in threads:
            thread.start()
        for ports in ((80,), (80, 81), (80, 443), (80,)):
            await objects.put(allowing(*ports))
            await site.net.reconcile()
            before = got
            until(lambda before=before: got > before + (1 << 20), timeout=5, what="more of the stream")  # type: ignore[misc]
        line.near.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
