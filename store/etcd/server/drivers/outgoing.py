"""What a connection writes: all of one turn of the loop at once, and of each stream no more than HTTP/2's windows and
the socket take."""

import asyncio
from typing import TYPE_CHECKING

from ..frames import DEFAULT_WINDOW, MAX_FRAME

if TYPE_CHECKING:
    from .streams import Stream

BUFFER = 1 << 18
"""Bytes to write before a connection's calls wait."""
LARGEST_FRAME = 1 << 17
"""Larger ones are not written, whatever a client takes: streams take turns."""


class Outgoing:
    """`window` and `max_frame` are the client's limits, `initial` what a new stream may send. `sent`: bytes of bodies
    so far; `waiting`: those that are not, and `unread`: those of answers that are complete. `room` is set while the
    socket takes more, `calm` while also few answers wait (`backlog`); `stuck` are the streams that have a window but
    wait for the connection's, or for the socket."""

    def __init__(self, backlog: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._size, self._flushing = 0, False
        self._backlog = backlog
        self.window, self.initial, self.max_frame = DEFAULT_WINDOW, DEFAULT_WINDOW, MAX_FRAME
        self.sent = self.waiting = self.unread = 0
        self.stuck: dict[int, Stream] = {}
        self.room, self.calm = asyncio.Event(), asyncio.Event()
        self.resume()

    def attach(self, transport: asyncio.Transport | None) -> None:
        """From now on write there; None: nowhere."""
        self._transport = transport
        if transport is not None:
            transport.set_write_buffer_limits(high=BUFFER)
        self.resume()

    def pause(self) -> None:
        """The socket takes no more."""
        self.room.clear()
        self.calm.clear()

    def resume(self) -> None:
        """It does again."""
        self.room.set()
        self.leave_unread(0)
        self.unstick()

    def leave_unread(self, size: int) -> None:
        """So many more bytes of answers wait for the client, or fewer."""
        self.unread += size
        if self.unread > self._backlog:
            self.calm.clear()
        elif self.room.is_set():
            self.calm.set()

    @property
    def buffered(self) -> int:
        """Bytes that the socket has not taken."""
        return self._size + (0 if self._transport is None else self._transport.get_write_buffer_size())

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
        parts, self._parts, self._size = self._parts, [], 0
        if parts and self._transport is not None:
            self._transport.write(b"".join(parts))

    def unstick(self) -> None:
        """There is more room: go on with who waits for it."""
        while self.stuck and self.window > 0 and self.room.is_set():
            next(iter(self.stuck.values())).advance()
