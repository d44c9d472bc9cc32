"""Networks over several machines: each a namespace with an agent of its own; one store, one wire between them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.conntrack import Conntrack
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.drivers.world import World
from hawser.netd.model import Direction, Network, Peer, Policy, Router, Rule, Selector
from hawser.netd.objects.catalogue import Objects
from hawser.store import Store

from .machines import ask, ping, serving, shut, silent, within
from .test_connections import SERVERS, allowing, both, tcp, udp

pytestmark = pytest.mark.root


class Machine:
    """One machine: its namespace, its agent, what is attached there."""

    def __init__(
        self, store: Store, name: str, number: int, directory: Path, kind: str = "bridge", **options: Any
    ) -> None:
        self.kind = kind
        self.name, self.path = name, directory / f"{name}.ns"
        self.paths: dict[str, str] = {}
        self.address = ip_address(f"192.0.2.{number}")
        netns.create(self.path, prepare_sandbox)
        self._store, self._directory, self._options = store, directory / name, options
        self.net = self._agent()
        self._stack = AsyncExitStack()

    def _agent(self) -> NetAgent:
        return NetAgent(
            self._store,
            f"{self.name}0000000"[:8],
            self._directory,
            machine=self.name,
            underlay=self.address,
            kernel=self._enter,
            **self._options,
        )

    def _enter(self, instance: str, rundir: Path) -> World:
        netns.enter(self.path)  # for good: it is the agent's own thread
        return World(instance, rundir)

    async def start(self) -> None:
        await self.net.open()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._task = group.create_task(self.net.run())

    async def network(self, tenant: str, name: str, *subnets: str, **fields: object) -> Network:
        spec = {"tenant": tenant, "name": name, "subnets": [*subnets], "kind": self.kind, **fields}
        return await self.net.create_network(spec)

    async def box(self, name: str, tenant: str, network: str) -> Attachment:
        self.paths[name] = await self.net.make_sandbox(name)
        return await self.net.attach(name, tenant=tenant, network=network)

    async def pause(self) -> None:
        """The process ends; what it made goes on."""
        self._task.cancel()
        await self._stack.aclose()
        await self.net.close()

    async def resume(self) -> None:
        """Another process takes over."""
        self.net = self._agent()
        await self.start()

    async def stop(self) -> None:
        self._task.cancel()
        await self._stack.aclose()
        await self.net.teardown()
        await self.net.close()
        netns.remove(self.path)


@pytest.fixture
async def machines(store: Store, rundir: Path, kind: str) -> AsyncIterator[list[Machine]]:
    found = [Machine(store, name, number, rundir, kind) for number, name in enumerate(("m1", "m2", "m3"), 1)]
    async with connected(found):
        yield found


@asynccontextmanager
async def connected(
    found: list[Machine], prepare: Callable[[Machine], None] = lambda machine: None
) -> AsyncIterator[None]:
    """On one wire (the bridge `wire0` here), `prepare`d each in its namespace, started, and stopped."""
    with Netlink() as here:
        here.do([netlink.new_bridge("wire0")])
        bridge = socket.if_nametoindex("wire0")
        for machine in found:
            with machine.path.open() as target:
                port = f"w{machine.name}"
                here.do([netlink.new_veth(port, "eth0", peer_netns=target.fileno(), master=bridge)])

            def plug(machine: Machine = machine) -> None:
                with Netlink() as inner:
                    inner.do([netlink.set_link("eth0")])
                    index = socket.if_nametoindex("eth0")
                    inner.do([netlink.add_address(index, ip_interface(f"{machine.address}/24"))])
                prepare(machine)

            netns.inside(machine.path, plug)
        for machine in found:
            await machine.start()
        try:
            yield
        finally:
            for machine in found:
                await machine.stop()
            here.do([netlink.delete_link(f"w{machine.name}") for machine in found], missing_ok=True)
            here.do([netlink.delete_link("wire0")])


async def until(condition, what: str, timeout: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    """Wait on the loop, off which the condition is asked."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.05)


def ip(attachment: Attachment, version: int = 4) -> str:
    return next(str(address.ip) for address in attachment.addresses if address.version == version)


async def test_a_network_spans_machines(machines: list[Machine]) -> None:
    m1, m2, _ = machines
    await m1.network("t", "n", "10.0.0.0/24", "fd00::/64")
    a, b = await m1.box("a", "t", "n"), await m2.box("b", "t", "n")
    assert ip(a) != ip(b)
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "IPv4 over the tunnel")
    await until(lambda: ping(m2.paths["b"], ip(a, 6), timeout=0.3), "IPv6 over the tunnel")
    with serving(m2.paths["b"], 80):
        assert await asyncio.to_thread(ask, m1.paths["a"], ip(b), 80) == ip(a)
    assert m1.net.attachments("a")[0].mtu == 1450
    for machine in (m1, m2):
        assert netns.inside(machine.path, tracked_tunnels) == 0, machine.name


