"""This machine's place among the others: its record under a lease, and its turn as leader.

While the lease lives the record says that the machine is there; when the lease is lost (the store was away for longer,
somebody revoked it) both begin anew. All machines stand for election; who leads does what only one may do, and writes
fenced by `held`. Another machine with the same id (a cloned disk) is told by its record taking the place of ours.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from ..errors import LeaseNotFound, StoreError, Unavailable
from ..kv import EventKind, Store
from ..session import Election, Held, Session, open_session
from .model import LEADER, Machine, encode, machine_key

TTL, AGAIN = 10.0, 1.0
log = logging.getLogger(__name__)


class Registration:
    """`describe` says what this machine is now; it may block and is called on a thread. `changed` is called when `held`
    changes. `ttl` in seconds: how long after this machine's last word it counts as gone."""

    def __init__(
        self,
        store: Store,
        machine: str,
        describe: Callable[[], Machine],
        *,
        ttl: float = TTL,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._machine, self._describe = store, machine, describe
        self._ttl, self._changed = ttl, changed
        self.held: Held | None = None
        """The election, while this machine leads"""
        self.trouble = ""
        """Why this machine is not known to the others, or another one has its id"""
        self._fresh = asyncio.Event()

    def refresh(self) -> None:
        """What `describe` says has changed: write the record anew."""
        self._fresh.set()

    async def run(self) -> None:
        """Be registered, until cancelled; then the others know at once."""
        followed = False
        while True:
            try:
                if not followed:
                    await self._succeed()
                    followed = True
                async with open_session(self._store, self._ttl) as session, asyncio.TaskGroup() as tasks:
                    await self._write(session)
                    for part in (_end(session), self._lead(session), self._rewrite(session), self._look(session)):
                        tasks.create_task(part)
            except* StoreError as group:
                self.trouble = f"this machine is not registered: {group.exceptions[0]}"
                log.warning("%s; trying again", self.trouble)
            finally:
                self._set(None)
            await asyncio.sleep(AGAIN)

    async def _succeed(self) -> None:
        """End the lease of this machine's last process, which is no more: nobody need wait for it to run out."""
        entry = await self._store.get(machine_key(self._machine))
        if entry is not None and entry.lease:
            with suppress(LeaseNotFound):
                await self._store.lease_revoke(entry.lease)

    async def _write(self, session: Session) -> None:
        machine = await asyncio.to_thread(self._describe)
        await self._store.put(machine_key(self._machine), encode(machine), lease=session.lease)
        self.trouble = ""

    async def _lead(self, session: Session) -> None:
        """Stand for election, lead, and when somebody took that away stand again."""
        election = Election(self._store, LEADER)
        while True:
            self._set(await election.campaign(session, self._machine.encode()))
            assert self.held is not None
            await election.lost(self.held)
            self._set(None)

    async def _rewrite(self, session: Session) -> None:
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            await self._write(session)

    async def _look(self, session: Session) -> None:
        """Whether somebody else writes or deletes this machine's record."""
        async with self._store.watch(machine_key(self._machine)) as watch:
            async for batch in watch:
                for event in batch.events:
                    if event.kind is EventKind.DELETE:
                        self.refresh()
                    elif event.kv.lease != session.lease:
                        self.trouble = "another machine has this one's id; one of them must get a new one: leave, join"
                        log.error("%s", self.trouble)

    def _set(self, held: Held | None) -> None:
        if held != self.held:
            self.held = held
            self._changed()


async def _end(session: Session) -> None:
    await session.lost.wait()
    raise Unavailable("its lease was lost")
