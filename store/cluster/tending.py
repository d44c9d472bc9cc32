"""What the leader does for the cluster's etcd: one safe step at a time towards as many members as are wanted.

It looks (etcd's own list, who answers, who is there), asks the plan (member_plan.py) and does its step. A machine's
record is written before its member is added and deleted after it is removed, so the machine knows what to run whatever
crashes between; every step may be done twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..errors import StoreError
from ..etcd.client.endpoints import parse
from ..etcd.client.members import Member as Listed
from ..etcd.client.members import Members
from ..etcd.client.upkeep import MemberStatus, Upkeep
from ..kv import DeleteOp, PutOp, Store
from ..loop import reconcile_loop
from ..session import Held
from .member_plan import next_step
from .members import Host, Member, Step, Verb, in_sync, observed
from .model import CLUSTER, MEMBERS, Cluster, Machine, MemberRecord, Role, decode, encode, member_key

LOOK, BRISK = 5.0, 0.5
STATUS_WITHIN = 1.0
log = logging.getLogger(__name__)


class Tending:
    """`machines()` are those that are there, `held()` the election while this machine leads. `urls` gives the peer and
    client URLs of a machine's member."""

    def __init__(
        self,
        store: Store,
        members: Members,
        upkeep: Upkeep,
        machines: Callable[[], Iterable[Machine]],
        held: Callable[[], Held | None],
        urls: Callable[[Machine], tuple[str, str]],
    ) -> None:
        self._store, self._members, self._upkeep = store, members, upkeep
        self._machines, self._held, self._urls = machines, held, urls
        self._seen: Mapping[int, Member] = {}
        self._wake = asyncio.Event()
        self.step: Step | None = None
        """What was decided last, with its reason"""

    def wake(self) -> None:
        """The machines have changed, or who leads."""
        self._wake.set()

    async def run(self) -> None:
        """Tend while this machine leads, until cancelled."""
        await reconcile_loop(self._tend, self._wake, LOOK)

    async def _tend(self) -> float | None:
        held = self._held()
        if held is None:
            self._seen, self.step = {}, None
            return None
        try:
            return BRISK if await self._once(held) else None
        except StoreError as error:
            log.warning("the cluster's members are not tended: %s; trying again", error)
            return None

    async def _once(self, held: Held) -> bool:
        """One look and one step; whether something is under way."""
        entry = await self._store.get(CLUSTER)
        if entry is None:
            return False
        cluster = decode(Cluster, entry.value, CLUSTER)
        now = asyncio.get_running_loop().time()
        members = await self._look(now)
        step = next_step(cluster.members, self._hosts(), members, now=now, patience=cluster.patience)
        if self.step is None or str(step) != str(self.step):
            log.info("etcd members: %s", step)
        self.step = step
        if step.verb in (Verb.NONE, Verb.WAIT):
            return step.verb is Verb.WAIT
        await self._act(step, members, held)
        return True

    def _hosts(self) -> list[Host]:
        able = [each for each in self._machines() if each.role is Role.MEMBER and each.versions.etcd]
        return [
            Host(
                machine=machine.id,
                peer_urls=(self._urls(machine)[0],),
                zone=machine.labels.get("zone", ""),
                willing=not machine.draining,
            )
            for machine in able
        ]

    async def _look(self, now: float) -> tuple[Member, ...]:
        listed = await self._members.list()
        statuses = dict(zip((m.id for m in listed), await asyncio.gather(*map(self._status, listed)), strict=True))
        leader = next((s for s in statuses.values() if s is not None and s.member == s.leader), None)
        found = [_member(each, statuses[each.id], leader) for each in listed]
        well = {id_ for id_, status in statuses.items() if status is not None and status.leader}
        seen = observed(found, self._seen, well, now)
        self._seen = {member.id: member for member in seen}
        return seen

    async def _status(self, member: Listed) -> MemberStatus | None:
        """What a member says of itself; None when it does not answer."""
        for url in member.client_urls:
            try:
                return await self._upkeep.status(parse(url)[0], timeout=STATUS_WITHIN)
            except StoreError:
                continue
        return None

    async def _act(self, step: Step, members: tuple[Member, ...], held: Held) -> None:
        if step.verb is Verb.ADD:
            await self._add(step, held)
        elif step.verb is Verb.PROMOTE:
            await self._members.promote(step.member)
        elif step.verb is Verb.UPDATE:
            await self._members.update(step.member, step.peer_urls)
        else:
            gone = next(member for member in members if member.id == step.member)
            await self._members.remove(step.member)
            await self._forget(gone, held)

    async def _add(self, step: Step, held: Held) -> None:
        machine = next(machine for machine in self._machines() if machine.id == step.machine)
        record = MemberRecord(machine=machine.id, peer_urls=step.peer_urls, client_urls=(self._urls(machine)[1],))
        await self._write(PutOp(member_key(machine.id), encode(record)), held)
        added = await self._members.add(step.peer_urls, learner=True)
        await self._write(PutOp(member_key(machine.id), encode(replace(record, member=added.id))), held)

    async def _forget(self, gone: Member, held: Held) -> None:
        """The machine's record, when it is about this member and not about its next one."""
        for entry in (await self._store.range(MEMBERS, prefix=True)).kvs:
            record = decode(MemberRecord, entry.value, entry.key)
            if record.member == gone.id or (record.member == 0 and record.machine == gone.name):
                await self._write(DeleteOp(entry.key), held)

    async def _write(self, op: PutOp | DeleteOp, held: Held) -> None:
        """Fenced: who leads no more writes nothing."""
        await self._store.txn([held.fence], [op])


def _member(listed: Listed, status: MemberStatus | None, leader: MemberStatus | None) -> Member:
    return Member(
        id=listed.id,
        name=listed.name,
        peer_urls=listed.peer_urls,
        learner=listed.learner,
        leader=leader is not None and listed.id == leader.member,
        synced=status is not None and leader is not None and in_sync(status.applied, leader.index),
    )
