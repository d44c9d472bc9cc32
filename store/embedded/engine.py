"""An engine: the store's contract over what base.py keeps. Reads are answered from memory, what is older than that from
the feed and the log (past.py); a change is drafted, made durable, and only then answered."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress

from ..errors import Compacted, Invalid
from ..kv import (
    Compare,
    DeleteOp,
    EventKind,
    KeyValue,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Result,
    TxnOp,
    TxnResult,
)
from .base import compacted
from .feed import Watcher
from .keyspace import FIRST_REVISION, bounds, check_key
from .leasing import Leasing
from .past import past_ranges, read_past
from .ranges import check_range, select
from .transaction import Unread, future
from .upkeep import Upkeep


class Engine(Leasing, Upkeep):
    """The `Store` contract over `persist`; one event loop, opened and closed on it."""

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
        found = await read_past(op, self.keys, self.feed, self.lookup)
        self.groups.check()
        return found

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
        if isinstance(op, PutOp):
            put: int | PutResult[bytes] = await self.groups.submit(lambda draft: draft.put(op))
            return put
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
        first = self.feed.last + 1 if from_revision is None else from_revision
        if first < FIRST_REVISION:
            raise Invalid(f"revision {first} makes no sense; an empty store's is {FIRST_REVISION}")
        first = max(first, FIRST_REVISION + 1)
        if first < self.kept_from():
            raise compacted(first, self.kept_from() - 1)
        watcher = Watcher(low, high, first, self.feed, self.history, skips=frozenset(skips))
        try:
            yield watcher
        finally:
            self.feed.leave(watcher)

    async def close(self) -> None:
        self.ageing.stop()
        self.lessor.stop()
        await self.groups.close()
        self.lessor.stop()  # what was still accepted may have granted one
        self.feed.end()
