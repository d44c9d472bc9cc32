"""A machine leaves its cluster: the others get along without its etcd member before it goes.

The leader replaces and removes the member of a machine that is draining; where no machine can take its place, it is
only removed. The last machine takes the cluster with it. While others are there that cannot do without this machine,
it stays.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from hawser.store import Conflict, NotFound, Store, Unavailable
from hawser.store.cluster.model import Machine, Role, member_key
from hawser.store.etcd.client.members import Member, Members

WITHIN, AGAIN = 60.0, 1.0


class Leaving:
    """Of `machine`, whose member's peers find it at `peer_url`; `others()` are the other machines that are there."""

    def __init__(
        self, store: Store, members: Members, machine: str, peer_url: str, others: Callable[[], Iterable[Machine]]
    ) -> None:
        self._store, self._members = store, members
        self._machine, self._peer_url, self._others = machine, peer_url, others

    async def run(self) -> bool:
        """Until this machine has no member; False when it is the last one, whose member stays. Conflict when the others
        cannot do without it, Unavailable when too few members answer."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            waited = loop.time() - begun
            try:
                last = await self._once(waited)
            except Refused:
                raise
            except (Unavailable, Conflict):  # etcd wants its members to have been well for a few seconds, and a leader
                if waited > 2 * WITHIN:
                    raise
            else:
                if last is not None:
                    return not last
            await asyncio.sleep(AGAIN)

    async def check(self) -> None:
        """Conflict when the others cannot do without this machine."""
        listed = await self._members.list()
        if any(self._peer_url in each.peer_urls for each in listed):
            self._check(listed)

    def _check(self, listed: Sequence[Member]) -> bool:
        """Whether another machine can have a member in place of this one's. Conflict as `check`."""
        taken, others = {each.name for each in listed}, list(self._others())
        replaceable = any(_could_have_one(other) and other.id not in taken for other in others)
        if others and len(listed) == 1 and not replaceable:
            whose = "another machine uses" if len(others) == 1 else f"{len(others)} other machines use"
            raise Refused(
                f"{whose} this one's etcd member, and none can run one in its place: let it leave first, or have a "
                "machine join that has etcd"
            )
        return replaceable

    async def _once(self, waited: float) -> bool | None:
        """One look and what follows; whether this is the last machine, once that is how it stands."""
        listed = await self._members.list()
        own = next((each for each in listed if self._peer_url in each.peer_urls), None)
        if own is None:
            await self._store.delete(member_key(self._machine))
            return False
        if len(listed) == 1 and not list(self._others()):
            return True
        replaceable = self._check(listed)
        if replaceable and waited > 2 * WITHIN:
            raise Unavailable("no other machine has taken over this one's etcd member yet; try again")
        if len(listed) > 1 and (not replaceable or waited > WITHIN):
            with suppress(NotFound):  # the leader was quicker
                await self._members.remove(own.id)
        return None


class Refused(Conflict):
    """The others cannot do without this machine."""


def _could_have_one(machine: Machine) -> bool:
    """Whether a machine may run a member."""
    return machine.role is Role.MEMBER and bool(machine.versions.etcd) and not machine.draining
