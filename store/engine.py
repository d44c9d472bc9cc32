"""An engine: requests become drafts, drafts become durable in groups, and only then are they answered and seen.

Everything here runs on the event loop's thread. One group at a time is made durable, and it was drafted over what is
committed; requests that come meanwhile form the next group. So a group that fails takes nothing else with it. How a
group is made durable is the subclass's (`persist`): at once in memory, by a writer thread on disk. Leases live on the
loop's clock; an ended lease is one more request of the next group.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .draft import Draft
from .errors import Compacted, Invalid, StoreError, Unavailable
from .feed import Feed, Watcher
from .keyspace import FIRST_REVISION, Keyspace, bounds, check_key
from .kv import Compare, DeleteOp, KeyValue, Lease, Op, PutOp, RangeOp, RangeResult, TxnResult, WatchBatch
from .leases import Leases

RING = 10_000
GROUP = 1024
MAX_TTL = 9_000_000_000


@dataclass(slots=True)
class Request:
    """One change that somebody may wait for; `act` runs it on a draft."""

    act: Callable[[Draft], Any]
    done: "asyncio.Future[Any] | None"
    result: Any = None
    error: StoreError | None = None


class Engine:
    """The `Store` contract over `persist`; one event loop, opened and closed on it."""

    def __init__(self, keys: Keyspace, ttls: Mapping[int, float], *, ring: int = RING) -> None:
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._waiting: deque[Request] = deque()
        self._flying = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._feed = Feed(keys.revision, ring)
        self._leases = Leases(ttls, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        for lease in ttls:
            keys.leases.setdefault(lease, set())
        self._arm()

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        """Make the draft durable, then call `settle` on the loop; the subclass's part."""
        self.settle(draft, requests, None)

    def kept_from(self) -> int:
        """The first revision a watch may begin at; the subclass's part when it keeps a log."""
        return self._feed.first

    async def history(self, low: str, high: str | None, first: int, last: int) -> tuple[list[WatchBatch], int]:
        """A page of what is older than the ring (feed.History); the subclass's part when it keeps a log."""
        raise compacted(first)

    async def range(self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0) -> RangeResult:
        self._open()
        return self._keys.select(RangeOp(key, end, prefix, limit))

    async def get(self, key: str) -> KeyValue | None:
        self._open()
        check_key(key)
        return self._keys.items.get(key)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        op = PutOp(key, value, lease)
        revision: int = await self._submit(lambda draft: draft.put(op))
        return revision

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
        low, high = bounds(key, None, prefix)
        first = self._feed.last + 1 if from_revision is None else from_revision
        if first < FIRST_REVISION:
            raise Invalid(f"revision {first} makes no sense; an empty store's is {FIRST_REVISION}")
        first = max(first, FIRST_REVISION + 1)
        if first < self.kept_from():
            raise compacted(first)
        watcher = Watcher(low, high, first, self._feed, self.history)
        self._feed.join(watcher)
        try:
            yield watcher
        finally:
            self._feed.leave(watcher)

    async def lease_grant(self, ttl: float) -> Lease:
        if not 0 < ttl <= MAX_TTL:
            raise Invalid(f"a lease of {ttl} s makes no sense; give a ttl above 0 and at most {MAX_TTL}")
        # never used before, so that nobody renews somebody else's; below 2^53 for JSON's sake
        lease = secrets.randbelow(2**53 - 1) + 1
        await self._submit(lambda draft: draft.grant(lease, ttl))
        return Lease(id=lease, ttl=ttl)

    async def lease_keepalive(self, lease: int) -> Lease:
        self._open()
        return Lease(id=lease, ttl=self._leases.renew(lease, self._loop.time()))

    async def lease_revoke(self, lease: int) -> None:
        await self._submit(lambda draft: draft.end(lease))

    async def close(self) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()
        await self._idle.wait()
        self._feed.end()

    def settle(self, draft: Draft, requests: list[Request], failure: StoreError | None) -> None:
        """The group is durable (or failed as a whole): merge, tell the watchers, answer, take the next."""
        if failure is None:
            draft.merge()
            self._settle_leases(draft)
            self._feed.tell(draft.batches)
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

    def _settle_leases(self, draft: Draft) -> None:
        now = self._loop.time()
        for lease, ttl in draft.granted.items():
            self._leases.begin(lease, ttl, now)
        for lease in draft.ended:
            self._leases.end(lease)
        if draft.granted:
            self._arm()

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
        failure: StoreError | None = None
        for request in requests:
            try:
                request.result = request.act(draft)
            except StoreError as error:
                request.error = error
            except Exception as error:  # a defect of ours: half a request may be in the draft, so all of it goes
                failure = StoreError(f"store: {error!r}; nothing of this group was kept; please report this")
        if failure or draft.empty:
            self.settle(draft, requests, failure)
        else:
            self.persist(draft, requests)

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        deadline = self._leases.deadline()
        self._timer = None if deadline is None or self._closed else self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        for lease in self._leases.due(self._loop.time()):
            self._enqueue(Request(lambda draft, lease=lease: draft.end(lease), None))  # type: ignore[misc]
        self._arm()


def compacted(revision: int) -> Compacted:
    """The error of a watch that comes too late."""
    return Compacted(f"revision {revision} is no longer kept; range again and watch from the revision after its own")
