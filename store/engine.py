"""An engine: the store's contract over a keyspace in memory, changed by groups of requests (groups.py) as they become
durable, and a feed of what changed (feed.py).

How a group is made durable is the subclass's (`persist`): at once in memory, by a writer thread on disk. Leases live on
the loop's clock (lessor.py); an ended lease is one more request of the next group.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from .draft import Draft
from .errors import Compacted, Invalid
from .feed import Feed, Watcher
from .groups import Groups, Request
from .keyspace import FIRST_REVISION, Keyspace, bounds, check_key
from .kv import Compare, DeleteOp, KeyValue, Lease, Op, PutOp, RangeOp, RangeResult, TxnResult, WatchBatch
from .lessor import Lessor

RING = 10_000
MAX_TTL = 9_000_000_000


class Engine:
    """The `Store` contract over `persist`; one event loop, opened and closed on it."""

    def __init__(self, keys: Keyspace, ttls: Mapping[int, float], *, ring: int = RING) -> None:
        self.keys = keys
        for lease in ttls:
            keys.leases.setdefault(lease, set())
        self._feed = Feed(keys.revision, ring)
        self.lessor = Lessor(ttls, lambda lease: self.groups.post(lambda draft: draft.end(lease)))

        def merged(draft: Draft) -> None:
            self.lessor.follow(draft)
            self._feed.tell(draft.batches)

        self.groups = Groups(keys, self.persist, merged)

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        """Make the draft durable, then call `groups.settle` on the loop; the subclass's part."""
        self.groups.settle(draft, requests, None)

    def kept_from(self) -> int:
        """The first revision a watch may begin at; the subclass's part when it keeps a log."""
        return self._feed.first

    async def history(self, low: str, high: str | None, first: int, last: int) -> tuple[list[WatchBatch], int]:
        """A page of what is older than the ring (feed.History); the subclass's part when it keeps a log."""
        raise compacted(first)

    async def range(self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0) -> RangeResult:
        self.groups.check()
        return self.keys.select(RangeOp(key, end, prefix, limit))

    async def get(self, key: str) -> KeyValue | None:
        self.groups.check()
        check_key(key)
        return self.keys.items.get(key)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        op = PutOp(key, value, lease)
        revision: int = await self.groups.submit(lambda draft: draft.put(op))
        return revision

    async def delete(self, key: str, *, end: str | None = None, prefix: bool = False) -> int:
        result = await self.txn((), (DeleteOp(key, end, prefix),))
        count = result.results[0]
        assert isinstance(count, int)
        return count

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        result: TxnResult = await self.groups.submit(lambda draft: draft.txn(compares, then, otherwise))
        return result

    @asynccontextmanager
    async def watch(
        self, key: str, *, prefix: bool = False, from_revision: int | None = None
    ) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        self.groups.check()
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
        await self.groups.submit(lambda draft: draft.grant(lease, ttl))
        return Lease(id=lease, ttl=ttl)

    async def lease_keepalive(self, lease: int) -> Lease:
        self.groups.check()
        return Lease(id=lease, ttl=self.lessor.renew(lease))

    async def lease_revoke(self, lease: int) -> None:
        await self.groups.submit(lambda draft: draft.end(lease))

    async def close(self) -> None:
        self.lessor.stop()
        await self.groups.close()
        self.lessor.stop()  # what was still accepted may have granted one
        self._feed.end()


def compacted(revision: int) -> Compacted:
    """The error of a watch that comes too late."""
    return Compacted(f"revision {revision} is no longer kept; range again and watch from the revision after its own")
