"""Every announcement of this machine: each has a keeper, and keepers come and go under one lock.

An announcement that changes gets a new keeper, whose record takes the old one's place in one revision of the store.
Keepers run in the task group that is given while the mesh runs; before that they wait.
"""

import asyncio
import zlib
from collections.abc import Iterable

from hawser.store import Store, StoreError

from .catalog import Catalog
from .drivers.checks import Checks
from .errors import NotFound
from .keeper import Keeper
from .model import Announcement, instance_of, intent_key, service_key
from .records import delete_record, intents, put_record, stored_instance

RETRY = 0.5


class Keepers:
    """`catalog` is what the store is known to have; methods may raise the store's errors and this package's."""

    def __init__(self, store: Store, machine: str, checks: Checks, catalog: Catalog) -> None:
        self._store, self._machine = store, machine
        self._checks, self._catalog = checks, catalog
        self._now = asyncio.get_running_loop().time
        self._keepers: dict[str, Keeper] = {}
        self._problems: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self.group: asyncio.TaskGroup | None = None

    def get(self, key: str) -> Keeper:
        """The keeper of `tenant/service/id`. NotFound."""
        if key not in self._keepers:
            raise NotFound(f"{key} is not announced from this machine")
        return self._keepers[key]

    async def announce(self, announcement: Announcement) -> int:
        """Keep an announcement; the revision that has its record, 0 when it is kept already. Conflict."""
        async with self._lock:
            old = self._keepers.get(announcement.key)
            if old is not None and old.announcement == announcement:
                return 0
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
        return revision

    async def withdraw(self, key: str) -> int:
        """End an announcement; the revision that deleted its record, 0 when it had none. NotFound."""
        async with self._lock:
            keeper = self._keepers.get(key)
            if keeper is None and await self._store.get(intent_key(self._machine, key)) is None:
                raise NotFound(f"{key} is not announced from this machine")
            if keeper is None:
                revision = await delete_record(self._store, self._machine, key)
            else:
                revision = await self._delete(keeper)
            self._problems.pop(intent_key(self._machine, key), None)
        return revision

    async def adopt(self) -> None:
        """Take up the intents of an earlier life, and what was announced before there was a group."""
        while True:
            try:
                async with self._lock:
                    for keeper in self._keepers.values():
                        self._begin(keeper)
                    announced, self._problems = await intents(self._store, self._machine)
                    for announcement in announced:
                        if announcement.key not in self._keepers:
                            self._begin(await self._adopted(announcement))
                    return
            except StoreError:
                await asyncio.sleep(RETRY)

    def audit(self, keys: Iterable[str] | None = None) -> None:
        """The catalog moved: see whether the records (None: all) are still there."""
        for key in list(self._keepers) if keys is None else keys:
            if keeper := self._keepers.get(key):
                self._audit(keeper)

    def trouble(self) -> dict[str, str]:
        """Announcements whose record cannot be kept now, and intents nobody can read: why."""
        kept = {key: keeper.trouble for key, keeper in self._keepers.items() if keeper.trouble}
        return kept | self._problems

    def _keeper(self, announcement: Announcement) -> Keeper:
        return Keeper(self._store, self._machine, announcement, self._checks, self._now, self._audit)

    def _begin(self, keeper: Keeper) -> None:
        self._keepers[keeper.announcement.key] = keeper
        self._audit(keeper)
        if self.group is not None:
            keeper.task = self.group.create_task(keeper.run(), name=f"announcement {keeper.announcement.key}")

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

    async def _adopted(self, announcement: Announcement) -> Keeper:
        keeper = self._keeper(announcement)
        entry = await self._store.get(service_key(announcement.key))
        record = stored_instance(entry)
        if entry is not None and record is not None and record.machine == self._machine:
            same = record == instance_of(announcement, self._machine, healthy=record.healthy, reason=record.reason)
            phase = zlib.crc32(announcement.key.encode()) / 2**32
            keeper.adopt(record, entry.lease if same else 0, entry.mod_revision, phase)
        return keeper

    def _audit(self, keeper: Keeper) -> None:
        """A record that was put, is on its lease, and is not in the catalog of that revision or a later one is gone:
        its lease ended, or somebody deleted it. Events and acknowledgements may come in either order."""
        one = keeper.announcement
        if keeper.withdrawn or keeper.hold.lease is None or self._catalog.revision < keeper.revision:
            return
        if self._catalog.get(one.tenant, one.service, one.id) is None:
            keeper.vanished()
