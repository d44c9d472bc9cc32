"""Many keys, a page at a time: a page is neither a long wait nor a burden on memory, whatever the values' sizes."""

from collections.abc import AsyncIterator

from .kv import KeyValue, RangeOp, Store

FIRST, MOST, BYTES = 100, 1000, 4 << 20
NO_END = b"\0"


async def pages(
    store: Store[bytes], revision: int = 0, start: bytes = b"\0", end: bytes = NO_END, *, keys_only: bool = False
) -> AsyncIterator[tuple[KeyValue[bytes], ...]]:
    """The keys of [start, end) at a revision (0: each page as it is by then), in order; by default all. No page is
    empty. Compacted when the revision is, also on the way."""
    limit = FIRST
    while True:
        found = await store.read(RangeOp(start, end, limit=limit, revision=revision, keys_only=keys_only))
        if found.kvs:
            yield found.kvs
        if not found.more:
            return
        start = found.kvs[-1].key + b"\0"
        size = sum(len(entry.key) + len(entry.value) for entry in found.kvs)
        limit = max(1, min(2 * limit, MOST, BYTES * len(found.kvs) // max(size, 1)))
