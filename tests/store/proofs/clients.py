"""The client of the proofs over any `Store`: the embedded engine, or etcd's protocol to whatever speaks it.

An error means that nothing was done, except Unavailable: that is always taken as an unknown outcome, so a store that
promises more is not believed. When a watch has nothing to say for QUIET seconds the store is asked for its progress.
"""

from collections.abc import AsyncGenerator

from hawser.store import (
    Compare,
    DeleteOp,
    Event,
    EventKind,
    PutOp,
    Store,
    StoreError,
    Target,
    TxnResult,
    Unavailable,
    WatchBatch,
)

from .operations import (
    Answer,
    Call,
    Delete,
    Found,
    Get,
    Lost,
    Put,
    PutAll,
    Refused,
    Removed,
    Swap,
    Swapped,
    Written,
)
from .watching import Batch, Change, Message, Previous, Progress, Told, Wanted

QUIET = 0.05


class StoreClient:
    """A `Client` of a store with text keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def perform(self, call: Call) -> Answer:
        try:
            return await self._perform(call)
        except Unavailable as error:
            raise Lost(str(error)) from error
        except StoreError as error:
            raise Refused(str(error)) from error

    async def watch(self, wanted: Wanted, start: int) -> AsyncGenerator[Message, None]:
        skips = [EventKind.PUT] * (not wanted.puts) + [EventKind.DELETE] * (not wanted.deletes)
        everything = not wanted.first
        end = None if everything else wanted.end or "\0"
        watching = self._store.watch(wanted.first, end=end, prefix=everything, from_revision=start, skips=skips)
        try:
            async with watching as watch:
                while True:
                    yield _message(await watch.wait(QUIET))
        except Unavailable as error:
            raise Lost(str(error)) from error

    async def _perform(self, call: Call) -> Answer:
        match call:
            case Put(key=key, value=value):
                return Written(await self._store.put(key, value.encode()))
            case PutAll(keys=keys, value=value):
                result = await self._store.txn([], [PutOp(key, value.encode()) for key in keys])
                return Written(result.revision)
            case Get(key=key):
                return await self._get(key)
            case Delete(key=key):
                return _removed(await self._store.txn([], [DeleteOp(key)]))
            case Swap(key=key, value=value, field=field, expected=expected):
                target = Target.MOD if field == "mod" else Target.VERSION
                compare = Compare(key, target, "=", expected)
                result = await self._store.txn([compare], [PutOp(key, value.encode())])
                return Swapped(result.succeeded, result.revision)

    async def _get(self, key: str) -> Found:
        result = await self._store.range(key)
        if not result.kvs:
            return Found(None, version=0, revision=result.revision)
        (entry,) = result.kvs
        return Found(entry.value.decode(), entry.mod_revision, entry.version, result.revision)


def _removed(result: TxnResult) -> Removed:
    (count,) = result.results
    assert isinstance(count, int)
    return Removed(count, result.revision)


def _message(batch: WatchBatch) -> Message:
    if not batch.events:
        return Progress(batch.revision)
    return Batch(tuple(map(_told, batch.events)))


def _told(event: Event) -> Told:
    value = event.kv.value.decode() if event.kind is EventKind.PUT else None
    previous = None if event.prev is None else Previous(event.prev.value.decode(), event.prev.mod_revision)
    return Told(Change(event.kv.mod_revision, event.kv.key, value), previous)
