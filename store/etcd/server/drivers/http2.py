"""HTTP/2 for a gRPC server (RFC 9113), on asyncio: one `Connection` a client, one `Stream` a call.

Made for many small calls at a time: whatever is answered in one turn of the loop is written at once (outgoing.py),
headers that every response has are encoded beforehand, and those that every call repeats are decoded once (hpack.py).
A client that does not read stops its own calls: what flow control or the socket does not take waits with the call, and
while the socket is full nothing is read from it. What a client asks against the protocol ends its connection, with the
reason (incoming.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from ..frames import (
    COMPRESSION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FOUR,
    GOAWAY,
    HEADERS,
    MAX_STREAMS,
    NO_ERROR,
    PING,
    REFUSED,
    RST_STREAM,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    ProtocolError,
    frame,
    head,
    settings,
)
from ..hpack import Field, HpackError
from .incoming import Incoming
from .outgoing import Outgoing


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
    """One call: what came of its body, and what still has to go. `task`, `method`, `inbox` and `wake` are for who
    answers it."""

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

    def __init__(self, connection: "Connection", stream: int, fields: tuple[Field, ...], heard: bool) -> None:
        self.connection, self.id, self.fields, self.heard = connection, stream, fields, heard
        self.window = connection.out.initial
        self.body, self.out = bytearray(), bytearray()
        self.started, self.open = False, True
        self.trailers: bytes | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.held = self.owed = 0
        self.task: asyncio.Task[None] | None = None
        self.method: object = None
        self.inbox: deque[bytes] = deque()
        self.wake: asyncio.Future[None] | None = None

    def reply(self, block: bytes, data: bytes, trailers: bytes) -> None:
        """All of a response; the blocks are encoded headers."""
        if not self.open:
            return
        size, out, stream = len(data), self.connection.out, self.id
        if size > out.window or size > self.window or size > out.max_frame:
            self.write(block, data)
            self.finish(trailers)
            return
        out.window -= size
        parts = (
            head(len(block), HEADERS, END_HEADERS, stream),
            block,
            head(size, DATA, 0, stream),
            data,
            head(len(trailers), HEADERS, END_HEADERS | END_STREAM, stream),
            trailers,
        )
        out.write(b"".join(parts))
        self.connection.close_stream(self)

    def write(self, block: bytes, data: bytes) -> None:
        """Part of a response, and its headers when it is the first; wait with `drained` before the next."""
        if not self.open:
            return
        size, out = len(data), self.connection.out
        if not self.started:
            self.started = True
            out.write(frame(HEADERS, END_HEADERS, self.id, block))
        if self.out or size > out.window or size > self.window or size > out.max_frame:
            self.out += data
            self.advance()
        elif size:
            out.window -= size
            self.window -= size
            out.write(head(size, DATA, 0, self.id) + data)

    def finish(self, trailers: bytes) -> None:
        """The last headers, after all that was written."""
        if self.open:
            self.trailers = trailers
            self.advance()

    def advance(self) -> None:
        """Write what the windows allow of what waits."""
        out, waiting, at = self.connection.out, self.out, 0
        while at < len(waiting):
            size = min(len(waiting) - at, out.window, self.window, out.max_frame)
            if size <= 0:
                del waiting[:at]
                out.stuck[self.id] = self
                return
            out.window -= size
            self.window -= size
            out.write(frame(DATA, 0, self.id, bytes(waiting[at : at + size])))
            at += size
        waiting.clear()
        out.stuck.pop(self.id, None)
        self.rouse()
        if self.trailers is not None and self.open:
            out.write(frame(HEADERS, END_HEADERS | END_STREAM, self.id, self.trailers))
            self.connection.close_stream(self)

    def rouse(self) -> None:
        """Nothing waits any more."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def drained(self) -> None:
        """Until the client, and the socket to it, have taken what was written."""
        while self.open and self.out:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if self.open:
            await self.connection.out.room.wait()

    def consumed(self, size: int) -> None:
        """So many bytes of the body need no memory any more: the client may send as many again."""
        self.held -= size
        self.owed += size
        if self.owed > STREAM_WINDOW // 2 and self.open and not self.heard:
            self.connection.out.write(frame(WINDOW_UPDATE, 0, self.id, FOUR.pack(self.owed)))
            self.owed = 0


class Connection(asyncio.Protocol):
    """`calls` hears of the streams, `closed` of the end. `heard_at`: when the client last said something, on the
    loop's clock; `pinged`: it was asked to since."""

    def __init__(self, calls: Calls, closed: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = closed
        self._incoming = Incoming(self)
        self._leaving = False
        self.calls = calls
        self.transport: asyncio.Transport | None = None
        self.out = Outgoing()
        self.streams: dict[int, Stream] = {}
        self.heard_at, self.pinged = self._loop.time(), False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.out.attach(self.transport)
        self.out.write(settings())

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.out.attach(None)
        for stream in list(self.streams):
            self.lose(stream)
        self._closed(self)

    def pause_writing(self) -> None:
        self.out.room.clear()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.out.room.set()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.heard_at, self.pinged = self._loop.time(), False
        try:
            self._incoming.feed(data)
        except ProtocolError as error:
            self._refuse(error.code, str(error))
        except HpackError as error:
            self._refuse(COMPRESSION, str(error))

    def open(self, stream_id: int, fields: tuple[Field, ...], heard: bool) -> None:
        """The client calls; `heard`: and says no more."""
        if self._leaving or len(self.streams) >= MAX_STREAMS:
            self.out.write(frame(RST_STREAM, 0, stream_id, FOUR.pack(REFUSED)))
            return
        stream = self.streams[stream_id] = Stream(self, stream_id, fields, heard)
        self.calls.begin(stream)

    def close_stream(self, stream: Stream) -> None:
        """All of it was answered; the client need not say more."""
        stream.open = False
        del self.streams[stream.id]
        if not stream.heard:
            self.out.write(frame(RST_STREAM, 0, stream.id, FOUR.pack(NO_ERROR)))
        self._stop_if_done()

    def lose(self, stream_id: int) -> None:
        """The client gave a call up, or is gone."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.open = False
            self.out.stuck.pop(stream_id, None)
            stream.rouse()
            self.calls.lost(stream)
            self._stop_if_done()

    def ping(self) -> None:
        """Ask whether the client is there; any answer will do."""
        self.pinged = True
        self.out.write(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Take no more calls, and go when those that are open are answered."""
        if not self._leaving:
            self._leaving = True
            self.out.write(frame(GOAWAY, 0, 0, FOUR.pack(self._incoming.last) + FOUR.pack(NO_ERROR)))
            self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._leaving and not self.streams:
            self._loop.call_soon(self.stop)

    def _refuse(self, code: int, reason: str) -> None:
        last = FOUR.pack(self._incoming.last)
        self.out.write(frame(GOAWAY, 0, 0, last + FOUR.pack(code) + reason.encode()))
        self.stop()

    def stop(self) -> None:
        """Go, after what was written."""
        self.out.flush()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()  # once: a second time would take away a TLS transport's way to abort

    def abort(self) -> None:
        """Go at once."""
        if self.transport is not None:
            self.transport.abort()
