"""One client's stream of watches: what is sent on it, and in which order.

A stream has one lock: who holds it sends. Answers to requests (watch.py), the events of watches that keep up (`pump`),
and those of each that is behind (`_catch_up`) wait for it in order, so a long past holds nobody up for more than one
response, and a client that reads slowly stops all of them. A watch holds no events but those being sent: it is a cursor
(a `Watcher`), which lags.
"""

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ...embedded.feed import Watcher
from ...errors import Compacted, Unavailable
from ...kv import WatchBatch
from .. import etcd_pb2 as pb
from .calls import Send
from .events import Encoder
from .member import Member

REVISIONS, BYTES = 1000, 1 << 20
"""The most of several revisions that one response has."""
LOADS = 4
"""Pages of the past that a stream has in memory at a time."""
NO_WATCH = -1


@dataclass(slots=True, eq=False)
class Watch:
    """One of a stream's. `quiet`: no events since the last progress notification; `queued`: there may be something to
    send; `ended`: nothing more of it is sent."""

    id: int
    watcher: Watcher
    leave: AsyncExitStack
    prev_kv: bool
    progress: bool
    fragment: bool
    quiet: bool = True
    queued: bool = True
    ended: bool = False


class Bell(asyncio.Event):
    """Rung by the feed when a watch that was up to date has events: puts it on its stream's list."""

    def __init__(self, stream: "Stream", watch: Watch) -> None:
        super().__init__()
        self._stream, self._watch = stream, watch

    def set(self) -> None:
        super().set()
        self._stream.queue(self._watch)


class Stream:
    """`send` is the transport's; `tasks` is where watches that are behind catch up."""

    def __init__(self, member: Member, encoder: Encoder, send: Send, tasks: asyncio.TaskGroup) -> None:
        self._member, self._encoder, self._send, self._tasks = member, encoder, send, tasks
        self._ready: deque[Watch] = deque()
        self._work = asyncio.Event()
        self._lock = asyncio.Lock()
        self._loads = asyncio.Semaphore(LOADS)
        self._asked = False
        self.watches: dict[int, Watch] = {}

    def queue(self, watch: Watch) -> None:
        """There may be something to send of this watch."""
        if not watch.queued:
            watch.queued = True
            self._ready.append(watch)
            self._work.set()

    def ask_progress(self) -> None:
        """Say, when all events were sent, up to which revision."""
        self._asked = True
        self._work.set()

    async def tell(self, response: pb.WatchResponse) -> None:
        """Send an answer, in its turn; as of now when it does not say of when."""
        if not response.HasField("header"):
            response.header.CopyFrom(self._member.header())
        async with self._lock:
            await self._send(response.SerializeToString())

    async def tell_late(self, watch_id: int, error: Compacted) -> None:
        """The end of a watch whose events are gone."""
        header = self._member.header(0)
        await self.tell(
            pb.WatchResponse(header=header, watch_id=watch_id, canceled=True, compact_revision=error.revision)
        )

    async def pump(self) -> None:
        """Send what the watches have that keep up, each in its turn. Unavailable when the store is closed."""
        while True:
            if not self._ready:
                if self._asked and await self._progress(list(self.watches.values()), NO_WATCH):
                    self._asked = False
                self._work.clear()
                await self._work.wait()
            while self._ready:
                watch = self._ready.popleft()
                watch.queued = False
                if watch.ended:
                    continue
                if _behind(watch.watcher):
                    watch.queued = True
                    self._tasks.create_task(self._catch_up(watch))
                else:
                    await self._send_new(watch)

    async def _send_new(self, watch: Watch) -> None:
        watcher, batches, size = watch.watcher, list[WatchBatch[bytes]](), 0
        async with self._lock:
            while len(batches) < REVISIONS and size < BYTES and not _behind(watcher):
                batch = watcher.feed.read(watcher)
                if batch is None:
                    break
                batches.append(batch)
                size += self._encoder.size(batch, watch.prev_kv)
            else:
                self.queue(watch)
            if batches and not watch.ended:
                await self._send_events(watch, batches)
        if watcher.feed.ended:
            raise Unavailable("the store is closed")

    async def _catch_up(self, watch: Watch) -> None:
        """Send what is no longer in the feed's ring, a page at a time."""
        try:
            while _behind(watch.watcher) and not watch.ended:
                async with self._loads:
                    await self._send_page(watch)
        except Compacted as error:
            if self.watches.pop(watch.id, None) is watch:
                watch.ended = True
                await watch.leave.aclose()
                await self.tell_late(watch.id, error)
            return
        watch.queued = False
        self.queue(watch)

    async def _send_page(self, watch: Watch) -> None:
        watcher = watch.watcher
        if not watcher.page:
            batches, seen = await watcher.history(watcher.low, watcher.high, watcher.next, watcher.feed.first - 1)
            watcher.page.extend(part for batch in batches if (part := watcher.cut(batch)))
            watcher.next = seen + 1
        while watcher.page:
            chunk, size = list[WatchBatch[bytes]](), 0
            while watcher.page and size < BYTES:
                chunk.append(watcher.page.popleft())
                size += self._encoder.size(chunk[-1], watch.prev_kv)
            async with self._lock:
                if watch.ended:
                    return
                await self._send_events(watch, chunk)

    async def _send_events(self, watch: Watch, batches: list[WatchBatch[bytes]]) -> None:
        watch.quiet = False
        header = self._member.header()
        for part in self._encoder.responses(header, watch.id, batches, watch.prev_kv, watch.fragment):
            await self._send(part)

    async def notify(self, seconds: float) -> None:
        """Tell watches that asked for it, and have heard of no event for so long, up to where there was none."""
        while True:
            await asyncio.sleep(seconds)
            for watch in [each for each in self.watches.values() if each.progress]:
                if watch.quiet:
                    await self._progress([watch], watch.id)
                watch.quiet = True

    async def _progress(self, watches: list[Watch], watch_id: int) -> bool:
        async with self._lock:
            if any(watch.ended or watch.queued or watch.watcher.progress is None for watch in watches):
                return False
            await self._send(pb.WatchResponse(header=self._member.header(), watch_id=watch_id).SerializeToString())
            return True

    async def close(self) -> None:
        """Forget all watches."""
        for watch in self.watches.values():
            await watch.leave.aclose()


def _behind(watcher: Watcher) -> bool:
    """Whether the ring has gone on without it."""
    return bool(watcher.page) or watcher.next < watcher.feed.first
