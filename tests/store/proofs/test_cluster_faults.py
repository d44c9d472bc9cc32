"""A cluster of three real etcd members through the faults of its machines and wires, by what its clients see:
linearizable, nothing acknowledged lost, watches that lose and repeat nothing, and failures that are told in time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hawser.store import PutOp, Unavailable
from hawser.store.etcd.client import EtcdStore
from tests.etcd import needs_etcd
from tests.wait import auntil

from .cluster import Cluster, Member, cluster
from .load import Load, loaded

pytestmark = [pytest.mark.root, needs_etcd]
ROAMING, BOUND = 4, 2
DEADLINE = 2.0
SLACK = 1.0
"""Seconds that a busy machine may add to a deadline."""


@pytest.fixture
async def trio(rundir: Path) -> AsyncIterator[Cluster]:
    async with cluster(rundir) as made:
        yield made


def load_on(trio: Cluster, *bound: Member, seed: int = 1) -> AbstractAsyncContextManager[Load]:
    """Clients of all members, and the last two of some only; every other watch is of those only."""

    def connect(seed: str) -> AbstractAsyncContextManager[EtcdStore]:
        return trio.connect(*bound, timeout=DEADLINE, seed=seed)

    connects = [trio.client] * ROAMING + [connect] * (BOUND if bound else 0)
    return loaded(connects, [trio.client, connect], trio.store, seed=seed)


def well_told(load: Load) -> bool:
    """Whether every failure was told in one clear line, within its deadline."""
    for failure in load.failures:
        assert isinstance(failure.error, Unavailable), failure
        assert failure.seconds < DEADLINE + SLACK, failure
        assert "\n" not in str(failure.error)
        assert "http://10.0.0." in str(failure.error), failure
    return True


async def test_a_leader_is_killed_and_comes_back(trio: Cluster) -> None:
    async with load_on(trio) as load:
        await load.more()
        first = await trio.leader()
        first.kill()
        await load.more()
        assert await trio.leader() is not first
        first.start()
        await trio.leader()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    await trio.alike()


async def test_a_leader_alone_acknowledges_nothing_and_the_others_go_on(trio: Cluster) -> None:
    first = await trio.leader()
    async with load_on(trio, first) as load:
        await load.more()
        roaming, bound = load.clients[:-BOUND], load.clients[-BOUND:]
        trio.lab.partition([first.name], [each.name for each in trio.others(first)])
        assert await trio.leader(trio.others(first)) is not first
        answered = [client.answered for client in bound]
        await load.more(by=roaming)
        await auntil(lambda: all(client.failures for client in bound), what="failures at the leader alone")
        assert [client.answered for client in bound] == answered
        trio.lab.heal()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    await trio.alike()


async def test_members_all_apart_refuse_in_time_and_go_on_when_they_hear_each_other(trio: Cluster) -> None:
    async with load_on(trio) as load, trio.connect(timeout=1.0) as store:
        await load.more()
        trio.lab.partition(*([name] for name in trio.members))
        await auntil(lambda: all(client.failures for client in load.clients), what="failures")
        answered = load.answered()
        began = time.monotonic()
        refused = await asyncio.gather(
            store.get(b"a"),
            store.put(b"x", b"never"),
            store.txn([], [PutOp(b"x", b"never")]),
            store.lease_grant(5),
            _watched(store),
            return_exceptions=True,
        )
        assert time.monotonic() - began < 1.0 + SLACK
        for error in refused:
            assert isinstance(error, Unavailable)
            assert str(error).startswith("etcd ")
            assert "http://10.0.0." in str(error)
            assert "\n" not in str(error)
        assert load.answered() == answered
        trio.lab.heal()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    await trio.alike()


async def _watched(store: EtcdStore) -> None:
    async with store.watch(b"a"):
        raise AssertionError("a watch began without a leader")


@pytest.mark.parametrize("who", ["leader", "follower"])
async def test_a_member_behind_a_slow_link_holds_up_only_itself(who: str, trio: Cluster) -> None:
    leader = await trio.leader()
    slow = leader if who == "leader" else trio.others(leader)[0]
    async with load_on(trio) as load:
        await load.more()
        trio.lab.impair(slow.name, rate="200kbit")
        await load.more(15)
        trio.lab.heal()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    await trio.alike()


async def test_a_leader_that_pauses_finds_itself_replaced(trio: Cluster) -> None:
    async with load_on(trio) as load:
        await load.more()
        first = await trio.leader()
        assert first.process is not None
        first.process.pause()
        second = await trio.leader(trio.others(first))
        await load.more()
        first.process.resume()
        assert await trio.leader() is second
        await load.more()
    assert load.problems == []
    assert well_told(load)
    await trio.alike()


async def test_every_member_is_restarted_in_turn_and_no_write_is_lost(trio: Cluster) -> None:
    async with load_on(trio) as load:
        for member in trio.members.values():
            await load.more(25)
            await member.stop()
            await load.more(15)
            member.start()
            await trio.leader()
        await load.more(25)
    assert load.problems == []
    assert well_told(load)
    assert [len(watcher.sessions) for watcher in load.watchers] == [1] * len(load.watchers)
    await trio.alike()


async def test_who_watches_a_member_that_missed_a_compaction_lists_the_keys_anew(trio: Cluster) -> None:
    away, *_ = trio.others(await trio.leader())
    async with load_on(trio, away) as load:
        roaming = load.clients[:-BOUND]
        await load.more()
        away.kill()
        await load.more(by=roaming)
        await load.truth.compact()
        await load.more(by=roaming)
        away.start()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    assert [any(session.anew for session in watcher.sessions) for watcher in load.watchers] == [False, True] * 2
    await trio.alike()


@pytest.mark.parametrize("seed", [1, 2])
async def test_members_that_have_all_forgotten_who_a_client_is_are_told_again(seed: int, trio: Cluster) -> None:
    await trio.ask_who()
    async with (
        trio.connect(timeout=5) as truth,
        loaded([trio.client] * ROAMING, [trio.client] * 2, truth, seed=seed) as load,
    ):
        await load.more()
        for member in trio.members.values():
            member.kill()
        for member in trio.members.values():
            member.start()
        await load.more()
        (await trio.leader()).kill()
        await load.more()
    assert load.problems == []
    assert well_told(load)
    assert [len(watcher.sessions) for watcher in load.watchers] == [1] * len(load.watchers)
