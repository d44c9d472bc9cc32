"""An engine: requests become drafts, drafts become durable in groups, and only then are they answered and seen.

Everything here runs on the event loop's thread. While one group is being made durable, new requests wait; they form the
next group. How a group is made durable is the subclass's (`persist`): at once in memory, by a writer thread on disk.
Leases live on the loop's clock; an ended lease is one more request of the next group.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .errors import Compacted, Invalid, NotFound, StoreError, Unavailable
from .keyspace import Draft, Keyspace, upper_bound
from .kv import Compare, DeleteOp, KeyValue, Lease, Op, PutOp, RangeOp, RangeResult, TxnResult, WatchBatch

RING = 10_000
GROUP = 1024


@dataclass(slots=True)
class Request:
    """One change that somebody waits for; `act` runs it on a draft."""

    act: Callable[[Draft], Any]
    done: "asyncio.Future[Any] | None"
    result: Any = None
    error: StoreError | None = None


@dataclass(slots=True, eq=False)
class Watcher:
    """One watch: its range and what it has not read yet; None in the queue is the store's end."""

    low: str
    high: str | None
    queue: "asyncio.Queue[WatchBatch | None]"

    def cut(self, batch: WatchBatch) -> WatchBatch | None:
        """The part of a batch that is in the range."""
        events = tuple(
            event
            for event in batch.events
            if event.kv.key >= self.low and (self.high is None or event.kv.key < self.high)
        )
        if len(events) == len(batch.events):
            return batch
        return WatchBatch(revision=batch.revision, events=events) if events else None


