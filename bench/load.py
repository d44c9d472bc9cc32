"""Clients of an etcd server, whosever it is, and what they measured, as JSON.

`python -m bench.load put ADDRESS CLIENTS SECONDS`: every client waits for its answer before it asks again; all share
one connection. `python -m bench.load watch ADDRESS WATCHERS PUTS`: one stream with so many watches of one prefix; from
a put's call until a watch's event is here, PACE puts a second. `rate` is in puts a second, `p50` and `p99` in
milliseconds.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import uvloop

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.services import PUT, WATCH

VALUE = bytes(256)
WARM, PACE = 0.5, 100


async def load(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Puts of 256 bytes over 100 keys a client."""
    delays = list[float]()
    async with grpc.aio.insecure_channel(address) as channel:
        put = await _put(channel)
        began = time.perf_counter() + WARM
        ends = began + seconds

        async def client(number: int) -> None:
            turn = 0
            while (start := time.perf_counter()) < ends:
                await put(pb.PutRequest(key=b"bench/%d/%d" % (number, turn % 100), value=VALUE))
                turn += 1
                if start >= began:
                    delays.append(time.perf_counter() - start)

        await asyncio.gather(*(client(number) for number in range(clients)))
    return _figures(delays) | {"rate": len(delays) / seconds}


async def watch(address: str, watchers: int, puts: int) -> dict[str, float]:
    """Every watch is told every event."""
    delays, began = list[float](), 0.0
    async with grpc.aio.insecure_channel(address) as channel:
        put = await _put(channel)
        stream = channel.stream_stream(
            WATCH.path,
            request_serializer=WATCH.request.SerializeToString,
            response_deserializer=WATCH.response.FromString,
        )()
        create = pb.WatchCreateRequest(key=b"fan/", range_end=b"fan0")
        for _ in range(watchers):
            await stream.write(pb.WatchRequest(create_request=create))
        for _ in range(watchers):
            assert (await _read(stream)).created
        for turn in range(puts):
            began = time.perf_counter()
            await put(pb.PutRequest(key=b"fan/%d" % (turn % 100), value=VALUE))
            for _ in range(watchers):
                assert (await _read(stream)).events
                delays.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, 1 / PACE - (time.perf_counter() - began)))
        stream.cancel()
    return _figures(delays)


async def _put(channel: grpc.aio.Channel) -> Callable[[pb.PutRequest], Awaitable[pb.PutResponse]]:
    await asyncio.wait_for(channel.channel_ready(), 10)
    return channel.unary_unary(
        PUT.path, request_serializer=PUT.request.SerializeToString, response_deserializer=PUT.response.FromString
    )


async def _read(stream: grpc.aio.StreamStreamCall[Any, Any]) -> pb.WatchResponse:
    response = await stream.read()
    assert isinstance(response, pb.WatchResponse)
    return response


def _figures(delays: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(delays, n=100)
    return {"p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3}


if __name__ == "__main__":
    what, address, count, extent = sys.argv[1:]
    wanted = load(address, int(count), float(extent)) if what == "put" else watch(address, int(count), int(extent))
    print(json.dumps(uvloop.run(wanted)))
