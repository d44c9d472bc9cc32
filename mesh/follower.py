"""Keeps a catalog in step with the store (store/follow.py), and tells who waits when it has a revision."""

import asyncio
from collections.abc import Callable, Sequence

from hawser.store import KeyValue, Store, WatchBatch
from hawser.store.follow import follow

from .catalog import Catalog
from .model import SERVICES

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
        await follow(self._store, SERVICES, self._reset, self._apply)

    def _reset(self, entries: Sequence[KeyValue], revision: int) -> None:
        self.catalog.reset(entries, revision)
        self._moved(None)

    def _apply(self, batch: WatchBatch) -> None:
        self.catalog.apply(batch)
        self._moved(batch)

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
