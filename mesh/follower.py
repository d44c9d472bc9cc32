"""Keeps a catalog in step with the store: reads everything, then follows the watch; begins anew when that breaks.

While the store is away the catalog keeps what was known last.
"""

import asyncio
from collections.abc import Callable

from hawser.store import Store, StoreError, WatchBatch

from .catalog import Catalog
from .model import SERVICES

RETRY = 0.5
SEEN_WITHIN = 2.0


class Follower:
    """`on_change` is called after each batch, and with None after the catalog was read anew."""

    def __init__(self, store: Store, on_change: Callable[[WatchBatch | None], None]) -> None:
        self.catalog = Catalog()
        self._store = store
        self._on_change = on_change
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                found = await self._store.range(SERVICES, prefix=True)
                self.catalog.reset(found.kvs, found.revision)
                self._moved(None)
                async with self._store.watch(SERVICES, prefix=True, from_revision=found.revision + 1) as batches:
                    async for batch in batches:
                        self.catalog.apply(batch)
                        self._moved(batch)
            except StoreError:
                await asyncio.sleep(RETRY)

    async def seen(self, revision: int) -> None:
        """Wait until the catalog has a revision that was just written, so that a caller reads its own writes; for two
        seconds at most, as the store may have gone away since."""
        if self.catalog.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        try:
            async with asyncio.timeout(SEEN_WITHIN):
                await future
        except TimeoutError:
            return

    def _moved(self, batch: WatchBatch | None) -> None:
        due = [future for revision, future in self._waiting if revision <= self.catalog.revision]
        self._waiting = [item for item in self._waiting if item[0] > self.catalog.revision]
        for future in due:
            if not future.done():
                future.set_result(None)
        self._on_change(batch)
