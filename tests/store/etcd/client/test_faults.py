"""The client while connections are cut, swallow what is sent, or lead nowhere."""

import asyncio
import random
from itertools import pairwise

import pytest

from hawser.store import EventKind, PutOp, Unavailable, WatchBatch
from hawser.store.etcd.client import EtcdStore, OutcomeUnknown, connect
from tests.etcd import Member, needs_etcd
from tests.wait import auntil

from .proxy import Proxy

pytestmark = needs_etcd
TRANSPORTS = ("grpc", "gateway")


async def read(store: EtcdStore, key: bytes, last: bytes, seen: list[WatchBatch[bytes]], begun: asyncio.Event) -> None:
    """Every batch under a prefix until a value comes."""
    async with store.watch(key, prefix=True) as batches:
        begun.set()
        async for batch in batches:
            seen.append(batch)
            if batch.events[-1].kv.value == last:
                return


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_cut_a_watch_loses_nothing_and_repeats_nothing(
    etcd: Member, door: Proxy, other_door: Proxy, transport: str, seed: int
) -> None:
    chance = random.Random(seed)
    key = b"cuts/%d/%s/" % (seed, transport.encode())
    seen, begun = list[WatchBatch[bytes]](), asyncio.Event()
    truth = list[tuple[int, list[bytes]]]()

    async def write(store: EtcdStore) -> None:
        for number in range(60):
            keys = [key + b"%d" % each for each in range(chance.randrange(1, 4))]
            result = await store.txn([], [PutOp(each, b"%d" % number) for each in keys])
            truth.append((result.revision, keys))
            if chance.random() < 0.25:
                chance.choice((door, other_door)).cut()
            if chance.random() < 0.05:
                door.refuse()
                await asyncio.sleep(0)
                await door.open()
        result = await store.txn([], [PutOp(key + b"end", b"end")])
        truth.append((result.revision, [key + b"end"]))

    async with (
        connect(etcd.url) as sure,
        connect([door.url, other_door.url], transport=transport) as store,
        asyncio.timeout(20),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(read(store, key, b"end", seen, begun))
        await begun.wait()
        tasks.create_task(write(sure))
    assert [(batch.revision, [event.kv.key for event in batch.events]) for batch in seen] == truth


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_watch_outlives_a_restart_of_its_server(etcd: Member, transport: str) -> None:
    key = b"restart/" + transport.encode()
    async with connect(etcd.url, transport=transport) as store, store.watch(key) as batches:
        first = await store.put(key, b"1")
        etcd.kill()
        await asyncio.to_thread(etcd.start)
        second = await store.put(key, b"2")
        async with asyncio.timeout(5):
            seen = [await anext(batches), await anext(batches)]
    assert [batch.revision for batch in seen] == [first, second]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_change_that_was_sent_and_not_answered_is_told_as_such(door: Proxy, transport: str) -> None:
    key = b"unknown/" + transport.encode()
    async with connect(door.url, transport=transport, timeout=0.5) as store:
        before = await store.put(key, b"1")
        door.mute = True
        with pytest.raises(OutcomeUnknown, match=f"{door.url} did not answer .*outcome of Put is unknown"):
            await store.put(key, b"2")
        door.mute = False
        door.cut()
        entry = await store.get(key)
    assert entry is not None
    assert (entry.value, entry.mod_revision) == (b"2", before + 1), "it was done, once"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_change_cut_on_its_way_is_told_as_such_or_was_done_once(door: Proxy, transport: str) -> None:
    key = b"cut/" + transport.encode()
    told = list[bool]()
    async with connect(door.url, transport=transport) as store:
        for number in range(10):
            async with asyncio.TaskGroup() as tasks:
                putting = tasks.create_task(_put(store, key, b"%d" % number))
                await asyncio.sleep(0.0003 * number)
                door.cut()
            told.append(putting.result())
        entry = await store.get(key)
    assert entry is not None
    assert sum(told) <= entry.version <= len(told)


async def _put(store: EtcdStore, key: bytes, value: bytes) -> bool:
    try:
        await store.put(key, value)
    except OutcomeUnknown:
        return False
    return True


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_grant_that_was_not_answered_is_made_once(door: Proxy, transport: str) -> None:
    async with connect(door.url, transport=transport, timeout=0.4) as store:
        before = await store.leases()
        door.mute = True
        async with asyncio.TaskGroup() as tasks:
            granting = tasks.create_task(store.lease_grant(60))
            await asyncio.sleep(0.2)
            door.mute = False
            door.cut()
        lease = granting.result()
        assert set(await store.leases()) - set(before) == {lease.id}
        await store.lease_revoke(lease.id)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_reads_go_elsewhere_when_an_endpoint_is_silent(door: Proxy, other_door: Proxy, transport: str) -> None:
    urls = [door.url, other_door.url]
    async with connect(urls, transport=transport, timeout=1, chance=lambda: 0.0) as store:
        await store.put(b"a", b"1")
        door.mute = True
        entry = await store.get(b"a")
        assert entry is not None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await store.put(b"a", b"2")
        assert loop.time() - begun < 0.4, "the client stays with the endpoint that works"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_there_is_one_clear_line(door: Proxy, other_door: Proxy, transport: str) -> None:
    for each in (door, other_door):
        each.refuse()
    async with connect([door.url, other_door.url], transport=transport, timeout=0.3) as store:
        for call in (lambda: store.put(b"a", b""), lambda: store.get(b"a"), lambda: store.lease_grant(5)):
            with pytest.raises(Unavailable) as caught:
                await call()
            assert not isinstance(caught.value, OutcomeUnknown), "it certainly reached nobody"
            text = str(caught.value)
            assert text.startswith("etcd does not answer at ")
            assert text.endswith("; is it running?")
            assert f"{door.url} (Connection refused" in text
            assert f"{other_door.url} (Connection refused" in text
            assert "\n" not in text
        with pytest.raises(Unavailable, match="does not answer"):
            async with store.watch(b"a"):
                pass


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_changes_wait_for_a_server_that_comes_back_within_their_time(door: Proxy, transport: str) -> None:
    door.refuse()
    async with connect(door.url, transport=transport) as store, asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(store.put(b"a", b""))
        await asyncio.sleep(0.1)
        await door.open()
        assert await putting > 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_lease_is_kept_alive_through_cuts(door: Proxy, other_door: Proxy, transport: str) -> None:
    key = b"alive/" + transport.encode()
    async with connect([door.url, other_door.url], transport=transport) as store:
        lease = await store.lease_grant(1)
        await store.put(key, b"", lease=lease.id)
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.5 * lease.ttl
        while loop.time() < end:
            for each in (door, other_door):
                each.cut()
            assert (await store.lease_keepalive(lease.id)).ttl == lease.ttl
            await asyncio.sleep(0.05)
        assert await store.get(key) is not None
        await store.lease_revoke(lease.id)


async def test_a_silent_connection_is_noticed_and_its_watches_go_on_elsewhere(
    etcd: Member, door: Proxy, other_door: Proxy
) -> None:
    """gRPC's pings: 9 s at most (drivers/channel.py)."""
    urls = [door.url, other_door.url]
    async with connect(etcd.url) as sure, connect(urls, chance=lambda: 0.0) as store, store.watch(b"silent") as batches:
        assert door.accepted
        assert not other_door.accepted
        door.mute = door.deaf = True
        revision = await sure.put(b"silent", b"1")
        async with asyncio.timeout(12):
            assert (await anext(batches)).revision == revision


async def test_a_silent_gateway_is_asked_anew(etcd: Member, door: Proxy) -> None:
    async with (
        connect(etcd.url) as sure,
        connect(door.url, transport="gateway", silence=0.5) as store,
        store.watch(b"silent") as batches,
    ):
        door.mute = True
        revisions = [await sure.put(b"silent", b"%d" % number) for number in range(3)]
        await auntil(lambda: door.accepted >= 2)
        door.mute = False
        door.cut()
        async with asyncio.timeout(5):
            assert [(await anext(batches)).revision for _ in revisions] == revisions


async def test_a_thousand_watches_are_one_stream_and_each_sees_its_own(door: Proxy) -> None:
    async with connect(door.url) as store, asyncio.TaskGroup() as tasks:
        entered = asyncio.Semaphore(0)

        async def one(number: int) -> int:
            async with store.watch(b"many/%d" % number) as batches:
                entered.release()
                batch = await anext(batches)
                assert batch.events[0].kv.key == b"many/%d" % number
                return batch.revision

        readers = [tasks.create_task(one(number)) for number in range(1000)]
        async with asyncio.timeout(20):
            for _ in readers:
                await entered.acquire()
            door.cut()
            revisions = await asyncio.gather(*(_insist(store, b"many/%d" % number) for number in range(1000)))
        assert list(await asyncio.gather(*readers)) == revisions
    assert door.accepted <= 3


async def _insist(store: EtcdStore, key: bytes) -> int:
    """One put, whatever is cut."""
    while True:
        try:
            return await store.put(key, b"")
        except OutcomeUnknown:
            entry = await store.get(key)
            if entry is not None:
                return entry.mod_revision


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reader_that_sleeps_holds_up_nobody_and_misses_nothing(etcd: Member, transport: str) -> None:
    count, value = 30, bytes(400_000)  # with what was there before: more than a watch buffers
    key = b"slow/" + transport.encode()
    async with (
        connect(etcd.url, transport=transport) as store,
        connect(etcd.url) as writer,
        store.watch(key) as slow,
        store.watch(key) as quick,
    ):
        for _ in range(count):
            await writer.put(key, value)
        async with asyncio.timeout(20):
            fast = [await anext(quick) for _ in range(count)]
            late = [await anext(slow) for _ in range(count)]
    assert fast == late
    assert all(left.revision + 1 == right.revision for left, right in pairwise(fast))
    assert all(batch.events[0].kind is EventKind.PUT for batch in fast)
