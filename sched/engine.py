"""The engine: from what is wanted of all units to where each one runs.

Every machine has one; that of the machine which leads decides, the others rest.

One pass reads the intent, decides (placement.py), compares with the placements that are stored and writes what
differs. A write holds only if unit and order are as they were read; else the change wakes the engine again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from hawser.store import DeleteOp, KeyValue, PutOp, Store, StoreError, absent, unchanged
from hawser.store.loop import reconcile_loop
from hawser.store.reconcile import Step, Verb, plan

from . import records
from .compile import compile_unit
from .errors import Invalid
from .mirror import Mirror
from .model import Desired, Fleet
from .placement import Decision, Machine, place
from .records import DESIRED, PLACEMENTS, UNITS, Placement

INTERVAL = 30.0
AGAIN = 1.0


class Engine:
    """Places units on `machines()` while it `decides()`; else another engine does. `wake` it when that changes."""

    def __init__(
        self, store: Store, machines: Callable[[], Sequence[Machine]], decides: Callable[[], bool] = lambda: True
    ) -> None:
        self._store = store
        self._machines, self._decides = machines, decides
        self._wake = asyncio.Event()
        self._fleets: dict[str, tuple[str, Fleet | str]] = {}

    def wake(self) -> None:
        """The machines have changed, or who decides."""
        self._wake.set()

    async def run(self) -> None:
        """Decide whenever something changes, until cancelled."""
        mirror = Mirror(self._store, self._wake.set)

        async def once() -> float | None:
            if not mirror.ready.is_set() or not self._decides():
                return None
            return await self._apply(mirror.entries)

        async with asyncio.TaskGroup() as group:
            group.create_task(mirror.run(), name="engine-mirror")
            group.create_task(reconcile_loop(once, self._wake, INTERVAL), name="engine-loop")

    async def plan(self) -> tuple[Step[Placement], ...]:
        """The placements that would be written now; changes nothing."""
        listed = await self._store.range(records.ROOT, prefix=True)
        return self._steps({entry.key: entry for entry in listed.kvs})

    def _steps(self, entries: Mapping[str, KeyValue]) -> tuple[Step[Placement], ...]:
        stored = {
            key.removeprefix(PLACEMENTS): records.decode(entry.value, Placement) or Placement()
            for key, entry in entries.items()
            if key.startswith(PLACEMENTS)
        }
        intents = {
            name: intent for name, intent in records.intents(entries).items() if intent.state is not Desired.INACTIVE
        }
        fleets = {name: self._fleet(name, intent.hash, intent.text) for name, intent in intents.items()}
        able = {name: fleet for name, fleet in fleets.items() if isinstance(fleet, Fleet)}
        decisions = place(able, self._machines(), {name: placed.machines for name, placed in stored.items()})
        decisions |= {name: Decision(reason=bad) for name, bad in fleets.items() if isinstance(bad, str)}
        desired = {name: Placement(machines=d.machines, reason=d.reason) for name, d in decisions.items()}
        return plan(desired, stored, differs=_differs)

    def _fleet(self, name: str, hash_: str, text: str) -> Fleet | str:
        """A unit's constraints, or why its text has none; read once a text."""
        known = self._fleets.get(name)
        if known is None or known[0] != hash_:
            try:
                known = (hash_, compile_unit(name, text).fleet)
            except Invalid as error:
                known = (hash_, str(error))
            self._fleets[name] = known
        return known[1]

    async def _apply(self, entries: Mapping[str, KeyValue]) -> float | None:
        try:
            for step in self._steps(dict(entries)):
                await self._write(step, entries)
        except StoreError:
            return AGAIN
        for name in self._fleets.keys() - {key.removeprefix(UNITS) for key in entries}:
            del self._fleets[name]
        return None

    async def _write(self, step: Step[Placement], entries: Mapping[str, KeyValue]) -> None:
        keys = (UNITS + step.key, DESIRED + step.key, PLACEMENTS + step.key)
        compares = [unchanged(entries[key]) if key in entries else absent(key) for key in keys]
        key = PLACEMENTS + step.key
        operation = DeleteOp(key) if step.verb is Verb.DELETE else PutOp(key, records.encode(step.spec))
        await self._store.txn(compares, [operation])


def _differs(wanted: Placement, stored: Placement) -> str | None:
    if wanted == stored:
        return None
    return wanted.reason or f"{', '.join(stored.machines) or 'nowhere'} → {', '.join(wanted.machines)}"