def tracked_tunnels() -> int:
    """How many of the tunnels' own packets conntrack keeps as connections."""
    conntrack = Conntrack()
    try:
        return conntrack.forget_udp(4789)
    finally:
        conntrack.close()


async def test_tenants_with_one_subnet_stay_apart_across_machines(machines: list[Machine]) -> None:
    m1, m2, _ = machines
    for tenant in ("red", "blue"):
        await m1.network(tenant, "n", "10.0.0.0/24")
        await m1.box(f"{tenant}-a", tenant, "n")
        await m2.box(f"{tenant}-b", tenant, "n")
    with serving(m2.paths["red-b"], 80):
        await until(lambda: ask(m1.paths["red-a"], "10.0.0.3", 80, timeout=0.3), "the tenant's own server")
        assert await asyncio.to_thread(shut, m1.paths["blue-a"], "10.0.0.3", 80)
        assert await asyncio.to_thread(ping, m1.paths["blue-a"], "10.0.0.3")


async def test_a_port_that_goes_is_reached_no_more(machines: list[Machine]) -> None:
    m1, m2, m3 = machines
    await m1.network("t", "n", "10.0.0.0/24")
    await m1.box("a", "t", "n")
    b = await m2.box("b", "t", "n")
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the first place")
    await m2.net.remove_sandbox("b")
    await until(lambda: silent(m1.paths["a"], ip(b)), "its end")
    await m3.net.make_sandbox("c")
    m3.paths["c"] = m3.net.sandboxes()["c"]
    await m3.net.attach("c", tenant="t", network="n", addresses=[ip(b)])
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the address on another machine")


async def test_a_router_joins_networks_wherever_their_ports_are(machines: list[Machine], store: Store) -> None:
    m1, m2, _ = machines
    objects = Objects(store)
    for name, subnet in (("web", "10.0.1.0/24"), ("db", "10.0.2.0/24"), ("other", "10.0.3.0/24")):
        await m1.network("t", name, subnet)
    a, b, c = await m1.box("a", "t", "web"), await m2.box("b", "t", "db"), await m2.box("c", "t", "other")
    assert await asyncio.to_thread(silent, m1.paths["a"], ip(b))
    await objects.put(Router(tenant="t", name="r", networks=("web", "db")))
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the routed network")
    with serving(m2.paths["b"], 80), serving(m1.paths["a"], 80):
        assert await asyncio.to_thread(ask, m1.paths["a"], ip(b), 80) == ip(a)
        assert await asyncio.to_thread(ask, m2.paths["b"], ip(a), 80) == ip(b)
    assert await asyncio.to_thread(silent, m1.paths["a"], ip(c))


async def test_a_policy_holds_across_machines(machines: list[Machine], store: Store) -> None:
    """Who is allowed is answered; who is not is not, bridged or routed, new on this machine or on that."""
    m1, m2, _ = machines
    objects = Objects(store)
    for name, subnet in (("web", "10.0.1.0/24"), ("db", "10.0.2.0/24")):
        await m1.network("t", name, subnet)
    await objects.put(Router(tenant="t", name="r", networks=("web", "db")))
    await m1.box("a", "t", "web")
    b, c = await m2.box("b", "t", "db"), await m2.box("c", "t", "web")
    allowed = Rule(
        direction=Direction.INGRESS, peers=(Peer(ports=Selector(networks=("web",))),), proto="tcp", ports=((80, 80),)
    )
    await objects.put(
        Policy(
            tenant="t",
            name="db",
            applies=Selector(networks=("db",)),
            directions=(Direction.INGRESS,),
            rules=(allowed,),
        )
    )
    with serving(m2.paths["b"], 80), serving(m2.paths["b"], 81), serving(m2.paths["c"], 81):
        await until(lambda: ask(m1.paths["a"], ip(b), 80, timeout=0.3), "what the policy allows")
        await until(lambda: shut(m1.paths["a"], ip(b), 81), "the policy")
        assert await asyncio.to_thread(ask, m1.paths["a"], ip(c), 81), "of the other network it says nothing"


