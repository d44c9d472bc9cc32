"""What is seen of tenants' networks: counters, captures, loss and latency, and where a packet ends."""

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from hawser.netd.model import Direction, Port
from hawser.netd.watch import mesh
from hawser.netd.watch.agent import Rounds
from hawser.netd.watch.drivers import pcap
from hawser.netd.watch.drivers.tracer import Wish
from hawser.netd.watch.ends import host_end
from hawser.netd.watch.metrics import CONTENT_TYPE
from hawser.netd.watch.pcapfile import SNAP_MOST, Limits

from ..faults import Fault
from ..node import Node
from .common import flag, node_of, number, stream
from .ports import port_of

routes = web.RouteTableDef()
BLOCK = 1 << 16
SECONDS_MOST, TRACE_MOST = 3600.0, 30.0


@routes.get("/v1/metrics")
async def counters(request: web.Request) -> web.Response:
    """Every counter of this machine, as Prometheus reads it."""
    text = await node_of(request).watcher.metrics()
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


@routes.get("/v1/ping")
async def ping(request: web.Request) -> web.Response:
    """A full mesh: the matrix, as a table too, and what is not as the policies say."""
    node, query = node_of(request), request.query
    version = number(request, "version")
    if version not in (None, 4, 6):
        raise Fault(f"version={version}: give 4 or 6", "usage")
    rounds = Rounds(
        count=_within(request, "count", 3, 1000),
        interval=_seconds(request, "interval", 0.2),
        timeout=_seconds(request, "timeout", 1.0),
    )
    pinged = await node.watcher.ping(query.get("tenant", "default"), query.get("network"), version, rounds)
    shown = mesh.names(pinged.mesh.ports.values(), node.verbs.names())
    matrix = mesh.renamed(pinged.samples, shown)
    odd = mesh.surprises(node.net.fabric, pinged.mesh, pinged.samples)
    surprises = [
        {"source": shown[one.source], "target": shown[one.target], "heard": one.heard, "reason": one.reason}
        for one in odd
    ]
    answer = {"lines": list(mesh.lines(matrix)), "surprises": surprises, "silent": pinged.silent}
    return web.json_response(matrix.document() | answer)


@routes.get("/v1/trace")
async def trace(request: web.Request) -> web.Response:
    """What becomes of a packet: what the model says, and where a real one was seen (not with `live=0`)."""
    node, query = node_of(request), request.query
    for name in ("src", "dst"):
        if name not in query:
            raise Fault(f"{name} is missing", "usage")
    proto, port, version = query.get("proto", "icmp"), number(request, "port"), number(request, "version")
    if proto not in ("tcp", "udp", "icmp") or (port is None) != (proto == "icmp"):
        raise Fault(f"proto={proto}: give tcp or udp with a port, or icmp without", "usage")
    if version not in (None, 4, 6) or not 1 <= (port or 1) <= 65535:
        raise Fault(f"version={version}, port={port}: give 4 or 6, and 1-65535", "usage")
    wish = Wish(
        source=_end(node, query["src"]),
        target=_end(node, query["dst"]),
        tenant=query.get("tenant"),
        proto=proto,
        port=port or 0,
        version=version,
        timeout=min(_seconds(request, "timeout", 2.0), TRACE_MOST),
        live=flag(request, "live") if "live" in query else True,
    )
    return web.json_response(await node.watcher.trace(wish))


def _end(node: Node, name: str) -> str:
    """A container by name (and interface) as its sandbox's; an address or what else there is as it is."""
    with contextlib.suppress(ValueError):
        return str(ip_address(name))
    sandbox, colon, ifname = name.partition(":")
    named = [id for id, known in node.verbs.names().items() if known == sandbox]
    return f"{named[0]}{colon}{ifname}" if len(named) == 1 else name


def _seconds(request: web.Request, name: str, usual: float) -> float:
    text = request.query.get(name)
    try:
        found = usual if text is None else float(text)
    except ValueError:
        raise Fault(f"{name}={text}: not a number", "usage") from None
    if not 0 <= found <= 60:
        raise Fault(f"{name}={text}: give 0-60 seconds", "usage")
    return found


@routes.get("/v1/ports/{sandbox}/{ifname}/capture")
async def capture(request: web.Request) -> web.StreamResponse:
    """The frames of a port as a pcap file, in pieces (`data`, base64); at the end what was captured (`captured`)."""
    node, info = node_of(request), request.match_info
    port = port_of(node, info["sandbox"], info["ifname"])
    words = [request.query["direction"]] if "direction" in request.query else list(Direction)
    if not set(words) <= set(Direction):
        raise Fault(f"direction {words[0]!r}: give {' or '.join(Direction)}", "usage")
    limits = Limits(
        octets=_within(request, "octets", 64 << 20, 1 << 30),
        packets=_within(request, "count", 1_000_000, 1 << 40),
        seconds=float(_within(request, "seconds", 60, int(SECONDS_MOST))),
        snap=_within(request, "snap", SNAP_MOST, SNAP_MOST),
    )
    return await stream(request, _captured(node, port, limits, tuple(Direction(word) for word in words)))


def _within(request: web.Request, name: str, usual: int, most: int) -> int:
    found = number(request, name)
    if found is not None and not 1 <= found <= most:
        raise Fault(f"{name}={found}: give 1-{most}", "usage")
    return usual if found is None else found


async def _captured(
    node: Node, port: Port, limits: Limits, directions: tuple[Direction, ...]
) -> AsyncGenerator[object, None]:
    """The capture on a thread of its own, which ends with whoever reads."""
    end, stop = host_end(node.net.fabric, node.net.site, port), threading.Event()
    reader, writer = os.pipe()

    def run() -> pcap.Captured:
        with os.fdopen(writer, "wb", buffering=0) as file:
            return pcap.capture(
                end.ifname,
                file,
                space=Path(end.space) if end.space else None,
                limits=limits,
                directions=directions,
                stop=stop,
            )

    loop, blocks, pool = asyncio.get_running_loop(), asyncio.StreamReader(), ThreadPoolExecutor(1, "capture")
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(blocks), os.fdopen(reader, "rb", 0))
    work = loop.run_in_executor(pool, run)
    try:
        while block := await blocks.read(BLOCK):
            yield {"data": base64.b64encode(block).decode()}
        done = await work
    finally:
        stop.set()
        pipe.close()  # who waits to write wakes up
        await asyncio.gather(work, return_exceptions=True)
        pool.shutdown(wait=False)
    yield {"captured": {"packets": done.packets, "bytes": done.octets, "lost": done.lost, "reason": done.reason}}
