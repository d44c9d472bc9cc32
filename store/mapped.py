"""A store in other words: the same store, in which only the keys are called otherwise (text.py, scoped.py).

What a key is called is a `Words`; that everything which holds keys is said in them, each way, is here, once.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from .kv import (
    Compare,
    DeleteOp,
    DeleteResult,
    Event,
    EventKind,
    KeyValue,
    Lease,
    LeaseStatus,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Result,
    Store,
    TxnOp,
    TxnResult,
    Watch,
    WatchBatch,
)

K = TypeVar("K", str, bytes)  # as the user has it
L = TypeVar("L", str, bytes)  # as the store beneath has it


class Words(Protocol[K, L]):
    """What keys are called above and beneath."""

    def key(self, key: K, *, ranged: bool) -> L:
        """One key, or where a range begins. Invalid."""
        ...

    def end(self, end: K) -> L:
        """Where a range ends. Invalid."""
        ...

    def entry(self, entry: KeyValue[L]) -> KeyValue[K]: ...

    def keys(self, keys: Iterable[L]) -> tuple[K, ...]:
        """Those of a lease, of which some may be nobody's above."""
        ...


class _Translation(Generic[K, L]):
    """Operations downwards, results upwards."""

    def __init__(self, words: Words[K, L]) -> None:
        self._words: Words[K, L] = words

    def key(self, key: K) -> L:
        return self._words.key(key, ranged=False)

    def selection(self, key: K, end: K | None, prefix: bool) -> tuple[L, L | None]:
        ranged = prefix or end is not None
        return self._words.key(key, ranged=ranged), None if end is None else self._words.end(end)

    def op(self, op: Op[K]) -> Op[L]:
        if isinstance(op, TxnOp):
            compares = tuple(map(self._compare, op.compares))
            return TxnOp(compares, tuple(map(self.op, op.then)), tuple(map(self.op, op.otherwise)))
        if isinstance(op, PutOp):
            return PutOp(self.key(op.key), op.value, op.lease, op.prev_kv, op.ignore_value, op.ignore_lease)
        if isinstance(op, DeleteOp):
            key, end = self.selection(op.key, op.end, op.prefix)
            return DeleteOp(key, end, op.prefix, op.prev_kv)
        return self.range(op)

    def range(self, op: RangeOp[K]) -> RangeOp[L]:
        key, end = self.selection(op.key, op.end, op.prefix)
        return RangeOp(
            key,
            end,
            op.prefix,
            op.limit,
            op.revision,
            op.keys_only,
            op.count_only,
            op.sort,
            op.descending,
            op.min_mod,
            op.max_mod,
            op.min_create,
            op.max_create,
        )

    def _compare(self, compare: Compare[K]) -> Compare[L]:
        key, end = self.selection(compare.key, compare.end, compare.prefix)
        return Compare(key, compare.target, compare.op, compare.value, end, compare.prefix)

    def keys(self, keys: Iterable[L]) -> tuple[K, ...]:
        return self._words.keys(keys)

    def entry(self, entry: KeyValue[L] | None) -> KeyValue[K] | None:
        return None if entry is None else self._words.entry(entry)

    def found(self, found: RangeResult[L]) -> RangeResult[K]:
        kvs = tuple(map(self._words.entry, found.kvs))
        return RangeResult(kvs=kvs, revision=found.revision, more=found.more, count=found.count)

    def result(self, result: Result[L]) -> Result[K]:
        if isinstance(result, int):
            return result
        if isinstance(result, RangeResult):
            return self.found(result)
        if isinstance(result, TxnResult):
            results = tuple(map(self.result, result.results))
            return TxnResult(succeeded=result.succeeded, revision=result.revision, results=results)
        if isinstance(result, PutResult):
            return PutResult(revision=result.revision, prev=self.entry(result.prev))
        return DeleteResult(count=result.count, prev=tuple(map(self._words.entry, result.prev)))

    def batch(self, batch: WatchBatch[L]) -> WatchBatch[K]:
        entry = self._words.entry
        events = tuple(
            Event(kind=event.kind, kv=entry(event.kv), prev=self.entry(event.prev)) for event in batch.events
        )
        return WatchBatch(revision=batch.revision, events=events)


class _MappedWatch(Generic[K, L]):
    def __init__(self, raw: Watch[L], words: _Translation[K, L]) -> None:
        self._raw: Watch[L] = raw
        self._words: _Translation[K, L] = words

    def __aiter__(self) -> "_MappedWatch[K, L]":
        return self

    async def __anext__(self) -> WatchBatch[K]:
        return self._words.batch(await anext(self._raw))

    async def wait(self, seconds: float) -> WatchBatch[K]:
        """The next batch, or one without events when none came for so long."""
        return self._words.batch(await self._raw.wait(seconds))


class MappedStore(Generic[K, L]):
    """`Store[K]` over `raw`, a `Store[L]`."""

    def __init__(self, raw: Store[L], words: Words[K, L]) -> None:
        self.raw: Store[L] = raw
        self._words: _Translation[K, L] = _Translation(words)

    async def range(
        self, key: K, *, end: K | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult[K]:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp[K]) -> RangeResult[K]:
        return self._words.found(await self.raw.read(self._words.range(op)))

    async def get(self, key: K) -> KeyValue[K] | None:
        return self._words.entry(await self.raw.get(self._words.key(key)))

    async def put(self, key: K, value: bytes, *, lease: int = 0) -> int:
        return await self.raw.put(self._words.key(key), value, lease=lease)

    async def delete(self, key: K, *, end: K | None = None, prefix: bool = False) -> int:
        low, high = self._words.selection(key, end, prefix)
        return await self.raw.delete(low, end=high, prefix=prefix)

    async def txn(
        self, compares: Sequence[Compare[K]], then: Sequence[Op[K]], otherwise: Sequence[Op[K]] = ()
    ) -> TxnResult[K]:
        result = await self.apply(TxnOp(compares, then, otherwise))
        assert isinstance(result, TxnResult)
        return result

    async def apply(self, op: Op[K]) -> Result[K]:
        return self._words.result(await self.raw.apply(self._words.op(op)))

    @asynccontextmanager
    async def watch(
        self,
        key: K,
        *,
        end: K | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[_MappedWatch[K, L]]:
        low, high = self._words.selection(key, end, prefix)
        opened = self.raw.watch(low, end=high, prefix=prefix, from_revision=from_revision, skips=skips)
        async with opened as raw:
            yield _MappedWatch(raw, self._words)

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        return await self.raw.lease_grant(ttl, id=id)

    async def lease_keepalive(self, lease: int) -> Lease:
        return await self.raw.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self.raw.lease_revoke(lease)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[K]:
        status = await self.raw.lease_time_to_live(lease)
        keys = self._words.keys(status.keys)
        return LeaseStatus(id=status.id, granted=status.granted, remaining=status.remaining, keys=keys)

    async def leases(self) -> tuple[int, ...]:
        return await self.raw.leases()

    async def compact(self, revision: int) -> None:
        await self.raw.compact(revision)

    async def close(self) -> None:
        await self.raw.close()
