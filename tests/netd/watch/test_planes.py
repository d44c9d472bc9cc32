"""Limits, counters, captures and meshes are the same on both data planes."""

import asyncio
import io
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netns
from hawser.netd.errors import Unavailable
from hawser.netd.model import Direction, Kind, Qos
from hawser.netd.qos.change import limited, mirrored
from hawser.netd.watch.agent import Rounds, Watcher
from hawser.netd.watch.drivers import page, pcap
from hawser.netd.watch.drivers.tracer import Wish
from hawser.netd.watch.ends import host_end
from hawser.netd.watch.pcapfile import Limits
from hawser.netd.watch.stats import Counters
from hawser.store import Store
from tests.netd.machines import ping
from tests.netd.yard import dscp, frames, say, sniffer

pytestmark = pytest.mark.root
MBIT = 10**6


@pytest.fixture
async def made(net: NetAgent, kind: str) -> NetAgent:
    """Ports `a` and `b` on one network."""
    await net.create_network({"tenant": "t", "name": "n", "kind": kind, "subnets": ["10.7.0.0/24", "fd07::/64"]})
    for name in ("a", "b"):
        await net.make_sandbox(name)
        await net.attach(name, tenant="t", network="n")
    await net.reconcile()
    return net


def path(net: NetAgent, name: str) -> Path:
    return Path(net.sandboxes()[name])


def address(net: NetAgent, name: str) -> str:
    return str(net.attachments(name)[0].addresses[0].ip)


def rate(net: NetAgent, source: str, target: str) -> float:
    """Bit/s of a TCP stream after a while."""
    server = netns.inside(path(net, target), lambda: socket.create_server(("", 5201)))
    client = netns.inside(path(net, source), lambda: socket.socket(socket.AF_INET))
    with server, client:
        client.settimeout(5)
        client.connect((address(net, target), 5201))
        taker, _ = server.accept()
        thread = threading.Thread(target=_send, args=(client,), daemon=True)
        thread.start()
        with taker:
            _take(taker, 0.6)
            octets = _take(taker, 1.2)
            client.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    return octets * 8 / 1.2


def _send(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(1 << 15))
    except OSError:
        return


def _take(sock: socket.socket, seconds: float) -> int:
    end, octets = time.monotonic() + seconds, 0
    sock.settimeout(3)
    while time.monotonic() < end:
        octets += len(sock.recv(1 << 18))
    return octets


async def test_a_port_is_limited_in_use(made: NetAgent) -> None:
    free = await asyncio.to_thread(rate, made, "a", "b")
    qos = Qos(ingress=20 * MBIT, egress=8 * MBIT, dscp=46)
    await made.change_port("a", "eth0", lambda port: limited(port, qos))
    assert await made.plan() == ()
    with sniffer(path(made, "b"), "eth0") as seen:
        say(path(made, "a"), address(made, "b"), b"marked")
        assert [dscp(frame) for frame in frames(seen, b"marked")] == [46]
    assert await asyncio.to_thread(rate, made, "a", "b") < 12 * MBIT
    assert await asyncio.to_thread(rate, made, "b", "a") < 30 * MBIT
    await made.change_port("a", "eth0", lambda port: limited(port, Qos()))
    assert await made.plan() == ()
    assert await asyncio.to_thread(rate, made, "a", "b") > min(free / 4, 40 * MBIT)


async def test_a_port_is_counted(made: NetAgent, kind: str) -> None:
    def read() -> dict[str, Counters]:
        samples, policies = page.read(made.fabric, made.site)
        assert list(policies) == ["t"]
        assert {sample.refused for sample in samples} == ({(0, 0)} if kind == "bridge" else {None})
        return {sample.sandbox: sample.counters for sample in samples}

    before = await asyncio.to_thread(read)
    assert set(before) == {"a", "b"}
    for _ in range(5):
        assert await asyncio.to_thread(ping, str(path(made, "a")), address(made, "b"))
    after = await asyncio.to_thread(read)
    assert after["a"].transmit_packets >= before["a"].transmit_packets + 5
    assert after["b"].receive_packets >= before["b"].receive_packets + 5


async def test_a_port_is_captured(made: NetAgent) -> None:
    end = host_end(made.fabric, made.site, made.fabric.ports[f"{made.site.machine}/a:eth0"])
    file, stop = io.BytesIO(), threading.Event()

    def run() -> pcap.Captured:
        return pcap.capture(
            end.ifname,
            file,
            space=Path(end.space) if end.space else None,
            limits=Limits(packets=2, seconds=10),
            directions=[Direction.EGRESS],
            stop=stop,
        )

    async def speak() -> None:
        while not stop.is_set():
            say(path(made, "a"), address(made, "b"), b"spoken")
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        group.create_task(speak())
        done = await asyncio.to_thread(run)
        stop.set()
    assert done.packets == 2
    assert struct.unpack_from("<I", file.getvalue()) == (0xA1B23C4D,)


async def test_a_mesh_and_a_probe_go_over_any_plane(made: NetAgent, store: Store, kind: str) -> None:
    watcher = Watcher(store, made)
    for version in (4, 6):
        pinged = await watcher.ping("t", "n", version, Rounds(count=3, interval=0.1))
        assert all(any(sample.times) for sample in pinged.samples)
    found = await watcher.trace(Wish(source="a", target="b", proto="tcp", port=80))
    assert (found["allowed"], found["arrived"]) == (True, True)
    if kind == "ovs":
        assert found["notes"] == ["hops of t/n cannot be counted: its data plane does not tell"]


async def test_a_mirror_is_made_or_refused(made: NetAgent, kind: str) -> None:
    change = made.change_port("a", "eth0", lambda port: mirrored(made.fabric, port, "b:eth0", [Direction.EGRESS]))
    if kind == Kind.BRIDGE:
        await change
    else:
        with pytest.raises(Unavailable, match=r"plane ovs are not mirrored; capture it"):
            await change
    assert await made.plan() == ()
