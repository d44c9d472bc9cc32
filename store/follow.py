"""Keep a copy of some keys: read them all, then follow the watch; when that breaks, read them all again.

It is how everybody here learns from the store. While the store is away the copy stays as it was known last.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from .errors import Compacted, StoreError
from .kv import KeyValue, Store, WatchBatch

AGAIN = 0.5
log = logging.getLogger(__name__)


async def follow(
    store: Store,
    prefix: str,
    reset: Callable[[Sequence[KeyValue], int], None],
    apply: Callable[[WatchBatch], None],
) -> None:
    """`reset` with all keys that begin with `prefix` and their revision, then `apply` with each batch after it; for
    ever. Both must not fail."""
    told = ""
    while True:
        try:
            found = await store.range(prefix, prefix=True)
            reset(found.kvs, found.revision)
            told = ""
            async with store.watch(prefix, prefix=True, from_revision=found.revision + 1) as batches:
                async for batch in batches:
                    apply(batch)
        except Compacted:
            continue
        except StoreError as error:
            if str(error) != told:
                log.warning("%s is not followed: %s; trying again", prefix, error)
                told = str(error)
            await asyncio.sleep(AGAIN)
