"""HTTP/2's frames (RFC 9113): their numbers, how one is written, and what ends a connection. Pure."""

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, FLOW_CONTROL, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION, CALM = 0, 1, 3, 6, 7, 8, 9, 11
HEADER_BYTES = 9
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = (1 << 31) - 1
STREAM_WINDOW, WINDOW = 4 << 20, 64 << 20
"""What a client may send of one call, and of all, before it is told that it was taken."""
MAX_FRAME, MAX_BLOCK, MAX_STREAMS = 1 << 14, 1 << 16, 1 << 17
INITIAL_WINDOW_SETTING, MAX_FRAME_SETTING = 4, 5
HEAD = Struct(">HBBBI")
FOUR = Struct(">I")
SETTING = Struct(">HI")


class ProtocolError(Exception):
    """The client broke HTTP/2's rules."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """What stands before so many bytes of payload."""
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, encoded."""
    return head(len(payload), kind, flags, stream) + payload


def settings() -> bytes:
    """What a server says first: its limits, and how much it takes at a time."""
    values = ((3, MAX_STREAMS), (INITIAL_WINDOW_SETTING, STREAM_WINDOW), (6, MAX_BLOCK))
    said = frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in values))
    return said + frame(WINDOW_UPDATE, 0, 0, FOUR.pack(WINDOW - DEFAULT_WINDOW))


def unpadded(flags: int, payload: bytes) -> bytes:
    """Without the padding. ProtocolError."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(PROTOCOL, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
