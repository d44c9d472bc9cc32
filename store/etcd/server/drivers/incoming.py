"""What a connection reads: frames, one after the other, and headers in one piece. What is against the protocol ends the
connection; what the frames ask for is obeying.py's.
"""

import asyncio

from ..frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    FOUR,
    FRAME_SIZE,
    HEAD,
    HEADER_BYTES,
    HEADERS,
    LARGEST_WINDOW,
    MAX_FRAME,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ProtocolError,
    StreamError,
    frame,
    unpadded,
)
from ..frames import GOAWAY as CLIENT_GOES
from ..hpack import HeadersTooLarge
from ..limits import MAX_HEADERS, RESET
from .obeying import Obeying

_CONNECTIONS = frozenset((SETTINGS, PING, CLIENT_GOES))
_STREAMS = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM))
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


class Incoming:
    """One connection's. `since`: when what is not whole began to come, on the loop's clock; `greeted`: the client has
    said what it speaks."""

    def __init__(self, obeying: Obeying) -> None:
        self._loop = asyncio.get_running_loop()
        self._obeying = obeying
        self._patience = obeying.connection.patience
        self._rest = b""
        self._spoke = False
        self._block: tuple[int, int, bytearray] | None = None
        self._weight = 0
        self.greeted = False
        self.since: float | None = self._loop.time()

    def feed(self, data: bytes) -> None:
        """As it came. ProtocolError, HpackError."""
        data = self._rest + data if self._rest else data
        begin = at = self._preface(data)
        size = 0
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
        if self.greeted:
            whole = not self._rest and self._block is None
            if whole:
                self.since = None
            elif self.since is None or (at > begin and self._block is None):
                self.since = self._loop.time()

    def _preface(self, data: bytes) -> int:
        """Where the frames begin."""
        if self._spoke:
            return 0
        if not data.startswith(PREFACE[: len(data)]):
            raise ProtocolError(PROTOCOL, "this is not HTTP/2")
        if len(data) < len(PREFACE):
            return 0 if len(data) < HEADER_BYTES else len(data)
        self._spoke = True
        return len(PREFACE)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None or kind > HEADERS or not stream or not self.greeted:
            self._check(kind, flags, stream, len(payload))
        try:
            self._obey(kind, flags, stream, payload)
        except StreamError as error:
            self._patience.spend(RESET)
            self._obeying.connection.reset(error.stream, error.code)

    def _check(self, kind: int, flags: int, stream: int, size: int) -> None:
        """Whether there may be such a frame now: data and headers always may, where nothing else is expected."""
        if self._block is not None and (kind != CONTINUATION or stream != self._block[0]):
            raise ProtocolError(PROTOCOL, "headers must be followed by the rest of them")
        if not self.greeted:
            if kind != SETTINGS or flags & ACK:
                raise ProtocolError(PROTOCOL, "the first frame must be settings")
            self.greeted = True
        if (stream and kind in _CONNECTIONS) or (not stream and kind in _STREAMS):
            raise ProtocolError(PROTOCOL, f"a frame of type {kind} cannot be of stream {stream}")
        if size != _SIZES.get(kind, size):
            raise ProtocolError(FRAME_SIZE, f"a frame of type {kind} has {_SIZES[kind]} bytes")

    def _obey(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._obeying.data(stream, flags, payload)
        elif kind == HEADERS:
            self._headers(stream, flags, payload)
        elif kind == WINDOW_UPDATE:
            self._obeying.window_update(stream, FOUR.unpack(payload)[0] & LARGEST_WINDOW)
        elif kind == RST_STREAM:
            self._obeying.reset(stream)
        elif kind == SETTINGS:
            self._obeying.settings(flags, payload)
        elif kind == CONTINUATION:
            self._continue(flags, payload)
        elif kind == PUSH_PROMISE:
            raise ProtocolError(PROTOCOL, "a client cannot push")
        else:
            self._patience.spend()
            if kind == PING and not flags & ACK:
                self._obeying.connection.out.write(frame(PING, ACK, 0, payload))

    def _headers(self, stream: int, flags: int, payload: bytes) -> None:
        payload = unpadded(flags, payload)
        if flags & PRIORITIZED:
            if len(payload) < 5:
                raise ProtocolError(FRAME_SIZE, "there is no room for the priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._obeying.headers(stream, flags, payload)
        else:
            self._block, self._weight = (stream, flags, bytearray(payload)), len(payload)

    def _continue(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolError(PROTOCOL, "there are no headers to go on with")
        stream, first, block = self._block
        block += payload
        self._weight += HEADER_BYTES + len(payload)
        if self._weight > MAX_HEADERS:
            raise HeadersTooLarge(f"headers of more than {MAX_HEADERS} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._obeying.headers(stream, first, bytes(block))
