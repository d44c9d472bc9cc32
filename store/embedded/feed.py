"""Who is told of changes: a ring of recent batches, and watchers that are each a cursor into it.

Revisions in the ring have no gaps, so a cursor is one number. A watcher that has seen all is idle, and is touched only
by what it wants (interest.py); one that is slow holds nothing but its cursor: it reads on from the ring, or, when the
ring has gone on without it, from the engine's log, page by page (`History`). Writers never wait for watchers; watchers
never miss or repeat a revision.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from ..errors import Unavailable
from ..kv import EventKind, WatchBatch
from .interest import Interest, Interests

# of [first, last]: the batches in [low, high) of as many revisions as fit a page, and the last revision looked at
History = Callable[[bytes, bytes | None, int, int], Awaitable[tuple[list[WatchBatch[bytes]], int]]]

RING_BYTES = 64 << 20


class Watcher:
    """One watch: what it wants, and the next revision it has not seen.

    A wait that is given up (a timeout, say) loses nothing: the next one goes on from there."""

    def __init__(
        self,
        low: bytes,
        high: bytes | None,
        first: int,
        feed: "Feed",
        history: History,
        *,
        skips: frozenset[EventKind] = frozenset(),
    ) -> None:
        self.low, self.high, self.feed, self.history = low, high, feed, history
        self.page = deque[WatchBatch[bytes]]()
        self.wake = asyncio.Event()
        self._next = first
        self.interest = feed.join(self, skips)
        if first > feed.last:
            self.rest(first)

    @property
    def next(self) -> int:
        """Everything before this revision was handed out, or is in `page`, or is not wanted."""
        return max(self._next, self.feed.last + 1) if self in self.interest.idle else self._next

    @next.setter
    def next(self, revision: int) -> None:
        self.interest.idle.pop(self, None)
        self._next = revision

    def rest(self, revision: int) -> None:
        """It has seen all that there is, and wants what comes from a revision on."""
        self._next = revision
        if self in self.interest.members:
            self.interest.idle[self] = None

    def stir(self, revision: int) -> bool:
        """There is something at a revision, and was nothing before: from now on it is not idle. False: it begins
        later."""
        if self._next > revision:
            return False
        self._next = revision
        self.wake.set()
        return True

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
        """The part of a batch that is in the range, and of no kind that is skipped; the same object for all who want
        the same."""
        return self.interest.cut(batch)


class Feed:
    """The ring of the last `size` revisions, `first` to `last`; fewer when their values are more than `most` bytes."""

    def __init__(self, revision: int, size: int, most: int = RING_BYTES) -> None:
        self.first, self.last = revision + 1, revision
        self._size, self._most, self._bytes = size, most, 0
        self._ring: dict[int, WatchBatch[bytes]] = {}
        self._interests = Interests[Watcher]()
        self._watchers = set[Watcher]()
        self.ended = False
        self.dropped: Callable[[WatchBatch[bytes]], None] | None = None  # hears of what leaves the ring

    def tell(self, batches: list[WatchBatch[bytes]]) -> None:
        """New revisions, in order."""
        if not batches:
            return
        for batch in batches:
            self._ring[batch.revision] = batch
            self._bytes += _weight(batch)
        self.last = batches[-1].revision
        while len(self._ring) > self._size or (self._bytes > self._most and len(self._ring) > 1):
            old = self._ring.pop(self.first)
            self._bytes -= _weight(old)
            self.first += 1
            if self.dropped:
                self.dropped(old)
        for batch in batches:
            for event in batch.events:
                for wanted in self._interests.at(event.kv.key):
                    if wanted.idle and event.kind not in wanted.skips:
                        stirred = [watcher for watcher in wanted.idle if watcher.stir(batch.revision)]
                        for watcher in stirred:
                            del wanted.idle[watcher]

    def end(self) -> None:
        """No more will come: watchers read what there is, then fail."""
        self.ended = True
        for watcher in self._watchers:
            watcher.wake.set()

    def join(self, watcher: Watcher, skips: frozenset[EventKind]) -> Interest[Watcher]:
        """Begin to be told."""
        self._watchers.add(watcher)
        return self._interests.join(watcher, watcher.low, watcher.high, skips)

    def leave(self, watcher: Watcher) -> None:
        """Be told no more."""
        self._watchers.discard(watcher)
        self._interests.leave(watcher, watcher.interest)

    def read(self, watcher: Watcher) -> WatchBatch[bytes] | None:
        """The next batch that the watcher wants, and step it past; None when it has seen all."""
        revision, cut = watcher.next, watcher.interest.cut
        while revision <= self.last:
            part = cut(self._ring[revision])
            revision += 1
            if part is not None:
                if revision > self.last:
                    watcher.rest(revision)
                else:
                    watcher.next = revision
                return part
        watcher.rest(revision)
        return None

    def batch(self, revision: int) -> WatchBatch[bytes]:
        """Of a revision that is in the ring."""
        return self._ring[revision]

    def since(self, first: int) -> Iterator[WatchBatch[bytes]]:
        """The batches from a revision on that is in the ring, or yet to come."""
        return (self._ring[revision] for revision in range(first, self.last + 1))


def _weight(batch: WatchBatch[bytes]) -> int:
    """The bytes of a batch's values, which are most of what it costs."""
    return sum([len(event.kv.value) for event in batch.events])
