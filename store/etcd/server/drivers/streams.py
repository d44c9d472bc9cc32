"""One call of a connection: what came of its body, and what still has to go."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ..frames import DATA, END_HEADERS, END_STREAM, FOUR, HEADERS, WINDOW_UPDATE, frame, head
from ..head import Head
from ..limits import STREAM_COST, STREAM_WINDOW

if TYPE_CHECKING:
    from .http2 import Connection


class Stream:
    """`body` is what nobody has looked at, `held` all that came and still takes memory, `took` all that ever came;
    `heard`: the client says no more. `task`, `method`, `inbox`, `wake` and `timer` are for who answers; the timer is
    cancelled when the stream ends."""

    __slots__ = (
        "answered",
        "body",
        "connection",
        "head",
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
        "timer",
        "took",
        "trailers",
        "waiter",
        "wake",
        "window",
    )

    def __init__(self, connection: "Connection", stream: int, said: Head, heard: bool) -> None:
        self.connection, self.id, self.head, self.heard = connection, stream, said, heard
        self.window = connection.out.initial
        self.body, self.out = bytearray(), bytearray()
        self.started, self.open, self.answered = False, True, False
        self.trailers: bytes | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.held = self.owed = self.took = 0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.method: object = None
        self.inbox: deque[bytes] = deque()
        self.wake: asyncio.Future[None] | None = None

    @property
    def cost(self) -> int:
        """In bytes of memory, about."""
        return STREAM_COST + self.head.size + self.held + len(self.out)

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
        out.sent += size
        parts = (
            head(len(block), HEADERS, END_HEADERS, stream),
            block,
            head(size, DATA, 0, stream),
            data,
            head(len(trailers), HEADERS, END_HEADERS | END_STREAM, stream),
            trailers,
        )
        out.write(b"".join(parts))
        self.connection.patience.earn()
        self.connection.close_stream(self)

    def write(self, block: bytes, data: bytes) -> None:
        """Part of a response, and its headers when it is the first; wait with `drained` before the next."""
        if not self.open:
            return
        size, out = len(data), self.connection.out
        if not self.started:
            self.started = True
            out.write(frame(HEADERS, END_HEADERS, self.id, block))
        if size:
            self.answered = True
            self.connection.patience.earn()
        if self.out or size > out.window or size > self.window or size > out.max_frame:
            self.out += data
            out.waiting += size
            self.connection.hold(size)
            self.advance()
        elif size:
            out.window -= size
            out.sent += size
            self.window -= size
            out.write(head(size, DATA, 0, self.id) + data)

    def finish(self, trailers: bytes) -> None:
        """The last headers, after all that was written."""
        if self.open and self.trailers is None:
            self.trailers = trailers
            self.connection.out.leave_unread(len(self.out))
            self.advance()

    def advance(self) -> None:
        """Write what the windows and the socket allow of what waits."""
        out, waiting, at = self.connection.out, self.out, 0
        while at < len(waiting) and self.window > 0 and out.window > 0 and out.room.is_set():
            size = min(len(waiting) - at, out.window, self.window, out.max_frame)
            out.window -= size
            self.window -= size
            out.write(frame(DATA, 0, self.id, bytes(waiting[at : at + size])))
            at += size
        del waiting[:at]
        out.sent += at
        out.waiting -= at
        self.connection.hold(-at)
        if self.trailers is not None:
            out.leave_unread(-at)
        if waiting and self.window > 0:
            out.stuck[self.id] = self
            return
        out.stuck.pop(self.id, None)
        if waiting:  # until the client takes more of this one
            return
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
        if not self.open:
            return
        self.held -= size
        self.connection.took(size)
        self.owed += size
        if self.owed > STREAM_WINDOW // 2 and not self.heard:
            self.connection.out.write(frame(WINDOW_UPDATE, 0, self.id, FOUR.pack(self.owed)))
            self.owed = 0

    def end(self) -> None:
        """It is over, answered or not."""
        self.open = False
        if self.timer is not None:
            self.timer.cancel()
        out = self.connection.out
        out.stuck.pop(self.id, None)
        out.waiting -= len(self.out)
        if self.trailers is not None:
            out.leave_unread(-len(self.out))
        self.rouse()
