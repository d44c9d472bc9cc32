"""Text keys over a store of byte keys: what hawser's own packages use.

Text is UTF-8, whose byte order is the order of its code points. Bytes that are no UTF-8, which other clients may have
put, are told as Python tells file names (PEP 383) and mean the same bytes when they come back.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from .errors import Invalid
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

MAX_KEY = 4096


def to_bytes(key: str) -> bytes:
    """A key's bytes. Invalid when it is no text, or too long."""
    try:
        raw = key.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise Invalid(f"the key {key!r} is not valid Unicode; a key is UTF-8 text") from None
    if len(raw) > MAX_KEY:
        raise Invalid(f"a key of {len(raw)} bytes is longer than {MAX_KEY}; shorten it")
    return raw


def to_text(key: bytes) -> str:
    """A key's text."""
    return key.decode(errors="surrogateescape")


def op_to_bytes(op: Op) -> Op[bytes]:
    """An operation of byte keys."""
    if isinstance(op, TxnOp):
        compares = tuple(map(_compare, op.compares))
        return TxnOp(compares, tuple(map(op_to_bytes, op.then)), tuple(map(op_to_bytes, op.otherwise)))
    key = to_bytes(op.key)
    if isinstance(op, PutOp):
        return PutOp(key, op.value, op.lease, op.prev_kv, op.ignore_value, op.ignore_lease)
    end = None if op.end is None else to_bytes(op.end)
    if isinstance(op, DeleteOp):
        return DeleteOp(key, end, op.prefix, op.prev_kv)
    return _range(op, key, end)


def _range(op: RangeOp, key: bytes, end: bytes | None) -> RangeOp[bytes]:
    return cast(RangeOp[bytes], replace(op, key=key, end=end))  # type: ignore[arg-type]


def _compare(compare: Compare) -> Compare[bytes]:
    end = None if compare.end is None else to_bytes(compare.end)
    return Compare(to_bytes(compare.key), compare.target, compare.op, compare.value, end, compare.prefix)


def entry_to_text(entry: KeyValue[bytes]) -> KeyValue:
    """A key as text."""
    return KeyValue(
        key=entry.key.decode(errors="surrogateescape"),
        value=entry.value,
        create_revision=entry.create_revision,
        mod_revision=entry.mod_revision,
        version=entry.version,
        lease=entry.lease,
    )


def _maybe(entry: KeyValue[bytes] | None) -> KeyValue | None:
    return None if entry is None else entry_to_text(entry)


def _range_to_text(found: RangeResult[bytes]) -> RangeResult:
    kvs = tuple(map(entry_to_text, found.kvs))
    return RangeResult(kvs=kvs, revision=found.revision, more=found.more, count=found.count)


def result_to_text(result: Result[bytes]) -> Result:
    """An operation's result of text keys."""
    if isinstance(result, int):
        return result
    if isinstance(result, RangeResult):
        return _range_to_text(result)
    if isinstance(result, TxnResult):
        results = tuple(map(result_to_text, result.results))
        return TxnResult(succeeded=result.succeeded, revision=result.revision, results=results)
    if isinstance(result, PutResult):
        return PutResult(revision=result.revision, prev=_maybe(result.prev))
    return DeleteResult(count=result.count, prev=tuple(map(entry_to_text, result.prev)))


def batch_to_text(batch: WatchBatch[bytes]) -> WatchBatch:
    """A watch's batch of text keys."""
    events = tuple(
        Event(kind=event.kind, kv=entry_to_text(event.kv), prev=_maybe(event.prev)) for event in batch.events
    )
    return WatchBatch(revision=batch.revision, events=events)


class TextWatch:
    """A watch of text keys."""

    def __init__(self, raw: Watch[bytes]) -> None:
        self._raw = raw

    def __aiter__(self) -> "TextWatch":
        return self

    async def __anext__(self) -> WatchBatch:
        return batch_to_text(await anext(self._raw))

    async def wait(self, seconds: float) -> WatchBatch:
        """The next batch, or one without events when none came for so long."""
        return batch_to_text(await self._raw.wait(seconds))


class TextStore:
    """`Store` over `raw`, a `Store[bytes]`."""

    def __init__(self, raw: Store[bytes]) -> None:
        self.raw = raw

    async def range(
        self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult:
        return await self.read(RangeOp(key, end, prefix, limit, revision))

    async def read(self, op: RangeOp) -> RangeResult:
        end = None if op.end is None else to_bytes(op.end)
        return _range_to_text(await self.raw.read(_range(op, to_bytes(op.key), end)))

    async def get(self, key: str) -> KeyValue | None:
        entry = await self.raw.get(to_bytes(key))
        return _maybe(entry)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return await self.raw.put(to_bytes(key), value, lease=lease)

    async def delete(self, key: str, *, end: str | None = None, prefix: bool = False) -> int:
        return await self.raw.delete(to_bytes(key), end=None if end is None else to_bytes(end), prefix=prefix)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        result = await self.apply(TxnOp(compares, then, otherwise))
        assert isinstance(result, TxnResult)
        return result

    async def apply(self, op: Op) -> Result:
        return result_to_text(await self.raw.apply(op_to_bytes(op)))

    @asynccontextmanager
    async def watch(
        self,
        key: str,
        *,
        end: str | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AsyncIterator[TextWatch]:
        high = None if end is None else to_bytes(end)
        opened = self.raw.watch(to_bytes(key), end=high, prefix=prefix, from_revision=from_revision, skips=skips)
        async with opened as raw:
            yield TextWatch(raw)

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        return await self.raw.lease_grant(ttl, id=id)

    async def lease_keepalive(self, lease: int) -> Lease:
        return await self.raw.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self.raw.lease_revoke(lease)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        status = await self.raw.lease_time_to_live(lease)
        keys = tuple(map(to_text, status.keys))
        return LeaseStatus(id=status.id, granted=status.granted, remaining=status.remaining, keys=keys)

    async def leases(self) -> tuple[int, ...]:
        return await self.raw.leases()

    async def compact(self, revision: int) -> None:
        await self.raw.compact(revision)

    async def close(self) -> None:
        await self.raw.close()
