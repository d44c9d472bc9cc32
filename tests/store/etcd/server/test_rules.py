"""Every rule of HTTP/2 (RFC 9113) that a client of a gRPC server can break, and what it is told."""

from collections.abc import AsyncIterator

import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import frames
from hawser.store.etcd.server.frames import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITIZED, frame
from hawser.store.etcd.server.hpack import Field, encode

from .raw import PUT_HEADERS, Raw, Siege, besieged, headers, message, opening, setting, window

FOUR = bytes(4)
EIGHT = bytes(8)
BLOCK = encode(PUT_HEADERS)
SETTINGS = frame(frames.SETTINGS, 0, 0)
WATCH = opening(1, headers(services.WATCH))
PUT = opening(1) + frame(frames.DATA, END_STREAM, 1, message(pb.PutRequest(key=b"a")))


@pytest.fixture
async def siege(engine: MemoryEngine) -> AsyncIterator[Siege]:
    async with besieged(engine) as begun:
        yield begun


FATAL = {
    "4.1 a frame larger than was allowed": (b"\x00\x40\x01" + bytes(6), frames.FRAME_SIZE),
    "6.1 data of no stream": (frame(frames.DATA, 0, 0, b"x"), frames.PROTOCOL),
    "5.1 data before headers": (frame(frames.DATA, 0, 9, b"x"), frames.PROTOCOL),
    "5.1 data on a stream of ours": (opening(5) + frame(frames.DATA, 0, 2, b"x"), frames.PROTOCOL),
    "6.1 more padding than data": (opening(1) + frame(frames.DATA, PADDED, 1, b"\x05xx"), frames.PROTOCOL),
    "6.1 no room for the padding's length": (opening(1) + frame(frames.DATA, PADDED, 1), frames.FRAME_SIZE),
    "6.2 headers of no stream": (frame(frames.HEADERS, END_HEADERS, 0, BLOCK), frames.PROTOCOL),
    "6.2 headers with too much padding": (frame(frames.HEADERS, END_HEADERS | PADDED, 1, b"\xff" + BLOCK), 1),
    "6.2 headers without room for the priority": (frame(frames.HEADERS, END_HEADERS | PRIORITIZED, 1, FOUR), 6),
    "5.1.1 a stream of ours": (opening(2), frames.PROTOCOL),
    "5.1 a stream that was left out is closed, not new": (opening(5) + PUT + opening(4), frames.PROTOCOL),
    "6.3 priority of no stream": (frame(frames.PRIORITY, 0, 0, bytes(5)), frames.PROTOCOL),
    "6.3 priority of a wrong size": (frame(frames.PRIORITY, 0, 1, FOUR), frames.FRAME_SIZE),
    "6.4 reset of no stream": (frame(frames.RST_STREAM, 0, 0, FOUR), frames.PROTOCOL),
    "6.4 reset before headers": (frame(frames.RST_STREAM, 0, 7, FOUR), frames.PROTOCOL),
    "6.4 reset of a wrong size": (opening(1) + frame(frames.RST_STREAM, 0, 1, b"x"), frames.FRAME_SIZE),
    "6.5 settings of a stream": (frame(frames.SETTINGS, 0, 1), frames.PROTOCOL),
    "6.5 settings of a wrong size": (frame(frames.SETTINGS, 0, 0, b"short"), frames.FRAME_SIZE),
    "6.5 an acknowledgement that says something": (frame(frames.SETTINGS, ACK, 0, bytes(6)), frames.FRAME_SIZE),
    "6.5.2 push neither on nor off": (setting(2, 2), frames.PROTOCOL),
    "6.5.2 too large an initial window": (setting(4, 1 << 31), frames.FLOW_CONTROL),
    "6.5.2 frames too small": (setting(5, 1), frames.PROTOCOL),
    "6.5.2 frames too large": (setting(5, 1 << 24), frames.PROTOCOL),
    "6.9.2 a stream's window beyond all": (WATCH + window(1, 1 << 30) + setting(4, 1 << 30) + setting(4, 3 << 29), 3),
    "6.6 a client that pushes": (frame(frames.PUSH_PROMISE, END_HEADERS, 1, FOUR), frames.PROTOCOL),
    "6.7 a ping of a stream": (frame(frames.PING, 0, 1, EIGHT), frames.PROTOCOL),
    "6.7 a ping of a wrong size": (frame(frames.PING, 0, 0, b"short"), frames.FRAME_SIZE),
    "6.8 a farewell of a stream": (frame(frames.GOAWAY, 0, 1, EIGHT), frames.PROTOCOL),
    "6.9 a window update of a wrong size": (frame(frames.WINDOW_UPDATE, 0, 0, b""), frames.FRAME_SIZE),
    "6.9 a window update of nothing": (window(0, 0), frames.PROTOCOL),
    "6.9 a window update before headers": (window(7, 1), frames.PROTOCOL),
    "6.9.1 too large a window": (window(0, 0x7FFFFFFF), frames.FLOW_CONTROL),
    "6.10 the rest of no headers": (frame(frames.CONTINUATION, 0, 1, b""), frames.PROTOCOL),
    "6.10 something between headers": (frame(frames.HEADERS, 0, 1) + frame(frames.PING, 0, 0, EIGHT), 1),
    "6.10 another stream between headers": (frame(frames.HEADERS, 0, 1) + frame(frames.CONTINUATION, 4, 3), 1),
    "6.10 an unknown frame between headers": (frame(frames.HEADERS, 0, 1) + frame(0xBE, 0, 1), 1),
    "4.3 headers that cannot be decoded": (frame(frames.HEADERS, END_HEADERS, 1, b"\xff" * 7), frames.COMPRESSION),
    "4.3 even of a call that is over": (PUT + frame(frames.HEADERS, 5, 1, b"\xff" * 7), frames.COMPRESSION),
    "4.3 a table that changes within headers": (frame(frames.HEADERS, 5, 1, BLOCK + b"\x20"), frames.COMPRESSION),
}


