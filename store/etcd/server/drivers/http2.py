"""HTTP/2 for a gRPC server (RFC 9113), on asyncio: one `Connection` a client, one `Stream` a call.

Made for many small calls at a time: whatever is answered in one turn of the loop is written at once, headers that every
response has are encoded beforehand, and those that every call repeats are decoded once (hpack.py). A client that does
not read stops its own calls: what flow control or the socket does not take waits with the call, and while the socket is
full nothing is read from it. What a client asks against the protocol ends its connection, with the reason.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Protocol, cast

from ..hpack import Decoder, Field, HpackError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, FLOW_CONTROL, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION, CALM = 0, 1, 3, 6, 7, 8, 9, 11
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = (1 << 31) - 1
STREAM_WINDOW, WINDOW = 4 << 20, 64 << 20
"""What a client may send of one call, and of all, before it is told that it was taken."""
MAX_FRAME, MAX_BLOCK, MAX_STREAMS = 1 << 14, 1 << 16, 1 << 17
BUFFER = 1 << 18
"""Bytes to write before a connection's calls wait."""
_HEAD = Struct(">HBBBI")
_FOUR = Struct(">I")
_SETTING = Struct(">HI")


class ProtocolError(Exception):
    """The client broke HTTP/2's rules."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, encoded."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


class Calls(Protocol):
    """What a connection hands its streams to."""

    def begin(self, stream: "Stream") -> None:
        """The headers are there."""
        ...

    def received(self, stream: "Stream") -> None:
        """More of the body is in `stream.body`, or all of it (`stream.heard`)."""
        ...

    def lost(self, stream: "Stream") -> None:
        """The client is not interested any more."""
        ...


class Stream:
    """One call: what came of its body, and what still has to go."""

    __slots__ = (
        "body",
        "connection",
        "fields",
        "heard",
        "held",
        "id",
        "inbox",
        "method",
        "open",
        "out",
        "owed",
        "started",
        "task",
        "trailers",
        "waiter",
        "wake",
        "window",
    )

    def __init__(self, connection: "Connection", stream: int, fields: tuple[Field, ...], window: int) -> None:
        self.connection, self.id, self.fields, self.window = connection, stream, fields, window
        self.body, self.out = bytearray(), bytearray()
        self.heard = self.started = False
        self.open = True
        self.trailers: bytes | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.held = self.owed = 0
        # for who answers it
        self.task: asyncio.Task[None] | None = None
        self.method: object = None
        self.inbox: deque[bytes] = deque()
        self.wake: asyncio.Future[None] | None = None

    def reply(self, head: bytes, data: bytes, trailers: bytes) -> None:
        """All of a response; the blocks are encoded headers."""
        connection, size = self.connection, len(data)
        if not self.open:
            return
        if size > connection.window or size > self.window or size > connection.max_frame:
            self.write(head, data)
            self.finish(trailers)
            return
        connection.window -= size
        stream = self.id
        connection.write(
            b"".join(
                (
                    _HEAD.pack(0, len(head), HEADERS, END_HEADERS, stream),
                    head,
                    _HEAD.pack(size >> 8, size & 0xFF, DATA, 0, stream),
                    data,
                    _HEAD.pack(0, len(trailers), HEADERS, END_HEADERS | END_STREAM, stream),
                    trailers,
                )
            )
        )
        connection.close_stream(self)

    def write(self, head: bytes, data: bytes) -> None:
        """Part of a response, and its headers when it is the first; wait with `drained` before the next."""
        if not self.open:
            return
        if not self.started:
            self.started = True
            self.connection.write(frame(HEADERS, END_HEADERS, self.id, head))
        self.out += data
        self.connection.advance(self)

    def finish(self, trailers: bytes) -> None:
        """The last headers, after all that was written."""
        if self.open:
            self.trailers = trailers
            self.connection.advance(self)

    async def drained(self) -> None:
        """Until the client, and the socket to it, have taken what was written."""
        while self.open and self.out:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if self.open and self.connection.full.is_set():
            await self.connection.room.wait()

    def consumed(self, size: int) -> None:
        """So many bytes of the body need no memory any more: the client may send as many again."""
        self.held -= size
        self.owed += size
        if self.owed > STREAM_WINDOW // 2 and self.open and not self.heard:
            self.connection.write(frame(WINDOW_UPDATE, 0, self.id, _FOUR.pack(self.owed)))
            self.owed = 0


class Connection(asyncio.Protocol):
    """`calls` hears of the streams, `closed` of the end."""

    def __init__(self, calls: Calls, closed: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls, self._closed = calls, closed
        self._transport: asyncio.Transport | None = None
        self._in = b""
        self._greeted = False
        self._out: list[bytes] = []
        self._size, self._flushing = 0, False
        self._decoder = Decoder()
        self._block: tuple[int, int, bytearray] | None = None
        self._taken = 0
        self._last = 0
        self._leaving = False
        self._initial = DEFAULT_WINDOW
        self._stuck: dict[int, Stream] = {}
        self.streams: dict[int, Stream] = {}
        self.window, self.max_frame = DEFAULT_WINDOW, MAX_FRAME
        self.full, self.room = asyncio.Event(), asyncio.Event()
        self.room.set()
        self.heard_at = self._loop.time()
        self.pinged = False

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=BUFFER)
        settings = ((3, MAX_STREAMS), (4, STREAM_WINDOW), (6, MAX_BLOCK))
        payload = b"".join(_SETTING.pack(*each) for each in settings)
        self.write(frame(SETTINGS, 0, 0, payload))
        self.write(frame(WINDOW_UPDATE, 0, 0, _FOUR.pack(WINDOW - DEFAULT_WINDOW)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for stream in list(self.streams.values()):
            self._lose(stream)
        self.room.set()
        self._closed(self)

    def pause_writing(self) -> None:
        self.full.set()
        self.room.clear()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.full.clear()
        self.room.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.heard_at, self.pinged = self._loop.time(), False
        data = self._in + data if self._in else data
        at = 0
        try:
            if not self._greeted:
                if len(data) < len(PREFACE) and PREFACE.startswith(data):
                    self._in = data
                    return
                if not data.startswith(PREFACE):
                    raise ProtocolError(PROTOCOL, "this is not HTTP/2")
                self._greeted, at = True, len(PREFACE)
            while len(data) - at >= 9 and self._transport is not None:
                high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
                size = high << 8 | low
                if size > MAX_FRAME:
                    raise ProtocolError(FRAME_SIZE, f"a frame of {size} bytes is more than {MAX_FRAME}")
                end = at + 9 + size
                if end > len(data):
                    break
                self._frame(kind, flags, stream & LARGEST_WINDOW, data[at + 9 : end])
                at = end
            self._in = data[at:]
        except ProtocolError as error:
            self._abort(error.code, str(error))
        except HpackError as error:
            self._abort(COMPRESSION, str(error))

    @property
    def transport(self) -> asyncio.Transport | None:
        """None when it is closed."""
        return self._transport

    # frames

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or stream != self._block[0]):
            raise ProtocolError(PROTOCOL, "headers must be followed by the rest of them")
        if kind == DATA:
            self._data(stream, flags, payload)
        elif kind == HEADERS:
            self._headers(stream, flags, payload)
        elif kind == WINDOW_UPDATE:
            self._window_update(stream, payload)
        elif kind == RST_STREAM:
            if (lost := self.streams.get(stream)) is not None:
                self._lose(lost)
        elif kind == SETTINGS:
            self._settings(flags, payload)
        elif kind == PING:
            if len(payload) != 8:
                raise ProtocolError(FRAME_SIZE, "a ping has 8 bytes")
            if not flags & ACK:
                self.write(frame(PING, ACK, 0, payload))
        elif kind == CONTINUATION:
            self._continue(stream, flags, payload)
        elif kind == PUSH_PROMISE:
            raise ProtocolError(PROTOCOL, "a client cannot push")

    def _data(self, stream_id: int, flags: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken > WINDOW // 2:
            self.write(frame(WINDOW_UPDATE, 0, 0, _FOUR.pack(self._taken)))
            self._taken = 0
        stream = self.streams.get(stream_id)
        if stream is None or stream.heard:
            if not 0 < stream_id <= self._last:
                raise ProtocolError(PROTOCOL, f"stream {stream_id} was never opened")
            return
        data = _unpadded(flags, payload)
        stream.body += data
        stream.held += len(payload)
        if stream.held > STREAM_WINDOW:
            raise ProtocolError(FLOW_CONTROL, f"stream {stream_id} sent more than it may")
        stream.heard = bool(flags & END_STREAM)
        if len(data) < len(payload):
            stream.consumed(len(payload) - len(data))
        self._calls.received(stream)

    def _headers(self, stream: int, flags: int, payload: bytes) -> None:
        payload = _unpadded(flags, payload)
        if flags & PRIORITIZED:
            payload = payload[5:]
        if flags & END_HEADERS:
            self._open(stream, flags, payload)
        else:
            self._block = (stream, flags, bytearray(payload))

    def _continue(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolError(PROTOCOL, "there are no headers to go on with")
        _, first, block = self._block
        block += payload
        if len(block) > MAX_BLOCK:
            raise ProtocolError(CALM, f"headers of more than {MAX_BLOCK} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._open(stream, first, bytes(block))

    def _open(self, stream_id: int, flags: int, block: bytes) -> None:
        fields = self._decoder.decode(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id <= self._last:  # trailers of a call that is over
                return
            if not stream_id & 1:
                raise ProtocolError(PROTOCOL, f"{stream_id} is no client's stream")
            self._last = stream_id
            if self._leaving or len(self.streams) >= MAX_STREAMS:
                self.write(frame(RST_STREAM, 0, stream_id, _FOUR.pack(REFUSED)))
                return
            stream = self.streams[stream_id] = Stream(self, stream_id, fields, self._initial)
            stream.heard = bool(flags & END_STREAM)
            self._calls.begin(stream)
        elif flags & END_STREAM and not stream.heard:
            stream.heard = True
            self._calls.received(stream)

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(FRAME_SIZE, "a window update has 4 bytes")
        more = _FOUR.unpack(payload)[0] & LARGEST_WINDOW
        if not stream_id:
            self.window += more
            if self.window > LARGEST_WINDOW:
                raise ProtocolError(FLOW_CONTROL, "the window is too large")
            self._unstick()
        elif (stream := self.streams.get(stream_id)) is not None:
            stream.window += more
            self.advance(stream)

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if len(payload) % 6:
            raise ProtocolError(FRAME_SIZE, "settings have 6 bytes each")
        for at in range(0, len(payload), 6):
            name, value = _SETTING.unpack_from(payload, at)
            if name == 4:
                if value > LARGEST_WINDOW:
                    raise ProtocolError(FLOW_CONTROL, "the initial window is too large")
                for stream in self.streams.values():
                    stream.window += value - self._initial
                self._initial = value
            elif name == 5:
                if not MAX_FRAME <= value < 1 << 24:
                    raise ProtocolError(PROTOCOL, f"frames cannot have {value} bytes")
                self.max_frame = value
        self.write(frame(SETTINGS, ACK, 0))
        self._unstick()

    # what goes out

    def write(self, data: bytes) -> None:
        """With whatever else this turn of the loop writes."""
        self._out.append(data)
        self._size += len(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        elif self._size > BUFFER:
            self._send()

    def _flush(self) -> None:
        self._flushing = False
        self._send()

    def _send(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()
        self._size = 0

    def advance(self, stream: Stream) -> None:
        """Write what the windows allow of a stream."""
        out, at = stream.out, 0
        while at < len(out):
            size = min(len(out) - at, self.window, stream.window, self.max_frame)
            if size <= 0:
                del out[:at]
                self._stuck[stream.id] = stream
                return
            self.window -= size
            stream.window -= size
            self.write(frame(DATA, 0, stream.id, bytes(out[at : at + size])))
            at += size
        out.clear()
        self._stuck.pop(stream.id, None)
        if stream.waiter is not None and not stream.waiter.done():
            stream.waiter.set_result(None)
        if stream.trailers is not None and stream.open:
            self.write(frame(HEADERS, END_HEADERS | END_STREAM, stream.id, stream.trailers))
            self.close_stream(stream)

    def _unstick(self) -> None:
        for stream in list(self._stuck.values()):
            if self.window <= 0:
                break
            self.advance(stream)

    def close_stream(self, stream: Stream) -> None:
        """All of it was answered; the client need not say more."""
        stream.open = False
        del self.streams[stream.id]
        if not stream.heard:
            self.write(frame(RST_STREAM, 0, stream.id, _FOUR.pack(NO_ERROR)))
        self._stop_if_done()

    def _lose(self, stream: Stream) -> None:
        stream.open = False
        self.streams.pop(stream.id, None)
        self._stuck.pop(stream.id, None)
        if stream.waiter is not None and not stream.waiter.done():
            stream.waiter.set_result(None)
        self._calls.lost(stream)
        self._stop_if_done()

    # the end

    def ping(self) -> None:
        """Ask whether the client is there; any answer will do (`pinged` until then)."""
        self.pinged = True
        self.write(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Take no more calls, and go when those that are open are answered."""
        if not self._leaving:
            self._leaving = True
            self.write(frame(GOAWAY, 0, 0, _FOUR.pack(self._last) + _FOUR.pack(NO_ERROR)))
            self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._leaving and not self.streams:
            self._loop.call_soon(self.stop)

    def stop(self) -> None:
        """Go, after what was written."""
        self._send()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()  # once: a second time would take away a TLS transport's way to abort

    def abort(self) -> None:
        """Go at once."""
        if self._transport is not None:
            self._transport.abort()

    def _abort(self, code: int, text: str) -> None:
        reason = text.encode()
        self.write(frame(GOAWAY, 0, 0, _FOUR.pack(self._last) + _FOUR.pack(code) + reason))
        self._in = b""
        with contextlib.suppress(OSError):
            self.stop()


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(PROTOCOL, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
