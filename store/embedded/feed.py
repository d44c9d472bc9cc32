"""Who is told of changes: a ring of recent batches, and watchers that are each a cursor into it.

Revisions in the ring have no gaps, so a cursor is one number. A watcher that keeps up is woken only by what it wants;
one that is slow holds nothing but its cursor: it reads on from the ring, or, when the ring has gone on without it, from
the engine's log, page by page (`History`). Writers never wait for watchers; watchers never miss or repeat a revision.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from ..errors import Unavailable
from ..kv import EventKind, WatchBatch

# of [first, last]: the batches in [low, high) of as many revisions as fit a page, and the last revision looked at
History = Callable[[bytes, bytes | None, int, int], Awaitable[tuple[list[WatchBatch[bytes]], int]]]


@dataclass(slots=True, eq=False)
class Watcher:
    """One watch: its range, what kinds of events it skips, and the next revision it has not seen.

    A wait that is given up (a timeout, say) loses nothing: the next one goes on from there."""

    low: bytes
    high: bytes | None
    next: int
    feed: "Feed"
    history: History
    page: deque[WatchBatch[bytes]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    skips: frozenset[EventKind] = frozenset()

    def __aiter__(self) -> "Watcher":
        return self

    async def __anext__(self) -> WatchBatch[bytes]:
        while True:
            if self.page:
                return self.page.popleft()
            if self.next < self.feed.first:
                batches, seen = await self.history(self.low, self.high, self.next, self.feed.first - 1)
                self.page.extend(part for batch in batches if (part := self.cut(batch)))
                self.next = seen + 1
            elif batch := self.feed.read(self):
                return batch
            elif self.feed.ended:
                raise Unavailable("the store is closed")
            else:
                self.wake.clear()
                await self.wake.wait()

    @property
    def progress(self) -> int | None:
        """The store's revision, when every event up to it was handed out; None while some are to come."""
        return self.feed.last if self.next > self.feed.last and not self.page else None

    async def wait(self, seconds: float) -> WatchBatch[bytes]:
        """The next batch; when none came for so long, one without events: all up to its revision was handed out
        (etcd's progress notification)."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    return await anext(self)
            except TimeoutError:
                if (revision := self.progress) is not None:
                    return WatchBatch(revision=revision, events=())

    def cut(self, batch: WatchBatch[bytes]) -> WatchBatch[bytes] | None:
        """The part of a batch that is in the range, and of no kind that is skipped."""
        low, high, skips = self.low, self.high, self.skips
        if len(batch.events) == 1:
            (event,) = batch.events
            key = event.kv.key
            return batch if key >= low and (high is None or key < high) and event.kind not in skips else None
        events = tuple(
            event
            for event in batch.events
            if event.kv.key >= low and (high is None or event.kv.key < high) and event.kind not in skips
        )
        if len(events) == len(batch.events):
            return batch
        return WatchBatch(revision=batch.revision, events=events) if events else None


class Feed:
    """The ring of the last `size` revisions: `first` to `last`."""

    def __init__(self, revision: int, size: int) -> None:
        self.first, self.last = revision + 1, revision
        self._size = size
        self._ring: dict[int, WatchBatch[bytes]] = {}
        self._watchers: set[Watcher] = set()
        self.ended = False
        self.dropped: Callable[[WatchBatch[bytes]], None] | None = None  # hears of what leaves the ring

    def tell(self, batches: list[WatchBatch[bytes]]) -> None:
        """New revisions, in order."""
        if not batches:
            return
        for batch in batches:
            self._ring[batch.revision] = batch
        start, self.last = self.last + 1, batches[-1].revision
        while len(self._ring) > self._size:
            old = self._ring.pop(self.first)
            self.first += 1
            if self.dropped:
                self.dropped(old)
        for watcher in self._watchers:
            if watcher.next >= start:
                self._nudge(watcher, batches)

    def end(self) -> None:
        """No more will come: watchers read what there is, then fail."""
        self.ended = True
        for watcher in self._watchers:
            watcher.wake.set()

    def join(self, watcher: Watcher) -> None:
        """Begin to be told."""
        self._watchers.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """Be told no more."""
        self._watchers.discard(watcher)

    def read(self, watcher: Watcher) -> WatchBatch[bytes] | None:
        """The next batch that the watcher wants, and step it past; None when it has seen all."""
        while watcher.next <= self.last:
            batch = self._ring[watcher.next]
            watcher.next += 1
            if part := watcher.cut(batch):
                return part
        return None

    def since(self, first: int) -> Iterator[WatchBatch[bytes]]:
        """The batches from a revision on that is in the ring, or yet to come."""
        return (self._ring[revision] for revision in range(first, self.last + 1))

    def _nudge(self, watcher: Watcher, batches: list[WatchBatch[bytes]]) -> None:
        """Wake a watcher that was up to date at the first batch it wants; step it over the others."""
        for batch in batches:
            if batch.revision < watcher.next:
                continue
            if watcher.cut(batch):
                watcher.wake.set()
                return
            watcher.next = batch.revision + 1
