"""This machine's own etcd member: run while the cluster has it, ended and wiped when the cluster has it no more.

What the leader decided is in etcd's own list and in this machine's record (tending.py). A member that has data is
started before anything is asked of the store, for the store may be waiting for it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..errors import StoreError
from ..etcd.client.members import Member as Listed
from ..etcd.client.members import Members
from ..kv import Store
from .command import EtcdConfig
from .drivers.etcd_process import EtcdProcess, EtcdState
from .members import Member, initial_cluster
from .model import member_key

LOOK, AGAIN = 10.0, 1.0
READY_WITHIN = 30.0
log = logging.getLogger(__name__)


class OwnMember:
    """`configure(initial cluster)` is how the member is to be run when it joins those."""

    def __init__(
        self,
        store: Store,
        members: Members,
        process: EtcdProcess,
        machine: str,
        peer_url: str,
        configure: Callable[[str], EtcdConfig],
    ) -> None:
        self._store, self._members, self._process = store, members, process
        self._machine, self._peer_url, self._configure = machine, peer_url, configure
        self.trouble = ""

    async def run(self) -> None:
        """Keep it as the cluster wants it, until cancelled; then let it run on."""
        while True:
            pause, seen = LOOK, None
            try:
                seen = await self._once()
                self.trouble = ""
            except StoreError as error:
                pause = AGAIN
                if self.trouble != str(error):
                    log.warning("etcd member: %s; trying again", error)
                self.trouble = str(error)
            await self._changed(pause, seen)

    async def _once(self) -> int:
        """Look and act; the revision looked at."""
        found = await self._store.range(member_key(self._machine))
        listed = await self._members.list()
        mine = next((each for each in listed if self._peer_url in each.peer_urls), None)
        state = self._process.status().state
        if mine is not None:
            if state is EtcdState.REMOVED:  # it is another member now
                await self._process.destroy()
                state = EtcdState.STOPPED
            if state is EtcdState.STOPPED:
                await self._join(listed)
        elif not found.kvs and state is not EtcdState.STOPPED:
            log.info("the cluster has no member on this machine any more: it is ended and its data deleted")
            await self._process.destroy()
        return found.revision

    async def _join(self, listed: Sequence[Listed]) -> None:
        known = [Member(id=each.id, name=each.name, peer_urls=each.peer_urls) for each in listed]
        log.info("the cluster has a member on this machine: it is started")
        self._process.config = self._configure(initial_cluster(known, self._machine, (self._peer_url,)))
        await self._process.start(READY_WITHIN)

    async def _changed(self, seconds: float, seen: int | None) -> None:
        """Until this machine's record changes after a revision, or for so long."""
        first = None if seen is None else seen + 1
        watching = self._store.watch(member_key(self._machine), from_revision=first)
        try:
            async with asyncio.timeout(seconds), watching as watch:
                await anext(watch)
        except TimeoutError:
            return
        except StoreError:
            await asyncio.sleep(AGAIN)
