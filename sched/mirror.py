"""A copy of what is wanted of units, kept up with the store (store/follow.py)."""

import asyncio
from collections.abc import Callable, Sequence

from hawser.store import EventKind, KeyValue, Store, WatchBatch
from hawser.store.follow import follow

from .records import ROOT, is_intent


class Mirror:
    """The intent keys of the scheduler; `changed` is called after every change. Read `entries`, never write."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self.entries: dict[str, KeyValue] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        await follow(self._store, ROOT, self._reset, self._apply)

    def _reset(self, entries: Sequence[KeyValue], _revision: int) -> None:
        self.entries = {entry.key: entry for entry in entries if is_intent(entry.key)}
        self.ready.set()
        self._changed()

    def _apply(self, batch: WatchBatch) -> None:
        events = [event for event in batch.events if is_intent(event.kv.key)]
        for event in events:
            if event.kind is EventKind.PUT:
                self.entries[event.kv.key] = event.kv
            else:
                self.entries.pop(event.kv.key, None)
        if events:
            self._changed()
