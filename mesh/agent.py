"""The mesh of one node: what is announced here is kept, and what is announced anywhere is known.

An announcement is an intent, stored for good under the machine's name; its record hangs on a lease and has the health
that the checks found. When the node dies the records end with their leases; when it comes back in time it takes its
intents up again, with the health they had, so that a restart is no outage. The catalog follows the store by a watch and
keeps its last state while the store is away.
"""

import asyncio
import zlib
from collections.abc import Callable

from hawser.store import Store, StoreError, WatchBatch

from .drivers.checks import Checks, Execute
from .errors import NotFound
from .follower import Follower
from .keeper import Keeper
from .model import (
    SERVICES,
    Announcement,
    Instance,
    decode_announcement,
    encode_announcement,
    instance_of,
    intent_key,
    service_key,
)
from .records import delete_record, intents, put_record, stored_instance

RETRY = 0.5


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
    ) -> None:
        """`execute` runs an exec check; `on_change` is called when the catalog changed; `limit` bounds checks at a
        time."""
        self._follower = Follower(store, self._take)
        self.catalog = self._follower.catalog
        self.problems: dict[str, str] = {}
        self._store, self._machine = store, machine
        self._checks = Checks(execute, limit)
        self._on_change = on_change
        self._now = asyncio.get_running_loop().time
        self._keepers: dict[str, Keeper] = {}
        self._group: asyncio.TaskGroup | None = None
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Keep announcements and follow the catalog until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                group.create_task(self._follower.run(), name="mesh catalog")
                await self._adopt()
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def announce(self, announcement: Announcement) -> None:
        """Announce, or change what is announced under the same name; the same again changes nothing. Returns when
        the record is durable and in `instances`. Invalid; Conflict when another machine has the name."""
        announcement = decode_announcement(encode_announcement(announcement))
        async with self._lock:
            old = self._keepers.get(announcement.key)
            if old is not None and old.announcement == announcement:
                return
            keeper = self._keeper(announcement)
            lease = await self._store.lease_grant(announcement.ttl)
            try:
                async with old.lock if old is not None else asyncio.Lock():
                    revision = await put_record(self._store, keeper.record(), lease.id, intent=True)
                    keeper.revision = revision
                    if old is not None:
                        old.withdrawn = True
            except BaseException:
                await self._revoke(lease.id)
                raise
            if old is not None:
                await self._end(old)
            keeper.hold.granted(lease.id, self._now())
            self._begin(keeper)
        await self._seen(revision)

    async def withdraw(self, tenant: str, service: str, id: str) -> None:
        """End an announcement of this machine: intent and record go at once. NotFound."""
        key = f"{tenant}/{service}/{id}"
        async with self._lock:
            keeper = self._keepers.get(key)
            if keeper is None and await self._store.get(intent_key(self._machine, key)) is None:
                raise NotFound(f"{key} is not announced from this machine")
            if keeper is None:
                revision = await delete_record(self._store, self._machine, key)
            else:
                revision = await self._delete(keeper)
            self.problems.pop(intent_key(self._machine, key), None)
        await self._seen(revision)

    async def beat(self, tenant: str, service: str, id: str) -> None:
        """The program behind a ttl check is alive. NotFound; Invalid when the check is of another kind."""
        keeper = self._keepers.get(f"{tenant}/{service}/{id}")
        if keeper is None:
            raise NotFound(f"{tenant}/{service}/{id} is not announced from this machine")
        await keeper.beat()

    def instances(self, tenant: str | None = None, service: str | None = None) -> tuple[Instance, ...]:
        """What is announced, by any machine, healthy or not."""
        return self.catalog.instances(tenant, service)

    def trouble(self) -> dict[str, str]:
        """Announcements of this machine whose record cannot be kept now, and intents nobody can read: why."""
        kept = {key: keeper.trouble for key, keeper in self._keepers.items() if keeper.trouble}
        return kept | self.problems

    async def _seen(self, revision: int) -> None:
        if self._group is not None:
            await self._follower.seen(revision)

    def _keeper(self, announcement: Announcement) -> Keeper:
        return Keeper(self._store, self._machine, announcement, self._checks, self._now, self._audit)

    def _begin(self, keeper: Keeper) -> None:
        self._keepers[keeper.announcement.key] = keeper
        self._audit(keeper)
        if self._group is not None:
            keeper.task = self._group.create_task(keeper.run(), name=f"announcement {keeper.announcement.key}")

    async def _end(self, keeper: Keeper) -> None:
        if keeper.task is not None:
            keeper.task.cancel()
        if keeper.hold.lease is not None:
            await self._revoke(keeper.hold.lease)

    async def _delete(self, keeper: Keeper) -> int:
        async with keeper.lock:
            # set before, or the watch takes the record for lost
            keeper.withdrawn = True
            try:
                revision = await delete_record(self._store, self._machine, keeper.announcement.key)
            except BaseException:
                keeper.withdrawn = False
                raise
        del self._keepers[keeper.announcement.key]
        await self._end(keeper)
        return revision

    async def _revoke(self, lease: int) -> None:
        try:
            await self._store.lease_revoke(lease)
        except StoreError:
            return  # it ends by itself

    async def _adopt(self) -> None:
        """Take up the intents of an earlier life, and what was announced before `run`."""
        while True:
            try:
                async with self._lock:
                    for keeper in self._keepers.values():
                        self._begin(keeper)
                    announced, self.problems = await intents(self._store, self._machine)
                    for announcement in announced:
                        if announcement.key not in self._keepers:
                            self._begin(await self._adopted(announcement))
                    return
            except StoreError:
                await asyncio.sleep(RETRY)

    async def _adopted(self, announcement: Announcement) -> Keeper:
        keeper = self._keeper(announcement)
        entry = await self._store.get(service_key(announcement.key))
        record = stored_instance(entry)
        if entry is not None and record is not None and record.machine == self._machine:
            same = record == instance_of(announcement, self._machine, healthy=record.healthy, reason=record.reason)
            phase = zlib.crc32(announcement.key.encode()) / 2**32
            keeper.adopt(record, entry.lease if same else 0, entry.mod_revision, phase)
        return keeper

    def _take(self, batch: WatchBatch | None) -> None:
        """The catalog moved by a batch, or began anew."""
        if batch is None:
            changed = list(self._keepers)
        else:
            changed = [event.kv.key.removeprefix(SERVICES) for event in batch.events]
        for key in changed:
            if keeper := self._keepers.get(key):
                self._audit(keeper)
        self._on_change()

    def _audit(self, keeper: Keeper) -> None:
        """A record that was put, is on its lease, and is not in the catalog of that revision or a later one is gone:
        its lease ended, or somebody deleted it. Events and acknowledgements may come in either order."""
        one = keeper.announcement
        if keeper.withdrawn or keeper.hold.lease is None or self.catalog.revision < keeper.revision:
            return
        if self.catalog.get(one.tenant, one.service, one.id) is None:
            keeper.vanished()
