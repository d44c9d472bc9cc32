"""Locks and elections: one at a time, in the order they came, fenced."""

import asyncio
from typing import Any

import pytest

from hawser.store import Compacted, KeyValue, Lease, MemoryStore, PutOp, Unavailable
from hawser.store.session import Election, Held, open_session
from tests.wait import auntil


class Slow(MemoryStore):
    """Its word takes a while, and no lease is renewed."""

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        granted = await super().lease_grant(ttl, id=id)
        await asyncio.sleep(0.3)
        return granted

    async def lease_keepalive(self, lease: int) -> Lease:
        await asyncio.sleep(0.05)
        raise Unavailable("not now")


class Troubled(MemoryStore):
    """Each watch and each read fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.compacted, self.away = 0, False

    def watch(self, key: str, **options: Any) -> Any:
        if self.compacted:
            self.compacted -= 1
            raise Compacted("that is gone", 7)
        return super().watch(key, **options)

    async def get(self, key: str) -> KeyValue | None:
        if self.away:
            raise Unavailable("the store is away")
        return await super().get(key)


async def test_the_first_has_it_and_the_next_follows_in_order() -> None:
    store, order = MemoryStore(), list[int]()

    async def holder(number: int) -> None:
        async with open_session(store, 5) as session:
            election = Election(store, "lock")
            held = await election.campaign(session, b"%d" % number)
            order.append(number)
            await asyncio.sleep(0)
            assert await election.resign(held)

    async with asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(holder(number))
    assert order == list(range(6))
    assert (await store.range("lock/", prefix=True)).kvs == ()


async def test_only_one_has_it_at_a_time() -> None:
    store, inside, most = MemoryStore(), 0, 0

    async def holder() -> None:
        nonlocal inside, most
        async with open_session(store, 5) as session:
            held = await Election(store, "lock").campaign(session)
            inside += 1
            most = max(most, inside)
            await store.put("work", b"")
            inside -= 1
            await Election(store, "lock").resign(held)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(holder())
    assert most == 1


async def test_revisions_grow_from_holder_to_holder_and_fence_the_last_one_out() -> None:
    store, seen = MemoryStore(), list[Held]()
    election = Election(store, "lock")
    for _ in range(2):
        async with open_session(store, 5) as session:
            seen.append(await election.campaign(session))
            assert (await store.txn([seen[-1].fence], [PutOp("work", b"")])).succeeded
    assert seen[0].revision < seen[1].revision
    assert not (await store.txn([seen[0].fence], [PutOp("work", b"late")])).succeeded


async def test_a_session_whose_lease_is_revoked_is_lost_and_its_wait_fails() -> None:
    store = MemoryStore()
    election = Election(store, "lock")
    async with open_session(store, 5) as first, open_session(store, 0.3) as second:
        await election.campaign(first)

        async def wait() -> None:
            with pytest.raises(Unavailable, match="lease behind"):
                await election.campaign(second)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait())
            async with store.watch("lock/", prefix=True, from_revision=3) as watch:
                await anext(watch)
            await store.lease_revoke(second.lease)
        await auntil(second.lost.is_set)
        assert not first.lost.is_set()


async def test_a_session_is_lost_before_its_lease_can_have_ended() -> None:
    """Its time begins when the lease is asked for, and a renewal that failed is not slept through."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with open_session(Slow(), 0.6) as session:
        await session.lost.wait()
    assert loop.time() - began < 0.72


async def test_a_wait_goes_on_when_the_past_is_compacted_and_fails_as_the_store_does() -> None:
    store = Troubled()
    election, seen = Election(store, "lock"), list[bytes]()

    async def observe() -> None:
        async for leader in election.observe():
            seen.append(leader.value)
            if leader.value == b"2":
                return

    async with open_session(store, 5) as first, open_session(store, 5) as second:
        held = await election.campaign(first, b"1")
        store.compacted = 2  # of the observer, of who waits
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(observe())
            tasks.create_task(election.campaign(second, b"2"))
            await auntil(lambda: not store.compacted)
            await election.resign(held)
        assert seen == [b"1", b"2"]
        store.away = True
        with pytest.raises(Unavailable, match="the store is away"):
            await election.campaign(first, b"3")
        assert (await store.range("lock/", prefix=True)).count == 1


async def test_a_wait_that_is_given_up_leaves_no_key() -> None:
    store = MemoryStore()
    election = Election(store, "lock")
    async with open_session(store, 5) as first, open_session(store, 5) as second:
        await election.campaign(first)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await election.campaign(second)
        assert (await store.range("lock/", prefix=True)).count == 1


async def test_observers_see_each_leader_and_each_value() -> None:
    store = MemoryStore()
    election, seen = Election(store, "boss"), list[bytes]()

    async def observe() -> None:
        async for leader in election.observe():
            seen.append(leader.value)
            if leader.value == b"b2":
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(observe())
        async with open_session(store, 5) as session:
            held = await election.campaign(session, b"a")
            await auntil(lambda: seen[-1:] == [b"a"], timeout=5)
            await election.proclaim(held, session, b"a2")
            await auntil(lambda: seen[-1:] == [b"a2"], timeout=5)
        async with open_session(store, 5) as session:
            held = await election.campaign(session, b"b")
            await auntil(lambda: seen[-1:] == [b"b"], timeout=5)
            await election.proclaim(held, session, b"b2")
    assert seen == [b"a", b"a2", b"b", b"b2"]
    assert await election.leader() is None


async def test_a_session_ends_with_its_block_or_outlives_it() -> None:
    store = MemoryStore()
    async with open_session(store, 60) as ended, open_session(store, 60, outliving=True) as goes_on:
        assert {*await store.leases()} == {ended.lease, goes_on.lease}
    assert await store.leases() == (goes_on.lease,)
    await store.close()
