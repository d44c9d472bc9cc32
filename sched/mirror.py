"""A copy of what is wanted, kept up by list and watch: list, then follow from the revision listed; when that is no
longer kept or the store was away, list again.
"""

import asyncio
import logging
from collections.abc import Callable

from hawser.store import Compacted, EventKind, KeyValue, Store, Unavailable

from .records import ROOT, is_intent

AGAIN = 1.0
log = logging.getLogger(__name__)


class Mirror:
    """The intent keys of the scheduler; `changed` is called after every change. Read `entries`, never write."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self.entries: dict[str, KeyValue] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            try:
                await self._follow()
            except Compacted:
                continue
            except Unavailable as error:
                log.warning("units are not followed: %s; trying again", error)
                await asyncio.sleep(AGAIN)

    async def _follow(self) -> None:
        listed = await self._store.range(ROOT, prefix=True)
        self.entries = {entry.key: entry for entry in listed.kvs if is_intent(entry.key)}
        self.ready.set()
        self._changed()
        async with self._store.watch(ROOT, prefix=True, from_revision=listed.revision + 1) as batches:
            async for batch in batches:
                events = [event for event in batch.events if is_intent(event.kv.key)]
                for event in events:
                    if event.kind is EventKind.PUT:
                        self.entries[event.kv.key] = event.kv
                    else:
                        self.entries.pop(event.kv.key, None)
                if events:
                    self._changed()
