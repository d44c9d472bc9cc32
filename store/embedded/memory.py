"""The reference engine: the contract with nothing behind it; tests and tools use it."""

import asyncio
from collections.abc import Iterable

from ..kv import KeyValue, RangeOp, WatchBatch
from .base import RING
from .engine import Engine
from .hashing import Records
from .keyspace import Keyspace
from .past import read_past

Row = tuple[KeyValue[bytes], int]


class MemoryEngine(Engine):
    """A store that ends with the process, and keeps the last `ring` revisions for watches. Make it inside a running
    event loop."""

    def __init__(self, *, ring: int = RING, age: float | None = None) -> None:
        super().__init__(Keyspace(), {}, ring=ring, age=age)
        self._subs = dict[bytes, int]()
        self.feed.dropped = lambda batch: _follow(self._subs, batch)

    async def hash_rows(self, oldest: int, upto: int) -> int:
        rows, superseded = list[Row](), set[tuple[bytes, int]]()
        subs = dict(self._subs)
        for batch in self.feed.since(self.feed.first):
            if batch.revision <= oldest:
                _follow(subs, batch)
            elif batch.revision <= upto:
                rows += [(event.kv, sub) for sub, event in enumerate(batch.events)]
                superseded |= {(e.kv.key, e.prev.mod_revision) for e in batch.events if e.prev}
        if oldest:
            everything = RangeOp(b"", prefix=True, revision=oldest)
            then = await read_past(everything, self.keys, self.feed, self.lookup)
            old = [(e, subs.get(e.key, 0)) for e in then.kvs if (e.key, e.mod_revision) not in superseded]
            rows = sorted(old, key=lambda row: (row[0].mod_revision, row[1])) + rows
        return await asyncio.to_thread(_crc, rows)


def _follow(subs: dict[bytes, int], batch: WatchBatch[bytes]) -> None:
    """Each key's place in the revision of its last change, when it is not the first."""
    for sub, event in enumerate(batch.events):
        if sub and event.kv.version:
            subs[event.kv.key] = sub
        else:
            subs.pop(event.kv.key, None)


def _crc(rows: Iterable[Row]) -> int:
    records = Records()
    for entry, sub in rows:
        records.add(entry, sub)
    return records.crc()
