"""HTTP/2 by hand: what clients may do that gRPC's own libraries do not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import frames, limits
from hawser.store.etcd.server.frames import PREFACE, frame
from hawser.store.etcd.server.hpack import Decoder, encode
from tests.wait import auntil

from .servers import our_server

PUT_HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", services.PUT.path),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


def message(request: Any) -> bytes:
    data: bytes = request.SerializeToString()
    return b"\0" + len(data).to_bytes(4) + data


class Raw:
    """One connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = Decoder()

    def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))

    def call(self, stream: int, request: Any, fields: Any = PUT_HEADERS) -> None:
        self.send(
            frame(frames.HEADERS, frames.END_HEADERS, stream, encode(fields)),
            frame(frames.DATA, frames.END_STREAM, stream, message(request)),
        )

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

    async def farewell(self) -> int:
        """The code with which the connection ends."""
        _, _, _, payload = await self.next(frames.GOAWAY)
        async with asyncio.timeout(5):
            while await self._reader.read(1 << 16):
                pass
        return int.from_bytes(payload[4:8])


@pytest.fixture
async def raw(engine: MemoryEngine) -> AsyncIterator[Raw]:
    async with our_server(engine) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        opened = Raw(reader, writer)
        opened.send(PREFACE, frame(frames.SETTINGS, 0, 0))
        yield opened
        writer.close()


async def test_a_call_by_hand(raw: Raw, engine: MemoryEngine) -> None:
    raw.call(1, pb.PutRequest(key=b"a"))
    _, _, _, payload = await raw.next(frames.DATA)
    assert pb.PutResponse.FromString(payload[5:]).header.revision == 2
    assert await raw.answer() == (1, "0")


async def test_everything_in_pieces_of_one_byte(raw: Raw) -> None:
    block = encode(PUT_HEADERS)
    body = message(pb.PutRequest(key=b"a"))
    data = frame(frames.HEADERS, frames.PADDED | frames.PRIORITIZED, 1, b"\x02" + bytes(5) + block[:10] + b"\0\0")
    data += frame(frames.CONTINUATION, 0, 1, block[10:20]) + frame(
        frames.CONTINUATION, frames.END_HEADERS, 1, block[20:]
    )
    for byte in body:
        data += frame(frames.DATA, frames.PADDED, 1, b"\x01" + bytes((byte,)) + b"\0")
    data += frame(frames.DATA, frames.END_STREAM, 1)
    for byte in data:
        raw.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await raw.answer() == (1, "0")


async def test_a_ping_is_answered_and_what_is_unknown_ignored(raw: Raw) -> None:
    raw.send(frame(0xBE, 0xEF, 0, b"?"), frame(frames.PRIORITY, 0, 1, bytes(5)), frame(frames.PING, 0, 0, b"12345678"))
    assert await raw.next(frames.PING) == (frames.PING, frames.ACK, 0, b"12345678")


async def test_no_more_is_sent_than_the_windows_allow(raw: Raw, engine: MemoryEngine) -> None:
    await engine.put(b"big", bytes(200_000))
    fields = dict(PUT_HEADERS) | {":path": services.RANGE.path}
    raw.send(frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + (1000).to_bytes(4)))
    raw.call(1, pb.RangeRequest(key=b"big"), fields.items())
    taken = 0
    while taken < 1000:
        taken += len((await raw.next(frames.DATA))[3])
    assert taken == 1000
    raw.send(frame(frames.PING, 0, 0, bytes(8)))
    assert (await raw.next(frames.DATA, frames.PING))[0] == frames.PING
    raw.send(frame(frames.WINDOW_UPDATE, 0, 1, (1 << 20).to_bytes(4)))
    while taken < frames.DEFAULT_WINDOW:
        _, _, _, payload = await raw.next(frames.DATA)
        assert len(payload) <= frames.MAX_FRAME
        taken += len(payload)
    raw.send(frame(frames.WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4)))
    while taken < 200_000:
        taken += len((await raw.next(frames.DATA))[3])
    assert await raw.answer() == (1, "0")


