"""The mesh of one node: what is announced here is kept, and what is announced anywhere is known.

An announcement is an intent, stored for good under the machine's name; its record hangs on a lease and has the health
that the checks found. When the node dies the records end with their leases; when it comes back in time it takes its
intents up again, with the health they had, so that a restart is no outage (keepers.py). The catalog follows the store
by a watch and keeps its last state while the store is away.
"""

import asyncio
from collections.abc import Callable

from hawser.store import Store, WatchBatch

from .drivers.checks import Checks, Dial, Execute
from .follower import Follower
from .keepers import Keepers
from .model import SERVICES, Announcement, Instance, decode_announcement, encode_announcement


class Mesh:
    """Make it inside a running event loop; methods may raise the store's errors."""

    def __init__(
        self,
        store: Store,
        machine: str,
        execute: Execute,
        *,
        on_change: Callable[[], None] = lambda: None,
        limit: int = 64,
        dial: Dial | None = None,
    ) -> None:
        """`execute` runs an exec check; `on_change` is called when the catalog changed; `limit` bounds checks at a
        time; `dial` makes the sockets of tcp and http checks."""
        self._follower = Follower(store, self._take)
        self.catalog = self._follower.catalog
        self._keepers = Keepers(store, machine, Checks(execute, limit, dial), self.catalog)
        self._on_change = on_change

    @property
    def running(self) -> bool:
        """Whether `run` is under way: announcements are kept and the catalog follows."""
        return self._keepers.group is not None

    async def run(self) -> None:
        """Keep announcements and follow the catalog until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._keepers.group = group
            try:
                group.create_task(self._follower.run(), name="mesh catalog")
                await self._keepers.adopt()
                await asyncio.Event().wait()
            finally:
                self._keepers.group = None

    async def announce(self, announcement: Announcement) -> None:
        """Announce, or change what is announced under the same name; the same again changes nothing. Returns when
        the record is durable and in `instances`. Invalid; Conflict when another machine has the name."""
        await self._seen(await self._keepers.announce(decode_announcement(encode_announcement(announcement))))

    async def withdraw(self, tenant: str, service: str, id: str) -> None:
        """End an announcement of this machine: intent and record go at once. NotFound."""
        await self._seen(await self._keepers.withdraw(f"{tenant}/{service}/{id}"))

    async def beat(self, tenant: str, service: str, id: str) -> None:
        """The program behind a ttl check is alive. NotFound; Invalid when the check is of another kind."""
        await self._keepers.get(f"{tenant}/{service}/{id}").beat()

    def instances(self, tenant: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        """What is announced, by any machine, healthy or not."""
        return self.catalog.instances(tenant, service)

    def trouble(self) -> dict[str, str]:
        """Announcements of this machine whose record cannot be kept now, and intents nobody can read: why."""
        return self._keepers.trouble()

    async def _seen(self, revision: int) -> None:
        if self.running:
            await self._follower.seen(revision)

    def _take(self, batch: WatchBatch | None) -> None:
        """The catalog moved by a batch, or began anew."""
        changed = None if batch is None else [event.kv.key.removeprefix(SERVICES) for event in batch.events]
        self._keepers.audit(changed)
        self._on_change()
