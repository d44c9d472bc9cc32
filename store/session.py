"""Locks and elections on a store, as etcd's clients make them: whoever uses the same name with etcdctl takes part.

A session is a lease that is renewed until it ends or is lost. Who wants a lock puts a key of its own beneath the lock's
name, held by its lease, and has it when no key beneath the name is older; else it waits for the next older one to go.
An election is the same with a value. A lock is advice: its holder may lose the lease while it believes in it. So what a
holder writes is fenced: `Held.fence` is the compare that fails once the key is gone, and `Held.revision` grows from
holder to holder, for what is fenced outside the store. (etcd "concurrency" recipes; Jepsen's report on etcd 3.4.3.)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from .background import background
from .errors import Compacted, LeaseNotFound, StoreError, Unavailable
from .kv import Compare, DeleteOp, EventKind, KeyValue, PutOp, RangeOp, RangeResult, SortBy, Store, Target, absent

RENEWALS = 3


class Session:
    """A lease that lives as long as this process and its way to the store; use `open_session`."""

    def __init__(self, store: Store, lease: int, ttl: float, until: float) -> None:
        self.store, self.lease, self.ttl = store, lease, ttl
        self.lost = asyncio.Event()
        self._until = until

    async def keep(self) -> None:
        """Renew the lease until it is lost: ended by somebody, or not renewed in its time, which begins when it was
        asked for and not when the answer came, so that it never ends at the store first."""
        loop, until = asyncio.get_running_loop(), self._until
        while (began := loop.time()) < until:
            await asyncio.sleep(min(self.ttl / RENEWALS, until - began))
            began = loop.time()
            try:
                async with asyncio.timeout_at(until):
                    await self.store.lease_keepalive(self.lease)
                until = began + self.ttl
            except LeaseNotFound:
                break
            except (StoreError, TimeoutError):
                continue
        self.lost.set()


@asynccontextmanager
async def open_session(store: Store, ttl: float, *, outliving: bool = False) -> AsyncIterator[Session]:
    """A session whose lease is revoked at the end, or when `outliving` runs out by itself. `ttl` in seconds."""
    began = asyncio.get_running_loop().time()
    granted = await store.lease_grant(ttl)
    session = Session(store, granted.id, granted.ttl, began + granted.ttl)
    try:
        async with background(session.keep()):
            yield session
    finally:
        if not outliving and not session.lost.is_set():
            with suppress(StoreError, TimeoutError):  # it ends by itself
                async with asyncio.timeout(session.ttl):
                    await store.lease_revoke(session.lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lock that is held, or an election that is won: its key, and the revision that made it, which grows from holder
    to holder."""

    key: str
    revision: int

    @property
    def fence(self) -> Compare:
        """True while it is still held: a compare for every write of the holder."""
        return Compare(self.key, Target.CREATE, "=", self.revision)


class Election:
    """Who is first beneath a name; a lock is an election whose value nobody reads."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._prefix = store, f"{name}/"

    async def campaign(self, session: Session, value: bytes = b"") -> Held:
        """Wait to be first. Unavailable when the session is lost meanwhile; a wait that is given up leaves no key. A
        campaign cut off while it entered may leave one: it ends with the session, or the next campaign goes on with it.
        """
        held = await self._enter(session, value)
        try:
            await self._first(held, session)
        except BaseException:
            await self._withdraw(held)
            raise
        return held

    async def resign(self, held: Held) -> bool:
        """Let the next one be first; False when it was not held any more."""
        return (await self._store.txn([held.fence], [DeleteOp(held.key)])).succeeded

    async def proclaim(self, held: Held, session: Session, value: bytes) -> None:
        """Change the value. Unavailable when it is not held any more."""
        done = await self._store.txn([held.fence], [PutOp(held.key, value, session.lease)])
        if not done.succeeded:
            raise Unavailable(f"{held.key} is not held any more; campaign again")

    async def leader(self) -> KeyValue | None:
        """The first one's key, or None."""
        return next(iter((await self._oldest()).kvs), None)

    async def observe(self) -> AsyncIterator[KeyValue]:
        """The first one's key, whenever it or its value changes; for ever."""
        seen = (0, 0)
        while True:
            found = await self._oldest()
            first = next(iter(found.kvs), None)
            if first is not None and (now := (first.create_revision, first.mod_revision)) != seen:
                seen = now
                yield first
            with suppress(Compacted):  # look again
                async with self._store.watch(self._prefix, prefix=True, from_revision=found.revision + 1) as watch:
                    await anext(watch)

    async def _enter(self, session: Session, value: bytes) -> Held:
        key = f"{self._prefix}{session.lease:x}"
        done = await self._store.txn([absent(key)], [PutOp(key, value, session.lease)], [RangeOp(key)])
        if done.succeeded:
            return Held(key=key, revision=done.revision)
        (found,) = done.results
        assert isinstance(found, RangeResult)
        held = Held(key=key, revision=found.kvs[0].create_revision)
        if found.kvs[0].value != value:
            await self.proclaim(held, session, value)
        return held

    async def _first(self, held: Held, session: Session) -> None:
        """Wait to be first, no longer than the session lives."""

        async def lose() -> None:
            await session.lost.wait()
            limit.reschedule(0)

        own = False
        try:
            async with asyncio.timeout(None) as limit, background(lose()):
                own = await self._turn(held)
        except TimeoutError:
            if not limit.expired():
                raise
        if session.lost.is_set() or not own:
            raise Unavailable(f"the lease behind {held.key} ended while it waited; try again")

    async def _turn(self, held: Held) -> bool:
        """True when no older key is left; False when ours is gone."""
        while True:
            own = await self._store.get(held.key)
            if own is None or own.create_revision != held.revision:
                return False
            older = await self._store.read(
                RangeOp(
                    self._prefix,
                    prefix=True,
                    sort=SortBy.CREATE,
                    descending=True,
                    max_create=held.revision - 1,
                    limit=1,
                )
            )
            if not older.kvs:
                return True
            with suppress(Compacted):  # look again
                await self._gone(older.kvs[0].key, older.revision + 1)

    async def lost(self, held: Held) -> None:
        """Return when it is not held any more: the lease has ended, or somebody deleted the key."""
        while (own := await self._store.range(held.key)).kvs and own.kvs[0].create_revision == held.revision:
            with suppress(Compacted):  # look again
                await self._gone(held.key, own.revision + 1)

    async def _gone(self, key: str, revision: int) -> None:
        async with self._store.watch(key, from_revision=revision, skips=(EventKind.PUT,)) as watch:
            await anext(watch)

    async def _oldest(self) -> RangeResult:
        return await self._store.read(RangeOp(self._prefix, prefix=True, sort=SortBy.CREATE, limit=1))

    async def _withdraw(self, held: Held) -> None:
        """Best effort, also when cancelled: the lease takes the key in the end."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(1):
                await self._store.txn([held.fence], [DeleteOp(held.key)])
