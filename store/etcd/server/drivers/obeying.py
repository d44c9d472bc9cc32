"""What a client's frames do, each kind by RFC 9113: streams begin, go on and end, windows grow.

Of a stream that is over nothing is remembered: what still comes of it, as may be after a reset, is dropped, and counts
as asking for nothing.
"""

from typing import TYPE_CHECKING

from ..frames import (
    ACK,
    CLOSED,
    END_STREAM,
    FLOW_CONTROL,
    FOUR,
    FRAME_SETTING,
    FRAME_SIZE,
    LARGEST_WINDOW,
    MAX_FRAME,
    PROTOCOL,
    PUSH_SETTING,
    REFUSED,
    SETTING,
    SETTINGS,
    WINDOW_SETTING,
    WINDOW_UPDATE,
    ProtocolError,
    StreamError,
    frame,
    unpadded,
)
from ..head import Head, read
from ..hpack import Decoder, Field
from ..limits import MAX_HEADERS, MAX_STREAMS, RESET, SMALL, STREAM_WINDOW, WINDOW
from .outgoing import LARGEST_FRAME

if TYPE_CHECKING:
    from .http2 import Connection


class Obeying:
    """One connection's; `last` is the last stream that the client opened."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self._decoder = Decoder(MAX_HEADERS)
        self._window, self._owed = WINDOW, 0
        self._fields: tuple[Field, ...] = ()
        self._said = read(())
        self.last = 0

    def took(self, size: int) -> None:
        """So many bytes of bodies need no memory any more."""
        self._owed += size
        if self._owed > WINDOW // 2:
            self.connection.out.write(frame(WINDOW_UPDATE, 0, 0, FOUR.pack(self._owed)))
            self._window += self._owed
            self._owed = 0

    def _opened(self, stream: int) -> None:
        if stream > self.last or not stream & 1:
            raise ProtocolError(PROTOCOL, f"stream {stream} was never opened")

    def data(self, stream_id: int, flags: int, payload: bytes) -> None:
        """More of a body."""
        connection, size = self.connection, len(payload)
        self._window -= size
        if self._window < 0:
            raise ProtocolError(FLOW_CONTROL, "the connection sent more than it may")
        data = unpadded(flags, payload)
        stream = connection.streams.get(stream_id)
        if stream is None or stream.heard:
            self._opened(stream_id)
            self.took(size)
            connection.patience.spend()
            if stream is not None:
                raise StreamError(stream_id, CLOSED)
            return
        stream.body += data
        stream.held += size
        stream.took += len(data)
        connection.hold(size)
        if stream.held > STREAM_WINDOW:
            raise ProtocolError(FLOW_CONTROL, f"stream {stream_id} sent more than it may")
        if len(data) < size:
            stream.consumed(size - len(data))
        if flags & END_STREAM:
            self._heard(stream_id)
        elif not data:
            connection.patience.spend()
        else:
            connection.calls.received(stream)

    def _heard(self, stream_id: int) -> None:
        stream = self.connection.streams[stream_id]
        if stream.head.length not in (None, stream.took):
            raise StreamError(stream_id, PROTOCOL)
        stream.heard = True
        self.connection.calls.received(stream)

    def headers(self, stream_id: int, flags: int, block: bytes) -> None:
        """A call, or the end of one."""
        fields = self._decoder.decode(block)
        if fields is not self._fields:  # else the same again
            self._fields, self._said = fields, read(fields)
        said = self._said
        stream, ends = self.connection.streams.get(stream_id), bool(flags & END_STREAM)
        if stream is not None:
            if stream.heard:
                raise StreamError(stream_id, CLOSED)
            if not ends or not said.trailer:
                raise StreamError(stream_id, PROTOCOL)
            self._heard(stream_id)
        elif stream_id > self.last:
            self._open(stream_id, said, ends)
        else:  # trailers of a call that is over
            self._opened(stream_id)
            self.connection.patience.spend()

    def _open(self, stream_id: int, said: Head, ends: bool) -> None:
        connection = self.connection
        if not stream_id & 1:
            raise ProtocolError(PROTOCOL, f"{stream_id} is no client's stream")
        self.last = stream_id
        if said.flaw is not None or (ends and said.length):
            raise StreamError(stream_id, PROTOCOL)
        if connection.leaving or len(connection.streams) >= MAX_STREAMS:
            raise StreamError(stream_id, REFUSED)
        connection.open(stream_id, said, ends)

    def reset(self, stream_id: int) -> None:
        """The client gives a call up."""
        self._opened(stream_id)
        stream = self.connection.streams.get(stream_id)
        self.connection.patience.spend(1 if stream is None or stream.answered else RESET)
        self.connection.lose(stream_id)

    def window_update(self, stream_id: int, more: int) -> None:
        """The client takes more."""
        out = self.connection.out
        if more < SMALL:
            self.connection.patience.spend()
        if not stream_id:
            out.window += more
            if not more or out.window > LARGEST_WINDOW:
                raise ProtocolError(FLOW_CONTROL if more else PROTOCOL, "the window is too large, or the update 0")
            out.unstick()
            return
        self._opened(stream_id)
        stream = self.connection.streams.get(stream_id)
        if not more:
            raise StreamError(stream_id, PROTOCOL)
        if stream is not None:
            if stream.window + more > LARGEST_WINDOW:
                raise StreamError(stream_id, FLOW_CONTROL)
            stream.window += more
            stream.advance()

    def settings(self, flags: int, payload: bytes) -> None:
        """The client's limits. To look at all its streams costs as much as many other frames."""
        connection = self.connection
        if len(payload) % 6 or (flags & ACK and payload):
            raise ProtocolError(FRAME_SIZE, "settings have 6 bytes each, and their acknowledgement none")
        connection.patience.spend(1 + len(connection.streams) // 8)
        if flags & ACK:
            return
        for at in range(0, len(payload), 6):
            self._set(*SETTING.unpack_from(payload, at))
        connection.out.write(frame(SETTINGS, ACK, 0))  # before anything that they allow
        for stream in list(connection.streams.values()):
            if stream.out and stream.window > 0:
                stream.advance()

    def _set(self, name: int, value: int) -> None:
        out = self.connection.out
        if name == WINDOW_SETTING:
            if value > LARGEST_WINDOW:
                raise ProtocolError(FLOW_CONTROL, "the initial window is too large")
            more, out.initial = value - out.initial, value
            for stream in self.connection.streams.values():
                stream.window += more
                if stream.window > LARGEST_WINDOW:
                    raise ProtocolError(FLOW_CONTROL, f"the window of stream {stream.id} is too large")
        elif name == FRAME_SETTING:
            if not MAX_FRAME <= value < 1 << 24:
                raise ProtocolError(PROTOCOL, f"frames cannot have {value} bytes")
            out.max_frame = min(value, LARGEST_FRAME)
        elif name == PUSH_SETTING and value > 1:
            raise ProtocolError(PROTOCOL, f"there is nothing to push {value} times")