class Engine:
    """The `Store` contract over `persist`; one event loop, opened and closed on it."""

    def __init__(self, keys: Keyspace, leases: dict[int, float], compacted: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._compacted = compacted
        self._waiting: deque[Request] = deque()
        self._flying = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._ring: deque[WatchBatch] = deque(maxlen=RING)
        self._ring_from = keys.revision + 1
        self._watchers: set[Watcher] = set()
        self._ttls = dict(leases)
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._next_lease = max(leases, default=0) + 1
        for lease, ttl in leases.items():
            keys.leases.setdefault(lease, set())
            self._arm(lease, ttl)

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        """Make the draft durable, then call `settle` on the loop; the subclass's part."""
        self.settle(draft, requests, None)

    async def history(self, low: str, high: str | None, first: int, last: int) -> list[WatchBatch]:
        """Batches of [first, last] older than the ring; the subclass's part when it keeps a log."""
        raise Compacted(f"revision {first} is no longer kept; range again and watch from its revision")

    async def range(self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0) -> RangeResult:
        self._open()
        return self._keys.select(RangeOp(key, end, prefix, limit))

    async def get(self, key: str) -> KeyValue | None:
        self._open()
        return self._keys.items.get(key)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        ops = (PutOp(key, value, lease),)
        result: TxnResult = await self._submit(lambda draft: draft.txn((), ops, ()))
        return result.revision

    async def delete(self, key: str, *, end: str | None = None, prefix: bool = False) -> int:
        result = await self.txn((), (DeleteOp(key, end, prefix),))
        count = result.results[0]
        assert isinstance(count, int)
        return count

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        result: TxnResult = await self._submit(lambda draft: draft.txn(compares, then, otherwise))
        return result

    @asynccontextmanager
    async def watch(
        self, key: str, *, prefix: bool = False, from_revision: int | None = None
    ) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        self._open()
        high = upper_bound(key) if prefix else key + "\0"
        watcher = Watcher(key, high, asyncio.Queue())
        self._watchers.add(watcher)
        seen = self._keys.revision
        try:
            past = await self._past(watcher, from_revision, seen)
            yield self._follow(watcher, past)
        finally:
            self._watchers.discard(watcher)

    async def lease_grant(self, ttl: float) -> Lease:
        if not 0 < ttl <= 1e9:
            raise Invalid(f"a lease of {ttl} s makes no sense; give a ttl above 0")
        lease, self._next_lease = self._next_lease, self._next_lease + 1
        await self._submit(lambda draft: draft.grant(lease, ttl))
        return Lease(id=lease, ttl=ttl)

    async def lease_keepalive(self, lease: int) -> Lease:
        self._open()
        if lease not in self._ttls:
            raise NotFound(f"lease {lease} does not exist; it has ended or was never granted")
        self._arm(lease, self._ttls[lease])
        return Lease(id=lease, ttl=self._ttls[lease])

    async def lease_revoke(self, lease: int) -> None:
        await self._submit(lambda draft: draft.end(lease))

    async def close(self) -> None:
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        await self._idle.wait()
        for watcher in self._watchers:
            watcher.queue.put_nowait(None)

    def _open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    async def _submit(self, act: Callable[[Draft], Any]) -> Any:
        self._open()
        done = self._loop.create_future()
        self._enqueue(Request(act, done))
        return await done

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if not self._flying:
            self._flying = True
            self._idle.clear()
            self._loop.call_soon(self._depart)

    def _depart(self) -> None:
        """Evaluate everything that waits as one draft and hand it to `persist`."""
        requests = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        draft = Draft(self._keys)
        for request in requests:
            try:
                request.result = request.act(draft)
            except StoreError as error:
                request.error = error
        if draft.batches or draft.granted or draft.ended:
            self.persist(draft, requests)
        else:
            self.settle(draft, requests, None)

    def settle(self, draft: Draft, requests: list[Request], failure: StoreError | None) -> None:
        """The group is durable (or failed as a whole): merge, answer, tell the watchers, take the next."""
        if failure is None:
            draft.merge()
            for lease, ttl in draft.granted.items():
                self._ttls[lease] = ttl
                self._arm(lease, ttl)
            for lease in draft.ended:
                self._ttls.pop(lease, None)
                if timer := self._timers.pop(lease, None):
                    timer.cancel()
            self._tell(draft.batches)
        for request in requests:
            if request.done is not None and not request.done.done():
                error = failure or request.error
                if error:
                    request.done.set_exception(error)
                else:
                    request.done.set_result(request.result)
        if self._waiting:
            self._loop.call_soon(self._depart)
        else:
            self._flying = False
            self._idle.set()

    def _tell(self, batches: list[WatchBatch]) -> None:
        for batch in batches:
            if len(self._ring) == RING:
                self._ring_from = self._ring[1].revision
            self._ring.append(batch)
            for watcher in self._watchers:
                if part := watcher.cut(batch):
                    watcher.queue.put_nowait(part)

    async def _past(self, watcher: Watcher, first: int | None, last: int) -> list[WatchBatch]:
        if first is None or first > last:
            return []
        if first <= self._compacted:
            raise Compacted(f"revision {first} is no longer kept; range again and watch from its revision")
        recent = [part for batch in self._ring if first <= batch.revision <= last and (part := watcher.cut(batch))]
        if first < self._ring_from:
            older = await self.history(watcher.low, watcher.high, first, min(last, self._ring_from - 1))
            return [*older, *recent]
        return recent

    async def _follow(self, watcher: Watcher, past: list[WatchBatch]) -> AsyncIterator[WatchBatch]:
        for batch in past:
            yield batch
        while (batch_or_end := await watcher.queue.get()) is not None:
            yield batch_or_end
        raise Unavailable("the store is closed")

    def _arm(self, lease: int, ttl: float) -> None:
        if timer := self._timers.pop(lease, None):
            timer.cancel()
        self._timers[lease] = self._loop.call_later(ttl, self._expire, lease)

    def _expire(self, lease: int) -> None:
        if not self._closed and lease in self._ttls:
            self._enqueue(Request(lambda draft: draft.end(lease), None))
            # until the end is durable the lease must be tried again
            self._timers[lease] = self._loop.call_later(1.0, self._expire, lease)
