"""The client and three members of which any may lead, or die. (With networks that fail: tests/store/proofs.)"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hawser.store import Unavailable
from hawser.store.etcd.client import EtcdStore, Upkeep, connect
from tests.etcd import Member, needs_etcd

pytestmark = needs_etcd


@pytest.fixture
async def members(rundir: Path) -> AsyncIterator[list[Member]]:
    made = [Member(rundir / f"m{number}") for number in range(3)]
    everybody = ",".join(f"m{number}=http://127.0.0.1:{each.peer}" for number, each in enumerate(made))
    async with AsyncExitStack() as stack:
        for number, each in enumerate(made):
            # two cores are busy with other things as well: no election for want of a heartbeat
            each.options = ("--name", f"m{number}", "--initial-cluster", everybody, "--election-timeout", "500")
            stack.callback(each.kill)
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in made))
        yield made


async def leader(store: EtcdStore, members: list[Member]) -> Member:
    upkeep = Upkeep(store.calls)
    for member, endpoint in zip(members, upkeep.endpoints, strict=True):
        status = await upkeep.status(endpoint)
        if status.leader == status.member:
            return member
    raise AssertionError("nobody leads")


async def insist(store: EtcdStore, key: bytes, value: bytes) -> None:
    """Put until it is certain that it was put; maybe more than once."""
    while True:
        try:
            await store.put(key, value)
        except Unavailable:
            continue
        return


async def test_watches_leases_and_changes_go_on_while_the_leader_moves_and_dies(members: list[Member]) -> None:
    urls = [each.url for each in members]
    async with connect(urls, timeout=1.5) as store, store.watch(b"n") as batches, asyncio.timeout(60):
        lease = await store.lease_grant(5)
        await store.put(b"held", b"", lease=lease.id)
        upkeep = Upkeep(store.calls)
        first = await leader(store, members)
        for endpoint in upkeep.endpoints:
            await upkeep.move_leader((await upkeep.status(endpoint)).member)
            await insist(store, b"n", endpoint.url.encode())
            assert (await store.lease_keepalive(lease.id)).ttl == lease.ttl
        last = await leader(store, members)
        assert last is members[-1]
        last.kill()
        await insist(store, b"n", b"after")
        assert (await store.lease_keepalive(lease.id)).ttl == lease.ttl
        assert await store.get(b"held") is not None
        seen = list[bytes]()
        async for batch in batches:
            seen += [event.kv.value for event in batch.events]
            if seen[-1] == b"after":
                break
        assert first in members
    assert list(dict.fromkeys(seen)) == [*(url.encode() for url in urls), b"after"]


async def test_a_member_that_is_left_alone_says_so_and_another_is_asked(members: list[Member]) -> None:
    alone, *others = members
    async with (
        connect([each.url for each in members], chance=lambda: 0.0, timeout=1.5) as store,
        connect(alone.url, timeout=0.5) as one,
        store.watch(b"n") as batches,
    ):
        for each in others:
            each.send(signal.SIGSTOP)
        async with asyncio.timeout(20):
            said = await refused(one)
            while "no leader" not in said:
                said = await refused(one)
        assert said == f"etcd does not answer at {alone.url} (no leader); is it running?", "it was certainly not done"
        for each in others:
            each.send(signal.SIGCONT)
        alone.kill()
        async with asyncio.timeout(20):
            await insist(store, b"n", b"together")
            async for batch in batches:
                if batch.events[-1].kv.value == b"together":
                    break


async def refused(store: EtcdStore) -> str:
    """What a put that cannot be done says."""
    with pytest.raises(Unavailable) as caught:
        await store.put(b"n", b"alone")
    return str(caught.value)
