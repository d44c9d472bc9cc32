"""Clients that send very much of very little: each known flood of HTTP/2, of connections, and of headers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Limits, frames, limits
from hawser.store.etcd.server.frames import ACK, END_HEADERS, frame
from hawser.store.etcd.server.hpack import encode

from .raw import PUT_HEADERS, Raw, Siege, besieged, headers, message, opening, setting, window


@pytest.fixture
async def siege(engine: MemoryEngine) -> AsyncIterator[Siege]:
    async with besieged(engine) as begun:
        yield begun


WATCH = opening(1, headers(services.WATCH))
FLOODS = {
    "pings (CVE-2019-9512)": (b"", frame(frames.PING, 0, 0, bytes(8))),
    "answers to no ping": (b"", frame(frames.PING, ACK, 0, bytes(8))),
    "settings (CVE-2019-9515)": (b"", setting(4, 1 << 16)),
    "settings that move many windows": (
        b"".join(opening(number, headers(services.WATCH)) for number in range(1, 2001, 2)),
        setting(4, 1 << 16) + setting(4, 1 << 15),
    ),
    "empty data (CVE-2019-9518)": (WATCH, frame(frames.DATA, 0, 1)),
    "empty data in padding": (WATCH, frame(frames.DATA, frames.PADDED, 1, b"\x05" + bytes(5))),
    "priorities (CVE-2019-9513)": (WATCH, frame(frames.PRIORITY, 0, 1, bytes(5))),
    "windows of a byte (CVE-2019-9511)": (WATCH, window(1, 1)),
    "windows of a byte, of all": (b"", window(0, 1)),
    "data of a call that is over": (opening(5), frame(frames.DATA, 0, 1, b"x")),
    "unknown frames": (b"", frame(0xBE, 0, 0)),
    "resets of calls that are over": (opening(5), frame(frames.RST_STREAM, 0, 1, bytes(4))),
    "streams reset by the server (CVE-2019-9514)": (opening(5) + opening(7), window(5, 0)),
}


@pytest.mark.parametrize(("first", "again"), FLOODS.values(), ids=FLOODS)
async def test_frames_that_ask_for_nothing(siege: Siege, first: bytes, again: bytes) -> None:
    async with siege.client() as raw:
        await raw.flood(first + again * (limits.BURST + 10 * limits.PER_SECOND))
        assert await raw.farewell() == frames.CALM
        await siege.goes_on()


async def test_calls_given_up_at_once(siege: Siege) -> None:
    """Rapid reset (CVE-2023-44487): there is never more than one call at a time."""
    async with siege.client() as raw:
        for stream in range(1, 5 * limits.BURST // limits.RESET, 2):
            raw.send(opening(stream), frame(frames.RST_STREAM, 0, stream, (8).to_bytes(4)))
        assert await raw.farewell() == frames.CALM
        await siege.goes_on()


async def test_calls_that_are_malformed_each(siege: Siege) -> None:
    async with siege.client() as raw:
        for stream in range(1, 5 * limits.BURST // limits.RESET, 2):
            raw.send(opening(stream, ((":path", "/"),)))
        assert await raw.farewell() == frames.CALM


async def test_who_gives_up_what_was_answered_may_go_on(siege: Siege) -> None:
    """Thousands of watches, each ended once it began."""
    created = message(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    async with siege.client() as raw:
        raw.send(window(0, 1 << 24))
        for stream in range(1, 2 * limits.BURST // limits.RESET, 2):
            raw.send(opening(stream, headers(services.WATCH)), frame(frames.DATA, 0, stream, created))
            if stream % 100 == 1:
                while (await raw.next(frames.DATA))[2] != stream:
                    pass
                raw.send(
                    *(frame(frames.RST_STREAM, 0, each, bytes(4)) for each in range(max(1, stream - 98), stream, 2))
                )
        raw.call(99_999, pb.PutRequest(key=b"b"))
        while (await raw.answer())[0] != 99_999:
            pass


@pytest.mark.parametrize("piece", [b"", b"x", bytes(16_000)])
async def test_headers_without_end(siege: Siege, piece: bytes) -> None:
    """CVE-2024-27316, in pieces of any size, none among them."""
    async with siege.client() as raw:
        raw.send(frame(frames.HEADERS, 0, 1))
        await raw.flood(
            frame(frames.CONTINUATION, 0, 1, piece) * (limits.MAX_HEADERS // (frames.HEADER_BYTES + len(piece)) + 1)
        )
        assert await raw.farewell() == frames.CALM


async def test_few_bytes_that_mean_very_many(siege: Siege) -> None:
    """HPACK bomb: an entry of 4,000 bytes, and a byte for each time it is meant."""
    big = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    async with siege.client() as raw:
        raw.send(frame(frames.HEADERS, END_HEADERS, 1, encode(PUT_HEADERS) + big))
        raw.send(frame(frames.HEADERS, END_HEADERS, 3, b"\xbe" * 10_000))
        assert await raw.farewell() == frames.CALM


async def test_more_calls_than_a_connection_may_have(siege: Siege) -> None:
    async with siege.client() as raw:
        for stream in range(1, 2 * limits.MAX_STREAMS + 1, 2):
            raw.send(opening(stream))
        raw.send(opening(2 * limits.MAX_STREAMS + 1))
        assert await raw.reset() == (2 * limits.MAX_STREAMS + 1, frames.REFUSED)
        await siege.goes_on()


async def test_calls_that_never_say_all_take_no_more_memory_than_there_is(engine: MemoryEngine) -> None:
    """Each connection sends half of a request on many streams; who has most of it goes, and not who has little."""
    half = b"\0\x00\x10\x00\x00" + bytes(16_000)
    async with besieged(engine, Limits(memory=16 << 20)) as siege, contextlib.AsyncExitStack() as stack:
        modest = await stack.enter_async_context(siege.client())
        modest.send(opening(1), frame(frames.DATA, 0, 1, half[:100]))
        attackers = [await stack.enter_async_context(siege.client()) for _ in range(4)]
        for raw in attackers:
            await raw.flood(b"".join(opening(n) + frame(frames.DATA, 0, n, half) for n in range(1, 1001, 2)))
        await attackers[0].gone()
        assert siege.crowd.held <= 16 << 20
        modest.call(3, pb.PutRequest(key=b"a"))
        assert await modest.answer() == (3, "0")


async def test_a_connection_sends_no_more_than_is_taken(siege: Siege) -> None:
    """Of all streams together: the window of the connection."""
    half = b"\0\x00\x1f\x00\x00" + bytes(16_000)
    async with siege.client() as raw:
        for stream in range(1, 2 * limits.WINDOW // len(half) + 8, 2):
            raw.send(opening(stream), frame(frames.DATA, 0, stream, half))
            if stream % 256 == 1:
                await raw.writer.drain()
        assert await raw.farewell() == frames.FLOW_CONTROL


async def test_thousands_of_connections(engine: MemoryEngine) -> None:
    """As many as are allowed; the next is not answered, until one is gone."""
    async with besieged(engine, Limits(connections=300, greeting=60)) as siege, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(siege.client(greets=bool(n % 2))) for n in range(300)]
        last = clients[-1]
        last.call(1, pb.PutRequest(key=b"a"))
        assert await last.answer() == (1, "0")
        async with siege.client() as refused:
            await refused.gone()
        clients[0].writer.transport.abort()
        async with asyncio.timeout(5):
            while not await admitted(siege):
                pass


async def admitted(siege: Siege) -> bool:
    async with siege.client() as raw:
        raw.call(1, pb.PutRequest(key=b"a"))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            return await raw.answer() == (1, "0")
    return False


async def test_a_client_that_is_only_busy_is_no_flood(siege: Siege) -> None:
    """A ping and small windows with each call, as grpc's own libraries have them."""

    async def turn(raw: Raw, stream: int) -> None:
        raw.send(frame(frames.PING, 0, 0, bytes(8)), window(0, 5), frame(frames.PING, ACK, 0, bytes(8)))
        raw.call(stream, pb.RangeRequest(key=b"a"), headers(services.RANGE))

    async with siege.client() as raw:
        raw.send(window(0, 1 << 24))
        for first in range(1, 16_001, 400):
            for stream in range(first, first + 400, 2):
                await turn(raw, stream)
            for _ in range(200):
                assert (await raw.answer())[1] == "0"
