"""The names that ports of other machines have, from their records in the store.

A port's record says what it is called (label NAME_LABEL, set while its container is not at its end) and where it is.
Names of a machine whose endpoint is gone (its lease has run out) are not given: nothing there can be reached.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence

from hawser.mesh.model import LABEL, Instance
from hawser.netd import model
from hawser.netd.errors import NetError
from hawser.netd.objects.records import read_port
from hawser.store import EventKind, KeyValue, Store, WatchBatch
from hawser.store.follow import follow

from .workloads.model import NAME_LABEL

ID = 12


class Elsewhere:
    """Other machines' named ports by tenant; `run` keeps it true."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store = store
        self._machine = machine
        self._alive: set[str] = set()
        self._ports: dict[str, Instance] = {}
        self._tenants: dict[str, dict[str, Instance]] = {}
        self._told: dict[str, tuple[Instance, ...]] = {}

    async def run(self) -> None:
        """Follow the records until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._store, model.PORTS, self._reset, self._changed), name="other ports")
            group.create_task(
                follow(self._store, model.ENDPOINTS, self._machines_reset, self._machines_changed), name="endpoints"
            )

    def of(self, tenant: str) -> tuple[Instance, ...]:
        """A tenant's names; the same object while nothing changed."""
        if tenant not in self._told:
            found = self._tenants.get(tenant, {})
            self._told[tenant] = tuple(found[key] for key in sorted(found) if found[key].machine in self._alive)
        return self._told[tenant]

    def _reset(self, entries: Sequence[KeyValue], revision: int) -> None:
        self._ports, self._tenants, self._told = {}, {}, {}
        for entry in entries:
            self._put(entry)

    def _changed(self, batch: WatchBatch) -> None:
        for event in batch.events:
            self._drop(event.kv.key)
            if event.kind is EventKind.PUT:
                self._put(event.kv)

    def _put(self, entry: KeyValue) -> None:
        if entry.key.startswith(f"{model.PORTS}{self._machine}/"):
            return
        instance = named(entry)
        if instance is not None:
            self._ports[entry.key] = instance
            self._tenants.setdefault(instance.tenant, {})[entry.key] = instance
            self._told.pop(instance.tenant, None)

    def _drop(self, key: str) -> None:
        instance = self._ports.pop(key, None)
        if instance is not None:
            del self._tenants[instance.tenant][key]
            self._told.pop(instance.tenant, None)

    def _machines_reset(self, entries: Sequence[KeyValue], revision: int) -> None:
        self._now_alive(entry.key.removeprefix(model.ENDPOINTS) for entry in entries)

    def _machines_changed(self, batch: WatchBatch) -> None:
        alive = set(self._alive)
        for event in batch.events:
            machine = event.kv.key.removeprefix(model.ENDPOINTS)
            (alive.add if event.kind is EventKind.PUT else alive.discard)(machine)
        self._now_alive(alive)

    def _now_alive(self, machines: Iterable[str]) -> None:
        alive = set(machines)
        if alive != self._alive:
            self._alive, self._told = alive, {}


def named(entry: KeyValue) -> Instance | None:
    """What a port's record names; None when it has no name, is leaving, or cannot be read."""
    try:
        port = read_port(entry)
    except NetError:
        return None
    name = port.labels.get(NAME_LABEL, "")
    if port.leaving or not LABEL.fullmatch(name):
        return None
    return Instance(
        tenant=port.tenant,
        service=name,
        id=hashlib.sha256(port.key.encode()).hexdigest()[:ID],
        addresses=tuple(address.ip for address in port.addresses),
        port=0,
        machine=port.machine,
        healthy=True,
        reason="is attached",
    )
