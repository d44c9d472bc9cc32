"""HTTP/2's frames (RFC 9113): their numbers, how one is written, and what is against the rules. Pure."""

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, FLOW_CONTROL, CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION, CALM = 0, 1, 3, 5, 6, 7, 8, 9, 11
HEADER_BYTES = 9
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = (1 << 31) - 1
MAX_FRAME = 1 << 14
"""The largest that nobody has to allow."""
PUSH_SETTING, STREAMS_SETTING, WINDOW_SETTING, FRAME_SETTING, HEADERS_SETTING = 2, 3, 4, 5, 6
HEAD = Struct(">HBBBI")
FOUR = Struct(">I")
SETTING = Struct(">HI")


class ProtocolError(Exception):
    """The client broke HTTP/2's rules: the connection ends."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamError(Exception):
    """The client broke a rule that concerns one stream: that one ends."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(f"stream {stream} broke a rule: {code}")
        self.stream, self.code = stream, code


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """What stands before so many bytes of payload."""
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, encoded."""
    return head(len(payload), kind, flags, stream) + payload


def greeting(*, streams: int, stream_window: int, window: int, headers: int) -> bytes:
    """What a server says first: its limits, and how much it takes at a time."""
    values = ((STREAMS_SETTING, streams), (WINDOW_SETTING, stream_window), (HEADERS_SETTING, headers))
    said = frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in values))
    return said + frame(WINDOW_UPDATE, 0, 0, FOUR.pack(window - DEFAULT_WINDOW))


def unpadded(flags: int, payload: bytes) -> bytes:
    """Without the padding. ProtocolError."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ProtocolError(FRAME_SIZE, "there is no room for the padding's length")
    if payload[0] >= len(payload):
        raise ProtocolError(PROTOCOL, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