@pytest.mark.parametrize("multicast", [True, False])
async def test_what_is_for_everybody_passes_between_machines_only_where_it_is_wanted(
    machines: list[Machine], multicast: bool
) -> None:
    m1, m2, _ = machines
    await m1.network("t", "n", "10.0.0.0/24", multicast=multicast)
    await m1.box("a", "t", "n")
    b, here = await m2.box("b", "t", "n"), await m1.box("here", "t", "n")
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the tunnel")

    def heard(path: str) -> bool:
        with within(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
            server.bind(("0.0.0.0", 7))
            server.settimeout(0.3)
            with within(m1.paths["a"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.sendto(b"all", ("10.0.0.255", 7))
            try:
                return server.recv(10) == b"all"
            except TimeoutError:
                return False

    await until(lambda: heard(m1.paths["here"]), f"the neighbour {here.sandbox}")
    if multicast:
        await until(lambda: heard(m2.paths["b"]), "the other machine's")
    else:
        assert not await asyncio.to_thread(heard, m2.paths["b"])
    assert await m1.net.plan() == ()


async def test_answers_from_an_open_network_come_back_to_one_that_denies(machines: list[Machine], store: Store) -> None:
    """Each machine routes what begins there, and must know the answers of what another has routed; what is for
    everybody goes on passing on the open network."""
    m1, m2, _ = machines
    for name, subnet, default in (("web", "10.0.1.0/24", "deny"), ("db", "10.0.2.0/24", None)):
        await m1.network("t", name, subnet, default=default)
    objects = Objects(store)
    await objects.put(Router(tenant="t", name="r", networks=("web", "db")))
    await m1.box("a", "t", "web")
    b, c = await m2.box("b", "t", "db"), await m2.box("c", "t", "db")
    out = Policy(
        tenant="t",
        name="out",
        applies=Selector(networks=("web",)),
        directions=(Direction.EGRESS,),
        rules=(Rule(direction=Direction.EGRESS, proto="tcp"),),
    )
    await objects.put(out)
    with serving(m2.paths["b"], 80):
        await until(lambda: ask(m1.paths["a"], ip(b), 80, timeout=0.5), "the answer")
    assert await asyncio.to_thread(silent, m1.paths["a"], ip(b))
    with within(m2.paths["b"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("0.0.0.0", 7))
        server.settimeout(3)
        with within(m2.paths["c"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(b"all", ("10.0.2.255", 7))
            assert server.recvfrom(10) == (b"all", (ip(c), client.getsockname()[1]))


@pytest.mark.parametrize("kind", ["bridge"])
async def test_a_network_that_begins_to_be_filtered_keeps_its_neighbours(machines: list[Machine], store: Store) -> None:
    m1, m2, _ = machines
    await m1.network("t", "n", "10.0.0.0/24")
    a, b = await m1.box("a", "t", "n"), await m2.box("b", "t", "n")
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the tunnel")
    await Objects(store).put(allowing(80))
    for machine in (m1, m2):
        steps = await machine.net.reconcile()
        assert not [step.key for step in steps if step.key.startswith("remote:")]
        assert await machine.net.plan() == ()
    assert await asyncio.to_thread(ping, m2.paths["b"], ip(a))


@pytest.mark.parametrize("kind", ["bridge"])
@pytest.mark.parametrize("first", [True, False])
async def test_open_connections_follow_a_policy_across_machines(
    machines: list[Machine], store: Store, first: bool
) -> None:
    """Bridged from machine to machine, or routed: those that are allowed go on, the others are cut; by the first policy
    that concerns them, or another."""
    m1, m2, _ = machines
    objects = Objects(store)
    for name, subnet in (("n", "10.7.0.0/24"), ("m", "10.8.0.0/24")):
        await m1.network("t", name, subnet)
    await objects.put(Router(tenant="t", name="r", networks=("n", "m")))
    if not first:
        await objects.put(allowing())
    await m1.box("a", "t", "n")
    await m1.box("c", "t", "m")
    m2.paths["b"] = await m2.net.make_sandbox("b")
    host = ip(await m2.net.attach("b", tenant="t", network="m", labels=SERVERS.labels))
    for name in ("a", "c"):
        path = m1.paths[name]
        await until(lambda path=path: ping(path, host, timeout=0.3), f"the way from {name}")
    with ExitStack() as stack:
        ways = [(m1.paths[name], m2.paths["b"], host) for name in ("a", "c")]
        kept = [stack.enter_context(tcp(*way, 80)) for way in ways]
        cut = [stack.enter_context(tcp(*way, 81)) for way in ways]
        datagrams = [stack.enter_context(udp(*way, port)) for port, way in enumerate(ways, 81)]
        assert all(both(line) for line in (*kept, *cut, *datagrams))
        await objects.put(allowing(80))
        for line in cut:
            await until(lambda line=line: line.reset(back=first), "the policy")
        assert not any(line.speaks() for line in datagrams)
        assert all(both(line) for line in kept)
        await objects.put(Router(tenant="t", name="r", networks=("m",)))
        await until(lambda: not both(kept[0]), "the router's end")
        assert both(kept[1])
