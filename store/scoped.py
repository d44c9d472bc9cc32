"""A part of a store as a store of its own: every key lies beneath a prefix that its user never sees.

For what concerns one machine only: on an engine of its own and in a cluster that many share it has the same keys.
Revisions, leases, compaction, and the room that a key has, are those of the whole; messages name its keys.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from .errors import EmptyKey
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

NO_END = "\0"


class _Names:
    """Keys as the user has them to keys as the store has them, and back."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self._length = prefix, len(prefix)
        self._after = prefix[:-1] + chr(ord(prefix[-1]) + 1)

    def key(self, key: str, *, ranged: bool = False) -> str:
        """EmptyKey: beneath the prefix an empty one would name the prefix itself."""
        if not key and not ranged:
            raise EmptyKey("an empty key names nothing; give a key")
        return self.prefix + key

    def selected(self, key: str, end: str | None, prefix: bool) -> str:
        """The key of a selection."""
        return self.key(key, ranged=prefix or end is not None)

    def end(self, end: str | None) -> str | None:
        if end is None:
            return None
        return self._after if end == NO_END else self.prefix + end

    def op(self, op: Op) -> Op:
        if isinstance(op, TxnOp):
            compares = tuple(map(self.compare, op.compares))
            return TxnOp(compares, tuple(map(self.op, op.then)), tuple(map(self.op, op.otherwise)))
        if isinstance(op, PutOp):
            return replace(op, key=self.key(op.key))
        return self.range(op) if isinstance(op, RangeOp) else self._delete(op)

    def range(self, op: RangeOp) -> RangeOp:
        return replace(op, key=self.selected(op.key, op.end, op.prefix), end=self.end(op.end))

    def _delete(self, op: DeleteOp) -> DeleteOp:
        return replace(op, key=self.selected(op.key, op.end, op.prefix), end=self.end(op.end))

    def compare(self, compare: Compare) -> Compare:
        key = self.selected(compare.key, compare.end, compare.prefix)
        return replace(compare, key=key, end=self.end(compare.end))

    def entry(self, entry: KeyValue) -> KeyValue:
        return replace(entry, key=entry.key[self._length :])

    def maybe(self, entry: KeyValue | None) -> KeyValue | None:
        return None if entry is None else self.entry(entry)

    def found(self, found: RangeResult) -> RangeResult:
        return replace(found, kvs=tuple(map(self.entry, found.kvs)))

    def result(self, result: Result) -> Result:
        if isinstance(result, RangeResult):
            return self.found(result)
        if isinstance(result, TxnResult):
            return replace(result, results=tuple(map(self.result, result.results)))
        if isinstance(result, PutResult):
            return replace(result, prev=self.maybe(result.prev))
        if isinstance(result, DeleteResult):
            return replace(result, prev=tuple(map(self.entry, result.prev)))
        return result

    def batch(self, batch: WatchBatch) -> WatchBatch:
        events = tuple(
            Event(kind=event.kind, kv=self.entry(event.kv), prev=self.maybe(event.prev)) for event in batch.events
        )
        return WatchBatch(revision=batch.revision, events=events)


class _ScopedWatch:
    def __init__(self, watch: Watch, names: _Names) -> None:
        self._watch, self._names = watch, names

    def __aiter__(self) -> "_ScopedWatch":
        return self

    async def __anext__(self) -> WatchBatch:
        return self._names.batch(await anext(self._watch))

    async def wait(self, seconds: float) -> WatchBatch:
        return self._names.batch(await self._watch.wait(seconds))


class ScopedStore:
    """`Store` over the keys of `store` that begin with `prefix`, which is not empty. Closing it closes nothing."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._names = store, _Names(prefix)

    async def range(
        self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp) -> RangeResult:
        return self._names.found(await self._store.read(self._names.range(op)))

    async def get(self, key: str) -> KeyValue | None:
        return self._names.maybe(await self._store.get(self._names.key(key)))

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return await self._store.put(self._names.key(key), value, lease=lease)

    async def delete(self, key: str, *, end: str | None = None, prefix: bool = False) -> int:
        selected = self._names.selected(key, end, prefix)
        return await self._store.delete(selected, end=self._names.end(end), prefix=prefix)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        result = await self.apply(TxnOp(compares, then, otherwise))
        assert isinstance(result, TxnResult)
        return result

    async def apply(self, op: Op) -> Result:
        return self._names.result(await self._store.apply(self._names.op(op)))

    @asynccontextmanager
    async def watch(
        self,
        key: str,
        *,
        end: str | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[_ScopedWatch]:
        names = self._names
        whole = self._store.watch(
            names.selected(key, end, prefix),
            end=names.end(end),
            prefix=prefix,
            from_revision=from_revision,
            skips=skips,
        )
        async with whole as watch:
            yield _ScopedWatch(watch, names)

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        return await self._store.lease_grant(ttl, id=id)

    async def lease_keepalive(self, lease: int) -> Lease:
        return await self._store.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._store.lease_revoke(lease)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        status, prefix = await self._store.lease_time_to_live(lease), self._names.prefix
        return replace(status, keys=tuple(key.removeprefix(prefix) for key in status.keys if key.startswith(prefix)))

    async def leases(self) -> tuple[int, ...]:
        return await self._store.leases()

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        return None
