"""Clients of an etcd server, whosever it is: `python -m bench.load ADDRESS CLIENTS SECONDS` prints what they measured.

Every client waits for its answer before it asks again; all share one connection. `rate` is in puts a second, `p50` and
`p99` in milliseconds.
"""

import asyncio
import json
import statistics
import sys
import time

import grpc.aio
import uvloop

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.services import PUT

VALUE = bytes(256)
WARM = 0.5


async def load(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Puts of 256 bytes over 100 keys a client."""
    delays = list[float]()
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10)
        put = channel.unary_unary(
            PUT.path, request_serializer=PUT.request.SerializeToString, response_deserializer=PUT.response.FromString
        )
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
    cuts = statistics.quantiles(delays, n=100)
    return {"rate": len(delays) / seconds, "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
