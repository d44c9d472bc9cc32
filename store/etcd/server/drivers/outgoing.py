"""What a connection writes: all of one turn of the loop at once, and of each stream no more than HTTP/2's windows and
the socket take."""

import asyncio
from typing import TYPE_CHECKING

from ..frames import DEFAULT_WINDOW, MAX_FRAME

if TYPE_CHECKING:
    from .http2 import Stream

BUFFER = 1 << 18
"""Bytes to write before a connection's calls wait."""


class Outgoing:
    """`window` and `max_frame` are the client's limits, `initial` what a new stream may send; `room` is set while the
    socket takes more; `stuck` are the streams that wait for a window."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._size, self._flushing = 0, False
        self.window, self.initial, self.max_frame = DEFAULT_WINDOW, DEFAULT_WINDOW, MAX_FRAME
        self.stuck: dict[int, Stream] = {}
        self.room = asyncio.Event()
        self.room.set()

    def attach(self, transport: asyncio.Transport | None) -> None:
        """From now on write there; None: nowhere."""
        self._transport = transport
        if transport is not None:
            transport.set_write_buffer_limits(high=BUFFER)
        self.room.set()

    def write(self, data: bytes) -> None:
        """With whatever else this turn of the loop writes."""
        self._parts.append(data)
        self._size += len(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        elif self._size > BUFFER:
            self.flush()

    def _flush(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """Now."""
        if self._parts and self._transport is not None:
            self._transport.write(b"".join(self._parts))
        self._parts.clear()
        self._size = 0

    def unstick(self) -> None:
        """The window grew: go on with who waits."""
        for stream in list(self.stuck.values()):
            if self.window <= 0:
                break
            stream.advance()
