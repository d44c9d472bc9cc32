"""HTTP/2 by hand: what clients may do that gRPC's own libraries do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import frames, limits, serving
from hawser.store.etcd.server.frames import PREFACE, frame
from hawser.store.etcd.server.hpack import encode
from tests.wait import auntil

from .raw import PUT_HEADERS, Raw, besieged, message, raw_client
from .servers import our_server


@pytest.fixture
async def raw(engine: MemoryEngine) -> AsyncIterator[Raw]:
    async with our_server(engine) as address, raw_client(address) as opened:
        yield opened


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


async def test_what_settings_allow_comes_after_their_acknowledgement(raw: Raw, engine: MemoryEngine) -> None:
    """A client holds to its old limits until then (RFC 9113, 6.5.3)."""
    await engine.put(b"big", bytes(100_000))
    fields = dict(PUT_HEADERS) | {":path": services.RANGE.path}
    raw.send(frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + bytes(4)))
    raw.call(1, pb.RangeRequest(key=b"big"), fields.items())
    await raw.next(frames.HEADERS)
    larger = (5).to_bytes(2) + (1 << 15).to_bytes(4)
    raw.send(frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + (1 << 20).to_bytes(4) + larger))
    assert (await raw.next(frames.SETTINGS, frames.DATA))[:2] == (frames.SETTINGS, frames.ACK)
    assert len((await raw.next(frames.DATA))[3]) == 1 << 15


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


async def test_who_stops_says_so_and_answers_what_was_asked(engine: MemoryEngine) -> None:
    """GOAWAY, then no new calls; what is open ends as it would, or as the server stops."""
    fields = dict(PUT_HEADERS) | {":path": services.WATCH.path}
    async with our_server(engine) as address:
        opened = contextlib.AsyncExitStack()
        raw = await opened.enter_async_context(raw_client(address))
        raw.send(frame(frames.HEADERS, frames.END_HEADERS, 1, encode(fields.items())))
        raw.call(3, pb.PutRequest(key=b"a"))
        assert await raw.answer() == (3, "0")
    async with opened:
        assert await raw.answer() == (1, "14")
        _, _, _, payload = await raw.next(frames.GOAWAY)
        assert (int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])) == (3, frames.NO_ERROR)
        await raw.gone()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=30)), max_size=12)
)
async def test_whatever_comes_the_server_goes_on(said: list[tuple[int, int, int, bytes]]) -> None:
    engine = MemoryEngine()
    async with besieged(engine) as siege, siege.client() as raw:
        raw.send(frame(frames.HEADERS, frames.END_HEADERS, 1, encode(PUT_HEADERS)))
        raw.send(*(frame(*each) for each in said))
    await engine.close()


async def test_who_reads_late_hears_why_it_ends(engine: MemoryEngine) -> None:
    """All that was written before, then that the server stops: a status after which clients come back."""
    created = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
    fields = dict(PUT_HEADERS) | {":path": services.WATCH.path}
    stop = asyncio.Event()

    async def served(address: asyncio.Future[str]) -> None:
        async with serving(engine, ["127.0.0.1:0"], grace=5) as begun:
            address.set_result(begun.addresses[0])
            await stop.wait()

    address = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(served(address))
        async with raw_client(await address) as raw:
            raw.send(frame(frames.SETTINGS, 0, 0, (4).to_bytes(2) + bytes(4)))
            raw.send(frame(frames.HEADERS, frames.END_HEADERS, 1, encode(fields.items())))
            raw.send(frame(frames.DATA, 0, 1, message(created)))
            await raw.next(frames.HEADERS)
            stop.set()
            await raw.next(frames.GOAWAY)
            raw.send(frame(frames.WINDOW_UPDATE, 0, 1, (1000).to_bytes(4)))
            assert pb.WatchResponse.FromString((await raw.next(frames.DATA))[3][5:]).created
            assert await raw.answer() == (1, "14")
