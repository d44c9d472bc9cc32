"""The DNS server on loopback beside an empty asyncio UDP echo, and what checking a hundred instances costs."""

import asyncio
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from multiprocessing.connection import Connection

from hawser.mesh.agent import Mesh
from hawser.mesh.drivers.dns_server import DnsServer, Listener
from hawser.mesh.model import instance_of, parse_announcement
from hawser.store import MemoryStore

from .row import Row

HOST, NAME = "127.0.0.1", b"\3web\4acme\4mesh\10internal\0"
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0" + NAME + b"\0\1\0\1"
ROUNDS, SECONDS, WINDOW, SINGLES = 3, 0.5, 32, 2000
CHECKED, CHECK_SECONDS = 100, 8.0


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: object) -> None:
        self.transport.sendto(data, peer)  # type: ignore[attr-defined]


async def _echo(port: int) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(_Echo, (HOST, port))


async def _dns(port: int) -> None:
    found = tuple(
        instance_of(
            parse_announcement(
                {"tenant": "acme", "service": "web", "id": f"{n}", "addresses": [f"10.0.0.{n}"], "port": 80}
            ),
            "m",
            healthy=True,
            reason="",
        )
        for n in (1, 2, 3)
    )
    server = DnsServer(lambda tenant: found, port=port)
    assert await server.set([Listener(tenant="acme", addresses=(ip_address(HOST),))]) == {}


def _serve(start: Callable[[int], Awaitable[None]], port: int, ready: Connection) -> None:
    async def main() -> None:
        await start(port)
        ready.send(True)
        await asyncio.Event().wait()

    asyncio.run(main())


def _measure(start: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Answers a second with a window of queries under way, and the median of one at a time in microseconds."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(start, port, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect((HOST, port))
            sock.settimeout(2)
            return _throughput(sock), _latency(sock)
    finally:
        process.kill()
        process.join()


def _throughput(sock: socket.socket) -> float:
    for _ in range(WINDOW):
        sock.send(QUERY)
    begin, count = time.perf_counter(), 0
    while (now := time.perf_counter()) - begin < SECONDS:
        for _ in range(WINDOW):
            sock.recv(2048)
            sock.send(QUERY)
        count += WINDOW
    for _ in range(WINDOW):
        sock.recv(2048)
    return count / (now - begin)


def _latency(sock: socket.socket) -> float:
    took = list[float]()
    for _ in range(SINGLES):
        begin = time.perf_counter()
        sock.send(QUERY)
        sock.recv(2048)
        took.append(time.perf_counter() - begin)
    return sorted(took)[SINGLES // 2] * 1e6


async def _check_cost() -> float:
    """CPU of this process in percent of one core while it keeps CHECKED instances; the server's part is included."""

    async def execute(_: object, __: object) -> int:
        return 1

    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    healthy = asyncio.Event()

    def changed() -> None:
        if sum(instance.healthy for instance in mesh.instances()) == CHECKED:
            healthy.set()

    mesh = Mesh(MemoryStore(), "m", execute, on_change=changed)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mesh.run())
        for number in range(CHECKED):
            spec = {"service": "web", "id": f"{number}", "addresses": [HOST], "port": port}
            await mesh.announce(parse_announcement(spec))
        await healthy.wait()
        cpu, wall = time.process_time(), time.monotonic()
        await asyncio.sleep(CHECK_SECONDS)
        cost = 100 * (time.process_time() - cpu) / (time.monotonic() - wall)
        task.cancel()
    server.close()
    return cost


def rows() -> list[Row]:
    """Throughput, latency, and the cost of health checks; the better of some rounds that take turns."""
    rounds = [(_measure(_echo), _measure(_dns)) for _ in range(ROUNDS)]
    echo_rate, rate = max(echo[0] for echo, _ in rounds), max(dns[0] for _, dns in rounds)
    echo_median, median = min(echo[1] for echo, _ in rounds), min(dns[1] for _, dns in rounds)
    cost = asyncio.run(_check_cost())
    peer = "empty asyncio UDP echo"
    return [
        Row(what="DNS answers, 32 under way", ours=rate, unit="1/s", need="at least 0.8 of the echo",
            ok=rate >= 0.8 * echo_rate, peer=echo_rate, peer_name=peer, note="3 A records, packed answers"),
        Row(what="DNS answer, p50", ours=median, unit="µs", need="reported", ok=True, peer=echo_median, peer_name=peer),
        Row(what="100 instances, tcp check every 2 s", ours=cost, unit="% CPU", need="under 1 %", ok=cost < 1,
            note="the checked server is in the same process"),
    ]  # fmt: skip
