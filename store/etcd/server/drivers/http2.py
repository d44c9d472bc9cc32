"""HTTP/2 for a gRPC server (RFC 9113), on asyncio: one `Connection` a client, one `Stream` a call (streams.py).

Made for many small calls at a time: whatever is answered in one turn of the loop is written at once (outgoing.py),
headers that every response has are encoded beforehand, and those that every call repeats are decoded once (hpack.py).
A client that does not read stops its own calls: what flow control or the socket does not take waits with the call, and
while the socket is full nothing is read from it. What a client asks against the protocol ends its connection, or the
stream that it is about, with the reason (incoming.py, obeying.py); so does what is beyond the limits (limits.py).
"""

import asyncio
from typing import Protocol, cast

from ..frames import CALM, COMPRESSION, FOUR, GOAWAY, NO_ERROR, PING, RST_STREAM, ProtocolError, frame, greeting
from ..head import Head
from ..hpack import HeadersTooLarge, HpackError
from ..limits import MAX_HEADERS, MAX_STREAMS, STREAM_WINDOW, WINDOW, Patience
from .crowd import Crowd
from .incoming import Incoming
from .obeying import Obeying
from .outgoing import Outgoing
from .streams import Stream


class Calls(Protocol):
    """What a connection hands its streams to."""

    def begin(self, stream: Stream) -> None:
        """The headers are there."""
        ...

    def received(self, stream: Stream) -> None:
        """More of the body is in `stream.body`, or all of it (`stream.heard`)."""
        ...

    def lost(self, stream: Stream) -> None:
        """The client is not interested any more."""
        ...


class Connection(asyncio.Protocol):
    """`calls` hears of the streams. `held`: bytes of memory that it takes, about."""

    def __init__(self, calls: Calls, crowd: Crowd) -> None:
        self._loop = asyncio.get_running_loop()
        self._crowd, self._limits = crowd, crowd.limits
        self._heard_at, self._pinged = self._loop.time(), False
        self._stopped_at: float | None = None
        self._sent, self._sent_at = (0, 0), self._heard_at
        self.calls = calls
        self.transport: asyncio.Transport | None = None
        self.out = Outgoing(self._limits.backlog)
        self.patience = Patience(self._loop.time)
        self.streams: dict[int, Stream] = {}
        self.held, self.leaving = 0, False
        self._obeying = Obeying(self)
        self._incoming = Incoming(self._obeying)

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._crowd.join(self)
        self.out.attach(self.transport)
        self.out.write(greeting(streams=MAX_STREAMS, stream_window=STREAM_WINDOW, window=WINDOW, headers=MAX_HEADERS))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.out.attach(None)
        for stream in list(self.streams):
            self.lose(stream)
        self._crowd.leave(self)

    def pause_writing(self) -> None:
        self.out.pause()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.out.resume()
        if self.out.room.is_set() and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._stopped_at is not None:
            return
        self._heard_at, self._pinged = self._loop.time(), False
        try:
            self._incoming.feed(data)
        except ProtocolError as error:
            self.refuse(error.code, str(error))
        except HpackError as error:
            self.refuse(CALM if isinstance(error, HeadersTooLarge) else COMPRESSION, str(error))

    # streams

    def open(self, stream_id: int, said: Head, heard: bool) -> None:
        """The client calls; `heard`: and says no more."""
        stream = self.streams[stream_id] = Stream(self, stream_id, said, heard)
        self.hold(stream.cost)
        self.calls.begin(stream)

    def close_stream(self, stream: Stream) -> None:
        """All of it was answered; the client need not say more."""
        self._forget(stream)
        if not stream.heard:
            self.out.write(frame(RST_STREAM, 0, stream.id, FOUR.pack(NO_ERROR)))
        self._stop_if_done()

    def lose(self, stream_id: int) -> None:
        """The client gave a call up, or is gone."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            self.calls.lost(stream)
            self._stop_if_done()

    def reset(self, stream_id: int, code: int) -> None:
        """Give a call up, and tell the client why."""
        self.out.write(frame(RST_STREAM, 0, stream_id, FOUR.pack(code)))
        self.lose(stream_id)

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.id]
        stream.end()
        self.hold(-stream.cost)
        if stream.held:
            self._obeying.took(stream.held)

    def hold(self, size: int) -> None:
        """It takes so many more bytes of memory, or fewer."""
        self.held += size
        self._crowd.held += size
        if size > 0 and self._crowd.held > self._limits.memory:
            self._crowd.relieve()

    def took(self, size: int) -> None:
        """So many bytes that the client sent need no memory any more."""
        self.hold(-size)
        self._obeying.took(size)

    # the end

    def overdue(self, now: float) -> bool:
        """Whether the client kept the server waiting too long. Who was only quiet is asked whether it is there."""
        limits, incoming, out = self._limits, self._incoming, self.out
        if self._stopped_at is not None:
            return now - self._stopped_at > limits.flush
        waits = out.waiting + out.buffered > 0
        if (out.sent, out.buffered) != self._sent or not waits:
            self._sent, self._sent_at = (out.sent, out.buffered), now
        if waits and now - self._sent_at > limits.stalled:
            self.refuse(CALM, "nothing is read of what was asked for")
        elif incoming.since is not None and out.room.is_set():
            if now - incoming.since > (limits.frame if incoming.greeted else limits.greeting):
                self.refuse(CALM, "what was begun did not come to an end")
        elif now - self._heard_at > limits.keepalive:
            if self._pinged:
                return now - self._heard_at > limits.keepalive + limits.patience
            self._pinged = True
            out.write(frame(PING, 0, 0, bytes(8)))
        return False

    def leave(self) -> None:
        """Take no more calls, and go when those that are open are answered."""
        if not self.leaving:
            self.leaving = True
            self.out.write(frame(GOAWAY, 0, 0, FOUR.pack(self._obeying.last) + FOUR.pack(NO_ERROR)))
            self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self.leaving and not self.streams:
            self._loop.call_soon(self.stop)

    def refuse(self, code: int, reason: str) -> None:
        """Go, and tell the client why. What it still sends is read for a moment: a socket closed before would take
        what it was told away from it."""
        last = FOUR.pack(self._obeying.last)
        for stream in list(self.streams):
            self.lose(stream)
        self.out.write(frame(GOAWAY, 0, 0, last + FOUR.pack(code) + reason.encode()))
        transport = self.transport
        if self._stopped_at is None and transport is not None and transport.can_write_eof():
            self.out.flush()
            self._stopped_at = self._loop.time()
            transport.write_eof()
            self.out.attach(None)
        else:
            self.stop()

    def stop(self) -> None:
        """Go, after what was written."""
        self.out.flush()
        if self._stopped_at is None:
            self._stopped_at = self._loop.time()
            if self.transport is not None:
                self.transport.close()  # once: a second time would take away a TLS transport's way to abort

    def abort(self) -> None:
        """Go at once."""
        if self.transport is not None:
            self.transport.abort()