@pytest.mark.parametrize(("broken", "code"), FATAL.values(), ids=FATAL)
async def test_the_connection_ends(siege: Siege, broken: bytes, code: int) -> None:
    async with siege.client() as raw:
        raw.send(broken)
        assert await raw.farewell() == code


@pytest.mark.parametrize(
    "first",
    [
        PREFACE[:20] + b"XX\r\n" + SETTINGS,
        PREFACE + frame(frames.PING, 0, 0, EIGHT),
        PREFACE + frame(frames.SETTINGS, ACK, 0),
        PREFACE + opening(1),
    ],
)
async def test_who_begins_wrong_is_let_go(siege: Siege, first: bytes) -> None:
    """3.4: the preface, then settings."""
    async with siege.client(greets=False) as raw:
        raw.send(first)
        assert await raw.farewell() == frames.PROTOCOL


def without(name: str) -> tuple[Field, ...]:
    return tuple(field for field in PUT_HEADERS if field[0] != name)


MALFORMED: dict[str, tuple[Field, ...]] = {
    "8.2.1 capitals": (*PUT_HEADERS, ("Token", "x")),
    "8.2.1 a space in a name": (*PUT_HEADERS, ("a b", "x")),
    "8.2.1 no name": (*PUT_HEADERS, ("", "x")),
    "8.2.1 a line's end in a value": (*PUT_HEADERS, ("a", "x\r\nb: y")),
    "8.2.1 a null in a value": (*PUT_HEADERS, ("a", "x\0")),
    "8.2.1 space around a value": (*PUT_HEADERS, ("a", " x")),
    "8.2.2 of a connection": (*PUT_HEADERS, ("connection", "close")),
    "8.2.2 an encoding of HTTP/1": (*PUT_HEADERS, ("transfer-encoding", "chunked")),
    "8.2.2 te": (*without("te"), ("te", "gzip")),
    "8.3 not first": (*without(":path"), (":path", services.PUT.path)),
    "8.3 twice": ((":path", "/x"), *PUT_HEADERS),
    "8.3 unknown": ((":nobody", "x"), *PUT_HEADERS),
    "8.3 a response's": ((":status", "200"), *PUT_HEADERS),
    "8.3.1 no method": without(":method"),
    "8.3.1 no scheme": without(":scheme"),
    "8.3.1 no path": without(":path"),
    "8.3.1 an empty path": ((":path", ""), *without(":path")),
    "8.1.1 a length that is none": (*PUT_HEADERS, ("content-length", "-1")),
    "8.1.1 two lengths": (*PUT_HEADERS, ("content-length", "8"), ("content-length", "9")),
}


async def fails_alone(raw: Raw, stream: int, code: int) -> None:
    """The stream is reset; the connection is as good as before."""
    assert await raw.reset() == (stream, code)
    raw.call(101, pb.PutRequest(key=b"a"))
    assert await raw.answer() == (101, "0")


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_headers_end_their_call(siege: Siege, fields: tuple[Field, ...]) -> None:
    async with siege.client() as raw:
        raw.send(opening(1, fields))
        await fails_alone(raw, 1, frames.PROTOCOL)


OF_STREAMS = {
    "5.1 data after the end": (opening(1, headers(services.WATCH), ends=True) + frame(frames.DATA, 0, 1, b"x"), 5),
    "5.1 headers after the end": (opening(1, headers(services.WATCH), ends=True) + opening(1, ends=True), 5),
    "8.1 headers again": (WATCH + opening(1), frames.PROTOCOL),
    "8.1 trailers that begin a call": (WATCH + opening(1, ends=True), frames.PROTOCOL),
    "8.1 trailers that do not end it": (WATCH + frame(frames.HEADERS, END_HEADERS, 1, encode((("a", "b"),))), 1),
    "6.9 a window update of nothing": (WATCH + window(1, 0), frames.PROTOCOL),
    "6.9.1 too large a window": (WATCH + window(1, 0x7FFFFFFF), frames.FLOW_CONTROL),
    "8.1.1 more than the length says": (
        opening(1, (*PUT_HEADERS, ("content-length", "1"))) + frame(frames.DATA, END_STREAM, 1, b"xx"),
        frames.PROTOCOL,
    ),
    "8.1.1 less than the length says": (opening(1, (*PUT_HEADERS, ("content-length", "1")), ends=True), 1),
}


@pytest.mark.parametrize(("broken", "code"), OF_STREAMS.values(), ids=OF_STREAMS)
async def test_the_stream_ends(siege: Siege, broken: bytes, code: int) -> None:
    async with siege.client() as raw:
        raw.send(broken)
        await fails_alone(raw, 1, code)


async def test_what_comes_of_a_call_that_is_over_is_dropped(siege: Siege) -> None:
    """5.1: a client may not have heard yet."""
    async with siege.client() as raw:
        raw.send(PUT)
        assert await raw.answer() == (1, "0")
        raw.send(frame(frames.DATA, 0, 1, b"x" * 1000), window(1, 5), frame(frames.RST_STREAM, 0, 1, FOUR))
        raw.send(frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, encode((("a", "b"),))))
        raw.call(3, pb.PutRequest(key=b"a"))
        assert await raw.answer() == (3, "0")


async def test_trailers_end_a_call(siege: Siege) -> None:
    async with siege.client() as raw:
        raw.send(opening(1), frame(frames.DATA, 0, 1, message(pb.PutRequest(key=b"a"))))
        raw.send(frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, encode((("checksum", "x"),))))
        assert await raw.answer() == (1, "0")
