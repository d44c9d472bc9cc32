"""What clients may take of a server, and how long they may keep it waiting: all limits in one place. Pure.

A client has a connection's worth of each: streams, bytes that it sent and nobody took, bytes that it asked for and does
not read, and frames that ask for nothing. What all connections hold together is counted too (`memory`): when it is too
much, who holds most has to go. Nobody may leave anything half said for long. Whoever is let go for this is told
ENHANCE_YOUR_CALM where there is still a way to say so; clients come back and resume.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .frames import CALM, ProtocolError

MAX_REQUEST = 3 * 512 * 1024
"""Bytes of a request that changes something: etcd's --max-request-bytes."""
MAX_MESSAGE = MAX_REQUEST + 512 * 1024
"""What gRPC takes at all: a request with what goes around it."""
MAX_BODY = 4 << 20
"""Of a request in JSON, in which bytes are a third longer."""
MAX_DEPTH = 100
"""Of what is nested in JSON, as in protobuf."""
MAX_ANSWER = 1 << 29
"""Bytes of keys and values in the answer to a range; etcd's ends at 2 GiB, which nobody has twice in memory."""
SLICE = 1000
"""Keys of an answer that are made at a time; between them others are answered."""
MAX_STREAMS = 1 << 14
"""Calls of a connection at a time; more are refused, and may be tried again."""
STREAM_WINDOW, WINDOW = 4 << 20, 16 << 20
"""What a client may send of one call, and of all of a connection, before somebody took it."""
MAX_HEADERS = 1 << 14
"""Bytes of a call's headers, on the wire with their frames as well as decoded with 32 for each (RFC 9113, 6.5.2)."""
MAX_ERROR = 1 << 11
"""Characters of an error's text."""
STREAM_COST = 4096
"""What a call takes in memory beside its bytes, about."""
MAX_WATCHES = 1 << 16
"""Of one stream, each about 6 KiB; of a server at most `Limits.watches`."""
SNAPSHOTS = 2
"""Snapshots taken at a time, each a copy of the store on the disk; the next wait."""
PASSWORDS, ASKING = 1, 128
"""Passwords that are looked at at a time (each 16 MiB and a core for 50 ms), and callers that may wait for it."""

BURST, PER_SECOND, EARNED = 20_000, 1_000, 4
"""Frames that ask for nothing: so many at once, so many each second, and so many more for each message answered."""
RESET = 4
"""A call given up before there was an answer counts as so many of them."""
SMALL = 1 << 10
"""A window update of fewer bytes is one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Those of a server that its operator, or a test, may choose: bytes and seconds.

    `connections`: fewer where the process may not open as many files. `memory`: of all connections together. `backlog`:
    bytes of answers that a client has not taken before its next calls wait. `greeting`: until a client has said what it
    speaks; `frame`: until what was begun (a frame, headers, a request of the gateway) is whole; `stalled`: until a
    client takes a byte of what waits for it. `keepalive`, `patience`: without a word before a client is asked whether
    it is there, and until it is given up (etcd's). `flush`: for a client to read what was written before it is cut off.
    """

    connections: int = 10_000
    memory: int = 1 << 30
    watches: int = 1 << 17
    backlog: int = 4 << 20
    greeting: float = 10.0
    frame: float = 30.0
    stalled: float = 300.0
    keepalive: float = 7200.0
    patience: float = 20.0
    flush: float = 0.5


class Patience:
    """How many more frames that ask for nothing a client may send; `clock` in seconds."""

    __slots__ = ("_at", "_clock", "left")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._at, self.left = clock, clock(), BURST

    def spend(self, cost: int = 1) -> None:
        """ProtocolError when it is at an end."""
        self.left -= cost
        if self.left < 0:
            now = self._clock()
            self.left = min(BURST, self.left + int((now - self._at) * PER_SECOND))
            self._at = now
            if self.left < 0:
                raise ProtocolError(CALM, "too many frames that ask for nothing")

    def earn(self) -> None:
        """A message was answered."""
        if self.left < BURST:
            self.left += EARNED
