"""The keeper of one announcement: holds its lease, runs its checks, and writes its record when health changes.

Two tasks, so that a slow check never costs the lease: one follows `LeaseHold`, one `Health` or `Heartbeat`. Both write
the record under one lock. Whatever the store or a check does wrong stays here: it is tried again, the reason is kept
in `trouble`, and every other announcement goes on.
"""

import asyncio
from collections.abc import Callable

from hawser.store import NotFound as LeaseGone
from hawser.store import Store, StoreError

from .announce import LeaseHold, Want
from .drivers.checks import Checks
from .errors import Invalid, MeshError
from .health import Health, Heartbeat, State
from .model import Announcement, CheckKind, Instance, instance_of
from .records import put_record


class Keeper:
    """`now` is the clock of everything here, in seconds."""

    def __init__(
        self,
        store: Store,
        machine: str,
        announcement: Announcement,
        checks: Checks,
        now: Callable[[], float],
        on_put: "Callable[[Keeper], None]",
    ) -> None:
        """`on_put` is called when the record was put; `revision` is then the store's revision that put it."""
        self.announcement = announcement
        self.revision = 0
        self._on_put = on_put
        self.lock = asyncio.Lock()
        self.withdrawn = False
        self.trouble = ""
        self.task: asyncio.Task[None] | None = None
        self.hold = LeaseHold(announcement.ttl)
        self._store, self._machine, self._checks, self._now = store, machine, checks, now
        self._lease_wake, self._beat_wake = asyncio.Event(), asyncio.Event()
        check = announcement.check
        self.health: Health | Heartbeat
        if check.kind is CheckKind.TTL:
            self.health = Heartbeat(ttl=announcement.ttl, now=now())
        else:
            self.health = Health(interval=announcement.interval, rise=check.rise, fall=check.fall, now=now())

    def adopt(self, record: Instance, lease: int, revision: int, phase: float) -> None:
        """Go on with the record and the lease of an earlier life."""
        self.revision = revision
        if isinstance(self.health, Heartbeat):
            self.health.adopt(healthy=record.healthy, reason=record.reason, now=self._now())
        else:
            self.health.adopt(healthy=record.healthy, reason=record.reason, now=self._now(), phase=phase)
        if lease:
            self.hold.lease, self.hold.due = lease, self._now()

    def record(self) -> Instance:
        """The record as it should be now."""
        healthy = self.health.state is State.PASSING
        return instance_of(self.announcement, self._machine, healthy=healthy, reason=self.health.reason)

    async def run(self) -> None:
        """Keep it until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_lease(), name=f"lease {self.announcement.key}")
            watch = self._follow_beats if isinstance(self.health, Heartbeat) else self._follow_checks
            group.create_task(watch(), name=f"health {self.announcement.key}")

    def vanished(self) -> None:
        """The record is gone from the store though nobody withdrew it."""
        self.hold.lost(self._now())
        self._lease_wake.set()

    async def beat(self) -> None:
        """The program is alive. Invalid when the check is of another kind."""
        if not isinstance(self.health, Heartbeat):
            raise Invalid(
                f"{self.announcement.key} is checked by {self.announcement.check}; only ttl checks take beats"
            )
        changed = self.health.beat(self._now())
        self._beat_wake.set()
        if changed:
            await self._publish()

    async def _keep_lease(self) -> None:
        while True:
            self._lease_wake.clear()
            want = self.hold.want(self._now())
            try:
                if want is Want.GRANT:
                    await self._grant()
                elif want is Want.RENEW:
                    await self._renew()
                else:
                    await _sleep(self._lease_wake, self.hold.deadline() - self._now())
            except (StoreError, MeshError) as error:
                self.trouble = str(error)
                self.hold.failed(self._now())

    async def _grant(self) -> None:
        async with self.lock:
            if self.withdrawn:
                self.hold.failed(self._now())
                return
            lease = await self._store.lease_grant(self.announcement.ttl)
            try:
                self.revision = await put_record(self._store, self.record(), lease.id)
            except (StoreError, MeshError):
                await self._store.lease_revoke(lease.id)
                raise
            self.hold.granted(lease.id, self._now())
            self.trouble = ""
        self._on_put(self)

    async def _renew(self) -> None:
        lease = self.hold.lease
        assert lease is not None
        try:
            await self._store.lease_keepalive(lease)
        except LeaseGone:
            self.hold.lost(self._now())
            return
        if self.hold.lease == lease:
            self.hold.renewed(self._now())
            self.trouble = ""

    async def _follow_checks(self) -> None:
        health = self.health
        assert isinstance(health, Health)
        while True:
            if (delay := health.deadline() - self._now()) > 0:
                await asyncio.sleep(delay)
            health.started(self._now())
            if health.report(await self._checks.run(self.announcement)):
                await self._publish()

    async def _follow_beats(self) -> None:
        health = self.health
        assert isinstance(health, Heartbeat)
        while True:
            self._beat_wake.clear()
            deadline = health.deadline()
            await _sleep(self._beat_wake, None if deadline is None else deadline - self._now())
            if health.expire(self._now()):
                await self._publish()

    async def _publish(self) -> None:
        """Health changed: write it; when that fails the lease's task begins anew and writes it with a new lease."""
        async with self.lock:
            if self.withdrawn or self.hold.lease is None:
                return
            try:
                self.revision = await put_record(self._store, self.record(), self.hold.lease)
                self._on_put(self)
            except LeaseGone:
                self.vanished()
            except (StoreError, MeshError) as error:
                self.trouble = str(error)
                self.hold.lease = None
                self.hold.failed(self._now())
                self._lease_wake.set()


async def _sleep(wake: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        return
