"""Every instance of every tenant, as a fold of the store's events.

The state after any events equals a fresh read of the store at that revision. What cannot be decoded is not in the
catalog (and in `problems`); it must not hide the rest. `instances(tenant)` is the very same tuple until something of
that tenant changes, so that whoever derived something from it knows by identity whether that still holds. Pure.
"""

from collections.abc import Iterable

from hawser.store import Event, EventKind, KeyValue, WatchBatch

from .errors import Invalid
from .model import SERVICES, Instance, decode_instance

Services = dict[str, dict[str, Instance]]


class Catalog:
    """tenant → service → id → instance."""

    def __init__(self) -> None:
        self.revision = 0
        self.problems: dict[str, str] = {}
        self._tenants: dict[str, Services] = {}
        self._snapshots: dict[str, tuple[Instance, ...]] = {}

    def reset(self, entries: Iterable[KeyValue], revision: int) -> None:
        """Begin anew from everything the store has at `revision`."""
        self._tenants, self._snapshots, self.problems = {}, {}, {}
        for entry in entries:
            self._put(entry)
        self.revision = revision

    def apply(self, batch: WatchBatch) -> None:
        """Follow one revision."""
        for event in batch.events:
            self._follow(event)
        self.revision = max(self.revision, batch.revision)

    def instances(self, tenant: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        """All of them, of a tenant, of a service; in order of tenant, service, id."""
        if tenant is None:
            found = tuple(item for name in sorted(self._tenants) for item in self._snapshot(name))
        else:
            found = self._snapshot(tenant)
        return found if service is None else tuple(item for item in found if item.service == service)

    def healthy(self, tenant: str, service: str) -> tuple[Instance, ...]:
        """The instances of one service that may be sent to, in order of id."""
        return tuple(item for item in self.instances(tenant, service) if item.healthy)

    def get(self, tenant: str, service: str, id: str) -> Instance | None:
        """One instance, healthy or not."""
        return self._tenants.get(tenant, {}).get(service, {}).get(id)

    def _snapshot(self, tenant: str) -> tuple[Instance, ...]:
        kept = self._snapshots.get(tenant)
        if kept is None:
            services = self._tenants.get(tenant)
            if services is None:
                return ()
            kept = tuple(services[name][id] for name in sorted(services) for id in sorted(services[name]))
            self._snapshots[tenant] = kept
        return kept

    def _follow(self, event: Event) -> None:
        self._snapshots.pop(event.kv.key.removeprefix(SERVICES).split("/")[0], None)
        if event.kind is EventKind.PUT:
            self._put(event.kv)
        else:
            self._drop(event.kv.key)

    def _put(self, entry: KeyValue) -> None:
        try:
            instance = decode_instance(entry.value)
            if SERVICES + instance.key != entry.key:
                raise Invalid(f"the record says it is {instance.key}")
        except Invalid as error:
            self._drop(entry.key)
            self.problems[entry.key] = str(error)
            return
        self.problems.pop(entry.key, None)
        self._tenants.setdefault(instance.tenant, {}).setdefault(instance.service, {})[instance.id] = instance

    def _drop(self, key: str) -> None:
        self.problems.pop(key, None)
        parts = key.removeprefix(SERVICES).split("/")
        if len(parts) != 3:
            return
        tenant, service, id = parts
        services = self._tenants.get(tenant, {})
        services.get(service, {}).pop(id, None)
        if not services.get(service):
            services.pop(service, None)
        if not services:
            self._tenants.pop(tenant, None)
