"""The machines that are there, as the store says."""

from collections.abc import Callable, Sequence

from ..errors import StoreError
from ..follow import follow
from ..kv import EventKind, KeyValue, Store, WatchBatch
from .model import MACHINES, Machine, decode


class Machines:
    """A copy of all machines' records, by id; `changed` is called after every change. A record that cannot be read is
    left out and named in `problems`."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store, self._changed = store, changed
        self.known: dict[str, Machine] = {}
        self.problems: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the store until cancelled."""
        await follow(self._store, MACHINES, self._reset, self._apply)

    def _reset(self, entries: Sequence[KeyValue], _revision: int) -> None:
        self.known, self.problems = {}, {}
        for entry in entries:
            self._take(entry)
        self._changed()

    def _apply(self, batch: WatchBatch) -> None:
        for event in batch.events:
            if event.kind is EventKind.PUT:
                self._take(event.kv)
            else:
                self._drop(event.kv.key.removeprefix(MACHINES))
        self._changed()

    def _take(self, entry: KeyValue) -> None:
        id_ = entry.key.removeprefix(MACHINES)
        self._drop(id_)
        try:
            self.known[id_] = decode(Machine, entry.value, entry.key)
        except StoreError as error:
            self.problems[id_] = str(error)

    def _drop(self, id_: str) -> None:
        self.known.pop(id_, None)
        self.problems.pop(id_, None)
