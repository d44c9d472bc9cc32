"""An engine: the store's contract over a keyspace in memory, changed by groups of requests (groups.py) as they become
durable, and a feed of what changed (feed.py).

How a group is made durable is the subclass's (`persist`): at once in memory, by a writer thread on disk. Leases live on
the loop's clock (lessor.py); an ended lease is one more request of the next group.
"""

import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from ..errors import Compacted, Invalid, TtlTooLarge
from ..kv import (
    Compare,
    DeleteOp,
    EventKind,
    KeyValue,
    Lease,
    LeaseStatus,
    Op,
    PutOp,
    RangeOp,
    RangeResult,
    Result,
    TxnOp,
    TxnResult,
    WatchBatch,
)
from .ageing import Ageing, parts
from .draft import Draft
from .feed import Feed, Watcher
from .groups import Groups, Request
from .keyspace import FIRST_REVISION, Keyspace, bounds, check_key
from .lessor import Lessor
from .overlay import Overlay
from .past import past_ranges, undo
from .ranges import check_range, select
from .transaction import Unread, future

RING = 10_000
MAX_TTL = 9_000_000_000


class Engine:
    """The `Store` contract over `persist`; one event loop, opened and closed on it."""

    def __init__(
        self, keys: Keyspace, ttls: Mapping[int, float], *, ring: int = RING, age: float | None = None
    ) -> None:
        self.keys = keys
        for lease in ttls:
            keys.leases.setdefault(lease, set())
        self._feed = Feed(keys.revision, ring)
        self.lessor = Lessor(ttls, lambda lease: self.groups.post(lambda draft: draft.end(lease)))

        def merged(draft: Draft) -> None:
            self.lessor.follow(draft)
            self._feed.tell(draft.batches)

        self.groups = Groups(keys, self.persist, merged)
        self.ageing = Ageing(age, keys, lambda upto: self.groups.post(lambda draft: draft.compact(upto)))

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        """Make the draft durable, then call `groups.settle` on the loop; the subclass's part."""
        self.groups.settle(draft, requests, None)

    def kept_from(self) -> int:
        """The first revision a watch may begin at; the subclass's part when it keeps a log."""
        return max(self._feed.first, self.keys.compacted + 1)

    async def history(
        self, low: bytes, high: bytes | None, first: int, last: int
    ) -> tuple[list[WatchBatch[bytes]], int]:
        """A page of what is older than the ring (feed.History); the subclass's part when it keeps a log."""
        raise compacted(first, self.kept_from() - 1)

    async def range(
        self, key: bytes, *, end: bytes | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult[bytes]:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp[bytes]) -> RangeResult[bytes]:
        """A range with everything that it can ask for. Future, or Compacted when its revision is older than the last
        compacted one."""
        self.groups.check()
        check_range(op)
        if not op.revision:
            return select(op, self.keys, self.keys.revision)
        if op.revision > self.keys.revision:
            raise future(op.revision, self.keys.revision)
        if op.revision < self.kept_from() - 1:
            raise compacted(op.revision, self.kept_from() - 1)
        before = await undo(op, self._feed, self.history)
        self.groups.check()
        return select(op, Overlay(self.keys, before), self.keys.revision)

    async def get(self, key: bytes) -> KeyValue[bytes] | None:
        self.groups.check()
        check_key(key)
        return self.keys.items.get(key)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        op = PutOp(key, value, lease)
        revision: int = await self.groups.submit(lambda draft: draft.put(op))
        return revision

    async def delete(self, key: bytes, *, end: bytes | None = None, prefix: bool = False) -> int:
        count = await self.apply(DeleteOp(key, end, prefix))
        assert isinstance(count, int)
        return count

    async def txn(
        self, compares: Sequence[Compare[bytes]], then: Sequence[Op[bytes]], otherwise: Sequence[Op[bytes]] = ()
    ) -> TxnResult[bytes]:
        result = await self.apply(TxnOp(compares, then, otherwise))
        assert isinstance(result, TxnResult)
        return result

    async def apply(self, op: Op[bytes]) -> Result[bytes]:
        """One operation with everything that it can ask for, alone in its transaction."""
        if isinstance(op, RangeOp):
            return await self.read(op)
        txn = op if isinstance(op, TxnOp) else TxnOp(then=(op,))
        past: dict[RangeOp[bytes], RangeResult[bytes] | Compacted] = {}
        while True:
            for wanted in past_ranges((txn,), past):
                if 0 < wanted.revision <= self.keys.revision:
                    past[wanted] = await self._try(wanted)
            with suppress(Unread):  # of a revision that the group before this one made
                result: TxnResult[bytes] = await self.groups.submit(lambda draft: draft.txn(txn, past))
                return result if txn is op else result.results[0]

    async def _try(self, op: RangeOp[bytes]) -> RangeResult[bytes] | Compacted:
        """A read that only matters when its branch is taken."""
        try:
            return await self.read(op)
        except Compacted as late:
            return late

    @asynccontextmanager
    async def watch(
        self,
        key: bytes,
        *,
        end: bytes | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[Watcher]:
        """Of one key, of [key, end), or of a prefix, without events of the kinds it `skips`; the watcher tells its
        progress too."""
        self.groups.check()
        low, high = bounds(key, end, prefix)
        first = self._feed.last + 1 if from_revision is None else from_revision
        if first < FIRST_REVISION:
            raise Invalid(f"revision {first} makes no sense; an empty store's is {FIRST_REVISION}")
        first = max(first, FIRST_REVISION + 1)
        if first < self.kept_from():
            raise compacted(first, self.kept_from() - 1)
        watcher = Watcher(low, high, first, self._feed, self.history, skips=frozenset(skips))
        self._feed.join(watcher)
        try:
            yield watcher
        finally:
            self._feed.leave(watcher)

    async def lease_grant(self, ttl: float, *, id: int = 0, minimum: float = 0) -> Lease:
        """`id` chooses the lease's (0: none does); Conflict when it lives already. A ttl below `minimum` is
        raised to it, whatever it is: the rule of etcd's servers, whose minimum is 2 s."""
        ttl = max(ttl, minimum) if minimum else ttl
        if not 0 < ttl <= MAX_TTL:
            raise (TtlTooLarge if ttl > MAX_TTL else Invalid)(
                f"a lease of {ttl} s makes no sense; give a ttl above 0 and at most {MAX_TTL}"
            )
        # never used before, so that nobody renews somebody else's; below 2^53 for JSON's sake
        lease = id or secrets.randbelow(2**53 - 1) + 1
        await self.groups.submit(lambda draft: draft.grant(lease, ttl))
        return Lease(id=lease, ttl=ttl)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[bytes]:
        """How long a lease has, and its keys. NotFound when it has ended."""
        self.groups.check()
        granted, remaining = self.lessor.time_to_live(lease)
        keys = tuple(sorted(self.keys.leases.get(lease, ())))
        return LeaseStatus(id=lease, granted=granted, remaining=remaining, keys=keys)

    async def leases(self) -> tuple[int, ...]:
        """Every lease that has not ended, sorted."""
        self.groups.check()
        return tuple(sorted(self.lessor))

    async def lease_keepalive(self, lease: int) -> Lease:
        self.groups.check()
        return Lease(id=lease, ttl=self.lessor.renew(lease))

    async def lease_revoke(self, lease: int) -> None:
        await self.groups.submit(lambda draft: draft.end(lease))

    async def compact(self, revision: int) -> None:
        """Keep nothing that is older than the keys at this revision, which stays the oldest that can be read. Watches
        that are further behind end with Compacted. Future; Compacted when that was done before. A long past goes a
        part at a time, so that nobody waits for all of it."""
        self.groups.check()
        if revision > self.keys.revision:
            raise future(revision, self.keys.revision)
        last = self.kept_from() - 1
        if revision <= last:
            raise Compacted(f"revision {revision} is compacted already, as is {last}", last)
        for upto in parts(last, revision):
            with suppress(Compacted):  # by somebody else meanwhile
                await self.groups.submit(partial(Draft.compact, revision=upto))

    async def defragment(self) -> None:
        """Give the space of what is no longer kept back to the disk; writers wait meanwhile. Unavailable."""
        draft: Draft = await self.groups.submit(lambda draft: draft.defragment())
        if draft.failure is not None:
            raise draft.failure

    async def close(self) -> None:
        self.ageing.stop()
        self.lessor.stop()
        await self.groups.close()
        self.lessor.stop()  # what was still accepted may have granted one
        self._feed.end()


def compacted(revision: int, last: int) -> Compacted:
    """The error of who comes too late; `last` is the last compacted revision."""
    return Compacted(
        f"revision {revision} is no longer kept; range again and watch from the revision after its own", last
    )
