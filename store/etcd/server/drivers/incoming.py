"""What a connection reads: frames, one after the other, and what each of them does. What is against the protocol ends
the connection."""

from typing import TYPE_CHECKING

from ..frames import (
    ACK,
    CALM,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FOUR,
    FRAME_SIZE,
    HEAD,
    HEADER_BYTES,
    HEADERS,
    INITIAL_WINDOW_SETTING,
    LARGEST_WINDOW,
    MAX_BLOCK,
    MAX_FRAME,
    MAX_FRAME_SETTING,
    PING,
    PREFACE,
    PRIORITIZED,
    PROTOCOL,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    STREAM_WINDOW,
    WINDOW,
    WINDOW_UPDATE,
    ProtocolError,
    frame,
    unpadded,
)
from ..hpack import Decoder

if TYPE_CHECKING:
    from .http2 import Connection


class Incoming:
    """One connection's; `last` is the last stream that the client opened."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._rest = b""
        self._greeted = False
        self._decoder = Decoder()
        self._block: tuple[int, int, bytearray] | None = None
        self._taken = 0
        self.last = 0

    def feed(self, data: bytes) -> None:
        """As it came. ProtocolError, HpackError."""
        data = self._rest + data if self._rest else data
        at = 0
        if not self._greeted:
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._rest = data
                return
            if not data.startswith(PREFACE):
                raise ProtocolError(PROTOCOL, "this is not HTTP/2")
            self._greeted, at = True, len(PREFACE)
        while len(data) - at >= HEADER_BYTES:
            high, low, kind, flags, stream = HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > MAX_FRAME:
                raise ProtocolError(FRAME_SIZE, f"a frame of {size} bytes is more than {MAX_FRAME}")
            end = at + HEADER_BYTES + size
            if end > len(data):
                break
            self._frame(kind, flags, stream & LARGEST_WINDOW, data[at + HEADER_BYTES : end])
            at = end
        self._rest = data[at:]

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
            self._connection.lose(stream)
        elif kind == SETTINGS:
            self._settings(flags, payload)
        elif kind == PING:
            if len(payload) != 8:
                raise ProtocolError(FRAME_SIZE, "a ping has 8 bytes")
            if not flags & ACK:
                self._connection.out.write(frame(PING, ACK, 0, payload))
        elif kind == CONTINUATION:
            self._continue(stream, flags, payload)
        elif kind == PUSH_PROMISE:
            raise ProtocolError(PROTOCOL, "a client cannot push")

    def _data(self, stream_id: int, flags: int, payload: bytes) -> None:
        connection = self._connection
        self._taken += len(payload)
        if self._taken > WINDOW // 2:
            connection.out.write(frame(WINDOW_UPDATE, 0, 0, FOUR.pack(self._taken)))
            self._taken = 0
        stream = connection.streams.get(stream_id)
        if stream is None or stream.heard:
            if not 0 < stream_id <= self.last:
                raise ProtocolError(PROTOCOL, f"stream {stream_id} was never opened")
            return
        data = unpadded(flags, payload)
        stream.body += data
        stream.held += len(payload)
        if stream.held > STREAM_WINDOW:
            raise ProtocolError(FLOW_CONTROL, f"stream {stream_id} sent more than it may")
        stream.heard = bool(flags & END_STREAM)
        if len(data) < len(payload):
            stream.consumed(len(payload) - len(data))
        connection.calls.received(stream)

    def _headers(self, stream: int, flags: int, payload: bytes) -> None:
        payload = unpadded(flags, payload)
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
        connection, ends = self._connection, bool(flags & END_STREAM)
        stream = connection.streams.get(stream_id)
        if stream is not None:
            if ends and not stream.heard:
                stream.heard = True
                connection.calls.received(stream)
        elif stream_id > self.last:  # else the trailers of a call that is over
            if not stream_id & 1:
                raise ProtocolError(PROTOCOL, f"{stream_id} is no client's stream")
            self.last = stream_id
            connection.open(stream_id, fields, ends)

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(FRAME_SIZE, "a window update has 4 bytes")
        more = FOUR.unpack(payload)[0] & LARGEST_WINDOW
        out = self._connection.out
        if not stream_id:
            out.window += more
            if out.window > LARGEST_WINDOW:
                raise ProtocolError(FLOW_CONTROL, "the window is too large")
            out.unstick()
        elif (stream := self._connection.streams.get(stream_id)) is not None:
            stream.window += more
            stream.advance()

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if len(payload) % 6:
            raise ProtocolError(FRAME_SIZE, "settings have 6 bytes each")
        out = self._connection.out
        for at in range(0, len(payload), 6):
            name, value = SETTING.unpack_from(payload, at)
            if name == INITIAL_WINDOW_SETTING:
                if value > LARGEST_WINDOW:
                    raise ProtocolError(FLOW_CONTROL, "the initial window is too large")
                for stream in self._connection.streams.values():
                    stream.window += value - out.initial
                out.initial = value
            elif name == MAX_FRAME_SETTING:
                if not MAX_FRAME <= value < 1 << 24:
                    raise ProtocolError(PROTOCOL, f"frames cannot have {value} bytes")
                out.max_frame = value
        out.write(frame(SETTINGS, ACK, 0))
        out.unstick()
