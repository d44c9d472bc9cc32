"""A store that was emptied, as if it were new: its revisions are told from 1 on, whatever the etcd behind it counted
before. One etcd then serves many tests that each begin with an empty store."""

import re
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from hawser.store import (
    Compacted,
    Compare,
    DeleteResult,
    Event,
    EventKind,
    Future,
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
    Target,
    TxnOp,
    TxnResult,
    Watch,
    WatchBatch,
)

T = TypeVar("T")
ALL = RangeOp(b"", prefix=True)


async def emptied(raw: Store[bytes]) -> "Aligned":
    """Without keys and leases; its revision is told as 1, and what was before as compacted."""
    for lease in await raw.leases():
        await raw.lease_revoke(lease)
    await raw.put(b"x", b"")
    await raw.delete(b"", prefix=True)
    revision = (await raw.range(b"x")).revision
    return Aligned(raw, revision - 1)


class Aligned:
    """`Store[bytes]`, `offset` revisions later."""

    def __init__(self, raw: Store[bytes], offset: int) -> None:
        self.raw, self._offset = raw, offset

    def _there(self, revision: int) -> int:
        return revision + self._offset if revision > 0 else revision

    def _entry(self, kv: KeyValue[bytes]) -> KeyValue[bytes]:
        created = kv.create_revision - self._offset if kv.create_revision else 0
        return replace(kv, create_revision=created, mod_revision=kv.mod_revision - self._offset)

    def _maybe(self, kv: KeyValue[bytes] | None) -> KeyValue[bytes] | None:
        return None if kv is None else self._entry(kv)

    def _op(self, op: Op[bytes]) -> Op[bytes]:
        if isinstance(op, RangeOp):
            return replace(
                op,
                revision=self._there(op.revision),
                min_mod=self._there(op.min_mod),
                max_mod=self._there(op.max_mod),
                min_create=self._there(op.min_create),
                max_create=self._there(op.max_create),
            )
        if isinstance(op, TxnOp):
            compares = tuple(map(self._compare, op.compares))
            return TxnOp(compares, tuple(map(self._op, op.then)), tuple(map(self._op, op.otherwise)))
        return op

    def _compare(self, compare: Compare[bytes]) -> Compare[bytes]:
        if compare.target in (Target.CREATE, Target.MOD) and isinstance(compare.value, int):
            return replace(compare, value=self._there(compare.value))
        return compare

    def _result(self, result: Result[bytes], op: Op[bytes]) -> Result[bytes]:
        if isinstance(result, int):
            return result - self._offset if isinstance(op, PutOp) else result
        if isinstance(result, DeleteResult):
            return replace(result, prev=tuple(map(self._entry, result.prev)))
        revision = result.revision - self._offset
        if isinstance(result, PutResult):
            return PutResult(revision=revision, prev=self._maybe(result.prev))
        if isinstance(result, RangeResult):
            return replace(result, revision=revision, kvs=tuple(map(self._entry, result.kvs)))
        assert isinstance(op, TxnOp)
        branch = op.then if result.succeeded else op.otherwise
        results = tuple(self._result(each, inner) for each, inner in zip(result.results, branch, strict=True))
        return TxnResult(succeeded=result.succeeded, revision=revision, results=results)

    async def _told(self, call: Awaitable[T]) -> T:
        """Errors name revisions, too."""
        try:
            return await call
        except Compacted as error:
            raise Compacted(str(error), max(error.revision - self._offset, 0)) from None
        except Future as error:
            text = re.sub(r"\d+", lambda number: str(int(number[0]) - self._offset), str(error))
            raise Future(text) from None

    async def range(
        self, key: bytes, *, end: bytes | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult[bytes]:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp[bytes]) -> RangeResult[bytes]:
        found = await self.apply(op)
        assert isinstance(found, RangeResult)
        return found

    async def get(self, key: bytes) -> KeyValue[bytes] | None:
        return self._maybe(await self.raw.get(key))

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        return await self.raw.put(key, value, lease=lease) - self._offset

    async def delete(self, key: bytes, *, end: bytes | None = None, prefix: bool = False) -> int:
        return await self.raw.delete(key, end=end, prefix=prefix)

    async def txn(
        self, compares: Sequence[Compare[bytes]], then: Sequence[Op[bytes]], otherwise: Sequence[Op[bytes]] = ()
    ) -> TxnResult[bytes]:
        result = await self.apply(TxnOp(compares, then, otherwise))
        assert isinstance(result, TxnResult)
        return result

    async def apply(self, op: Op[bytes]) -> Result[bytes]:
        return self._result(await self._told(self.raw.apply(self._op(op))), op)

    @asynccontextmanager
    async def watch(
        self,
        key: bytes,
        *,
        end: bytes | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[Watch[bytes]]:
        first = None if from_revision is None else self._there(max(from_revision, 2) if from_revision > 0 else 0)
        opened = self.raw.watch(key, end=end, prefix=prefix, from_revision=first, skips=skips)
        watcher = await self._told(opened.__aenter__())
        try:
            yield _AlignedWatch(watcher, self)
        finally:
            await opened.__aexit__(None, None, None)

    def batch(self, batch: WatchBatch[bytes]) -> WatchBatch[bytes]:
        events = tuple(
            Event(kind=event.kind, kv=self._entry(event.kv), prev=self._maybe(event.prev)) for event in batch.events
        )
        return WatchBatch(revision=batch.revision - self._offset, events=events)

    async def told(self, call: Awaitable[WatchBatch[bytes]]) -> WatchBatch[bytes]:
        return self.batch(await self._told(call))

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        return await self.raw.lease_grant(ttl, id=id)

    async def lease_keepalive(self, lease: int) -> Lease:
        return await self.raw.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self.raw.lease_revoke(lease)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[bytes]:
        return await self.raw.lease_time_to_live(lease)

    async def leases(self) -> tuple[int, ...]:
        return await self.raw.leases()

    async def compact(self, revision: int) -> None:
        await self._told(self.raw.compact(self._there(max(revision, 1))))

    async def close(self) -> None:
        await self.raw.close()


class _AlignedWatch:
    def __init__(self, raw: Watch[bytes], store: Aligned) -> None:
        self._raw, self._store = raw, store

    def __aiter__(self) -> "_AlignedWatch":
        return self

    async def __anext__(self) -> WatchBatch[bytes]:
        return await self._store.told(anext(self._raw))

    async def wait(self, seconds: float) -> WatchBatch[bytes]:
        return await self._store.told(self._raw.wait(seconds))
