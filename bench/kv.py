"""The etcd protocol's figures: our server, the real etcd and an empty server, in turns, with one client program."""

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import disk, puts
from .row import Row

CLIENTS, SECONDS, ROUNDS = 64, 3.0, 3
PUTS = 300
# how many, and the milliseconds that a hundredth of their events may take longer than
WATCHERS = {1: 10.0, 1000: 50.0}


def rows() -> list[Row]:
    """Both servers keep their data on the disk of the current directory."""
    with ExitStack() as stack:
        directory = stack.enter_context(disk.directory("kv"))
        servers = {
            "hawser": stack.enter_context(hawser(directory / "hawser")),
            "etcd": stack.enter_context(etcd(directory / "etcd")),
            "empty": stack.enter_context(empty()),
        }
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, port in servers.items():
                taken[name].append(measure("put", port, CLIENTS, SECONDS))
        told = {
            (name, count): measure("watch", servers[name], count, PUTS)
            for count in WATCHERS
            for name in ("hawser", "etcd")
        }
        inside = asyncio.run(puts.in_process(directory / "inside"))
    ours, theirs, floor = (median(taken[name]) for name in servers)
    note = f"p50 {ours['p50']:.1f} ms, p99 {ours['p99']:.1f} ms; etcd p99 {theirs['p99']:.1f} ms"
    what = f"put through gRPC, {CLIENTS} clients"
    within = {"rate": inside}
    return [
        _rate(f"durable puts, in process, {puts.WRITERS} writers", within, theirs, f"etcd, {what}", 3.0, ""),
        _rate(what, ours, theirs, "etcd", 0.3, note),
        _rate(what, ours, floor, "empty grpc.aio server on uvloop", 0.9, ""),
        Row(what=f"{what}: p99", ours=ours["p99"], unit="ms", need="< 30 ms", ok=ours["p99"] < 30),
        *(_told(count, told["hawser", count], told["etcd", count], most) for count, most in WATCHERS.items()),
    ]


def _told(watchers: int, ours: dict[str, float], theirs: dict[str, float], most: float) -> Row:
    return Row(
        what=f"put to watch event, through gRPC, {watchers:,} watchers on a stream: p99",
        ours=ours["p99"],
        unit="ms",
        need=f"< {most:g} ms, or no slower than etcd: the client in Python is most of it",
        ok=ours["p99"] < max(most, theirs["p99"]),
        peer=theirs["p99"],
        peer_name="etcd",
        note=f"p50 {ours['p50']:.2f} ms; every watcher is told every event",
    )


def _rate(what: str, ours: dict[str, float], peer: dict[str, float], name: str, least: float, note: str) -> Row:
    ok = ours["rate"] >= least * peer["rate"]
    need = f"≥ {least}x"
    return Row(what=what, ours=ours["rate"], unit="/s", need=need, ok=ok, peer=peer["rate"], peer_name=name, note=note)


def measure(what: str, port: int, count: int, extent: float) -> dict[str, float]:
    """One turn of the client program."""
    command = [sys.executable, "-m", "bench.load", what, f"127.0.0.1:{port}", str(count), str(extent)]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout))


def median(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


@contextmanager
def hawser(directory: Path) -> Iterator[int]:
    """`hawser kv serve` on a free port."""
    port = free()
    command = [sys.executable, "-m", "hawser.main", "kv", "serve", "--data-dir", str(directory)]
    with running([*command, "--listen", f"127.0.0.1:{port}"], port):
        yield port


@contextmanager
def etcd(directory: Path) -> Iterator[int]:
    """The real one, a cluster of one, with its fsyncs."""
    port, peer = free(), free()
    client, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    command = ["etcd", "--data-dir", str(directory), "--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", other, "--initial-advertise-peer-urls", other]
    with running([*command, "--initial-cluster", f"default={other}"], port):
        yield port


@contextmanager
def empty() -> Iterator[int]:
    """The floor."""
    port = free()
    with running([sys.executable, "-m", "bench.empty", str(port)], port):
        yield port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server until the end of the block; ready when its port answers."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not answer at port {port}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def free() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
