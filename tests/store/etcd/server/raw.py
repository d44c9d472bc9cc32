"""HTTP/2 by hand, and a server that is attacked with it: whatever is done, it must go on as before."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Limits, Served, Settings, frames, serving
from hawser.store.etcd.server.frames import PREFACE, frame
from hawser.store.etcd.server.hpack import Decoder, Field, encode
from hawser.store.etcd.services import Call
from tests.wait import auntil

PUT_HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", services.PUT.path),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
QUICK = 0.5
"""Seconds in which a call is answered even on a busy machine."""


def headers(call: Call[Any, Any], *more: Field) -> tuple[Field, ...]:
    """Of a call."""
    return (*(dict(PUT_HEADERS) | {":path": call.path}).items(), *more)


def message(request: Any) -> bytes:
    data: bytes = request.SerializeToString()
    return b"\0" + len(data).to_bytes(4) + data


def opening(stream: int, fields: Iterable[Field] = PUT_HEADERS, *, ends: bool = False) -> bytes:
    """A HEADERS frame."""
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if ends else 0), stream, encode(fields))


def setting(number: int, value: int) -> bytes:
    """A SETTINGS frame of one."""
    return frame(frames.SETTINGS, 0, 0, number.to_bytes(2) + value.to_bytes(4))


def window(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(frames.WINDOW_UPDATE, 0, stream, more.to_bytes(4))


class Raw:
    """One connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._decoder = Decoder()

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def flood(self, data: bytes) -> None:
        """Send as long as somebody takes it."""
        with contextlib.suppress(OSError):
            self.send(data)
            await self.writer.drain()

    def call(self, stream: int, request: Any, fields: Any = PUT_HEADERS) -> None:
        self.send(opening(stream, fields), frame(frames.DATA, frames.END_STREAM, stream, message(request)))

    async def next(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """The next frame of these kinds: kind, flags, stream, payload."""
        async with asyncio.timeout(5):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                if not kinds or kind in kinds:
                    return kind, flags, stream, payload

    async def answer(self) -> tuple[int, str | None]:
        """The stream and status of the next call that ends."""
        while True:
            _, flags, stream, payload = await self.next(frames.HEADERS)
            fields = dict(self._decoder.decode(payload))
            if flags & frames.END_STREAM:
                return stream, fields.get("grpc-status")

    async def reset(self) -> tuple[int, int]:
        """The next stream that is reset, and the code."""
        _, _, stream, payload = await self.next(frames.RST_STREAM)
        return stream, int.from_bytes(payload)

    async def farewell(self) -> int:
        """The code with which the connection ends."""
        _, _, _, payload = await self.next(frames.GOAWAY)
        await self.gone()
        return int.from_bytes(payload[4:8])

    async def gone(self) -> None:
        """The server hung up."""
        async with asyncio.timeout(5):
            with contextlib.suppress(OSError):
                while await self._reader.read(1 << 16):
                    pass


@contextlib.asynccontextmanager
async def raw_client(address: str, *, greets: bool = True, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A connection that has said what it speaks, or nothing yet."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, limit=1 << 16)
    opened = Raw(reader, writer)
    if greets:
        opened.send(PREFACE, frame(frames.SETTINGS, 0, 0))
    try:
        yield opened
    finally:
        writer.transport.abort()


class Siege:
    """A server under attack."""

    def __init__(self, served: Served, engine: MemoryEngine) -> None:
        self.served, self.engine = served, engine
        self.crowd, self.address = served.crowd, served.addresses[0]

    def client(self, *, greets: bool = True) -> contextlib.AbstractAsyncContextManager[Raw]:
        return raw_client(self.address, greets=greets)

    async def goes_on(self) -> None:
        """Somebody else is answered as if nothing were."""
        async with self.client() as other, asyncio.timeout(QUICK):
            for stream in (1, 3, 5):
                other.call(stream, pb.PutRequest(key=b"normal"))
                assert await other.answer() == (stream, "0")


@contextlib.asynccontextmanager
async def besieged(
    engine: MemoryEngine, limits: Limits | None = None, settings: Settings | None = None
) -> AsyncIterator[Siege]:
    """Afterwards the server goes on, and nothing is left of the attackers: no connection, byte, watch, task or file."""
    loop = asyncio.get_running_loop()
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    async with serving(engine, ["127.0.0.1:0"], limits=limits, settings=settings, grace=0.2) as served:
        siege = Siege(served, engine)
        yield siege
        await auntil(lambda: len(served.crowd) == 0, what="all attackers are gone")
        assert served.crowd.held == 0
        assert not engine.feed._watchers
        await siege.goes_on()
        began = loop.time()
    assert loop.time() - began < 2, "the server ended in time"
    await auntil(lambda: len(asyncio.all_tasks()) <= tasks, what="no task is left")
    await auntil(lambda: len(os.listdir("/proc/self/fd")) <= files, what="no file is left open")
