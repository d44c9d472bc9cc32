"""Leases and locks of a cluster of three real etcd members through the loss of its leader and of a holder's wires."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store import EventKind, PutOp, Unavailable
from hawser.store.session import Election, open_session
from hawser.store.text import TextStore
from tests.etcd import needs_etcd

from .cluster import ELECTION, Cluster, cluster

pytestmark = [pytest.mark.root, needs_etcd]
TTL = 2.0
LATE = 1.0 + ELECTION / 1000
"""Seconds after its time in which a lease must have ended; an election may come between."""


@pytest.fixture
async def trio(rundir: Path) -> AsyncIterator[Cluster]:
    async with cluster(rundir) as made:
        yield made


async def test_a_session_outlives_the_leader_that_granted_it(trio: Cluster) -> None:
    async with trio.connect() as raw:
        store = TextStore(raw)
        async with open_session(store, TTL) as session:
            await store.put("mine", b"", lease=session.lease)
            first = await trio.leader()
            first.kill()
            assert await trio.leader() is not first
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.lost.wait(), 2 * TTL)
            entry = await store.get("mine")
            assert entry is not None
            assert entry.lease == session.lease
            first.start()
            await trio.leader()
            assert not session.lost.is_set()
        assert await store.get("mine") is None


@pytest.mark.parametrize("killed", [False, True])
async def test_a_lease_that_nobody_renews_ends_once_and_takes_its_keys_in_one_revision(
    killed: bool, trio: Cluster
) -> None:
    async with trio.connect() as raw:
        store = TextStore(raw)
        began = time.monotonic()
        lease = (await store.lease_grant(TTL)).id
        await store.txn([], [PutOp(f"lease/{number}", b"", lease) for number in range(3)])
        if killed:
            (await trio.leader()).kill()
            await trio.leader()
            began = time.monotonic()  # a new leader begins it anew
        async with store.watch("lease/", prefix=True, skips=[EventKind.PUT]) as watch:
            async with asyncio.timeout(TTL + LATE):
                ended = await anext(watch)
            assert time.monotonic() - began > (TTL - 1.0 if killed else TTL)
            assert [event.kv.key for event in ended.events] == ["lease/0", "lease/1", "lease/2"]
            assert {event.kv.mod_revision for event in ended.events} == {ended.revision}
            assert await store.leases() == ()
            assert await store.put("after", b"") == ended.revision + 1
            await store.put("lease/end", b"")
            await store.delete("lease/end")
            assert [event.kv.key for event in (await anext(watch)).events] == ["lease/end"]


async def test_who_lost_a_lock_behind_a_partition_cannot_write_over_the_next_holder(trio: Cluster) -> None:
    leader = await trio.leader()
    lonely, *_ = trio.others(leader)
    others = trio.others(lonely)
    async with trio.connect(lonely) as old_raw, trio.connect(*others) as new_raw:
        old, new = TextStore(old_raw), TextStore(new_raw)
        async with open_session(old, 1) as session, open_session(new, 1) as next_session:
            held = await Election(old, "lock").campaign(session)
            assert (await old.txn([held.fence], [PutOp("guarded", b"old")])).succeeded
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(Election(new, "lock").campaign(next_session))
                trio.lab.partition([lonely.name], [member.name for member in others])
                with pytest.raises(Unavailable):
                    await old.txn([held.fence], [PutOp("guarded", b"too late")])
                async with asyncio.timeout(10):
                    taken = await waiting
            await asyncio.wait_for(session.lost.wait(), 2)
            assert taken.revision > held.revision
            assert (await new.txn([taken.fence], [PutOp("guarded", b"new")])).succeeded
            trio.lab.heal()
            await trio.leader()
            assert not (await old.txn([held.fence], [PutOp("guarded", b"old again")])).succeeded
            entry = await old.get("guarded")
            assert entry is not None
            assert entry.value == b"new"