async def test_a_call_that_was_given_up_is_forgotten(raw: Raw, engine: MemoryEngine) -> None:
    watch = dict(PUT_HEADERS) | {":path": services.WATCH.path}
    raw.send(
        frame(frames.HEADERS, frames.END_HEADERS, 1, encode(watch.items())),
        frame(frames.DATA, 0, 1, message(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))),
    )
    await raw.next(frames.DATA)
    raw.send(frame(frames.RST_STREAM, 0, 1, (8).to_bytes(4)))
    raw.call(3, pb.PutRequest(key=b"a"))
    assert await raw.answer() == (3, "0")
    raw.send(frame(frames.DATA, 0, 1, b"late"))
    raw.call(5, pb.PutRequest(key=b"a"))
    assert await raw.answer() == (5, "0")


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({}, b"\x01\0\0\0\x01x", "12"),  # compressed
        ({}, b"\0\x7f\0\0\0", "8"),  # larger than anything allowed
        ({}, b"\0\0\0\0\x01\xff", "13"),  # no message
        ({}, b"", "13"),
        ({}, b"\0\0\0\0\0\0\0\0\0\0", "13"),  # two
        ({":path": "/nope"}, b"\0\0\0\0\0", "12"),
        ({"content-type": "text/html"}, b"", None),
    ],
)
async def test_a_call_that_makes_no_sense_fails_alone(
    raw: Raw, fields: dict[str, str], body: bytes, status: str | None
) -> None:
    asked = dict(PUT_HEADERS) | fields
    raw.send(
        frame(frames.HEADERS, frames.END_HEADERS, 1, encode(asked.items())),
        frame(frames.DATA, frames.END_STREAM, 1, body),
    )
    assert await raw.answer() == (1, status)
    raw.call(3, pb.PutRequest(key=b"a"))
    assert await raw.answer() == (3, "0")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (frame(frames.HEADERS, frames.END_HEADERS, 2, encode(PUT_HEADERS)), frames.PROTOCOL),
        (frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), frames.COMPRESSION),
        (frame(frames.HEADERS, 0, 1, b"") + frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL),
        (frame(frames.CONTINUATION, 0, 1, b""), frames.PROTOCOL),
        (frame(frames.DATA, 0, 9, b""), frames.PROTOCOL),
        (frame(frames.PUSH_PROMISE, 0, 1, b""), frames.PROTOCOL),
        (frame(frames.PING, 0, 0, b"short"), frames.FRAME_SIZE),
        (frame(frames.SETTINGS, 0, 0, b"short"), frames.FRAME_SIZE),
        (frame(frames.WINDOW_UPDATE, 0, 0, b""), frames.FRAME_SIZE),
        (frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), frames.FLOW_CONTROL),
        (b"\xff\xff\xff" + bytes(6), frames.FRAME_SIZE),
    ],
)
async def test_who_breaks_the_rules_is_told_and_let_go(raw: Raw, broken: bytes, code: int) -> None:
    raw.send(broken)
    assert await raw.farewell() == code


async def test_endless_headers_end_the_connection(raw: Raw) -> None:
    raw.send(frame(frames.HEADERS, 0, 1, b""))
    for _ in range(6):
        raw.send(frame(frames.CONTINUATION, 0, 1, bytes(16_000)))
    assert await raw.farewell() == frames.CALM


async def test_who_sends_more_than_the_window_is_let_go(raw: Raw) -> None:
    """Watches are asked for, and the answers not read: what is asked waits, as much as the window allows."""
    fields = dict(PUT_HEADERS) | {":path": services.WATCH.path}
    raw.send(frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + bytes(4)))
    raw.send(frame(frames.HEADERS, frames.END_HEADERS, 1, encode(fields.items())))
    asked = message(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=bytes(10_000))))
    for _ in range(limits.STREAM_WINDOW // len(asked) + 2):
        raw.send(frame(frames.DATA, 0, 1, asked))
    assert await raw.farewell() == frames.FLOW_CONTROL


async def test_who_never_reads_does_not_hold_up_the_servers_end(engine: MemoryEngine) -> None:
    await engine.put(b"big", bytes(1 << 20))
    fields = dict(PUT_HEADERS) | {":path": services.RANGE.path}
    loop = asyncio.get_running_loop()
    async with our_server(engine) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        opened = Raw(reader, writer)
        most = (frames.LARGEST_WINDOW - frames.DEFAULT_WINDOW).to_bytes(4)
        opened.send(PREFACE, frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + frames.LARGEST_WINDOW.to_bytes(4)))
        opened.send(frame(frames.WINDOW_UPDATE, 0, 0, most))
        for number in range(1, 41, 2):
            opened.call(number, pb.RangeRequest(key=b"big"), fields.items())
        await auntil(lambda: engine.revision == 2 and not writer.transport.get_write_buffer_size())
        began = loop.time()
    assert loop.time() - began < 3
    writer.close()
