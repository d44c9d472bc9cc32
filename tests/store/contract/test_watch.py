"""What every engine promises of watches: ordered, each event once, revisions whole, none missed, or a clear refusal."""

import asyncio
from collections.abc import Awaitable

import pytest

from hawser.store import Compacted, DeleteOp, Event, Invalid, PutOp, Store, Unavailable, WatchBatch

from ..conftest import Make
from ..watching import take, told


async def test_a_watch_begins_now(store: Store) -> None:
    await store.put("a", b"before")
    async with store.watch("a") as batches:
        await store.put("a", b"1")
        await store.put("b", b"not mine")
        await store.delete("a")
        seen = await take(batches, 2)
    assert told(seen) == ["+a=1", "-a"]
    assert [batch.revision for batch in seen] == [3, 5]


async def test_entering_is_enough_to_miss_nothing(store: Store) -> None:
    async with store.watch("", prefix=True) as batches:
        for number in range(50):
            await store.put("a", b"%d" % number)
        assert told(await take(batches, 50)) == [f"+a={number}" for number in range(50)]


async def test_a_prefix_sees_its_keys_and_no_others(store: Store) -> None:
    async with store.watch("a/", prefix=True) as batches:
        for key in ("a", "a/1", "a0", "b", "a/2"):
            await store.put(key, b"")
        assert told(await take(batches, 2)) == ["+a/1=", "+a/2="]


async def test_one_revision_is_one_batch_in_the_order_of_its_operations(store: Store) -> None:
    await store.put("a/1", b"")
    await store.put("x", b"")
    async with store.watch("a/", prefix=True) as batches:
        await store.txn([], [PutOp("a/9", b"9"), DeleteOp("a/1"), PutOp("y", b""), PutOp("a/5", b"5")])
        await store.put("z", b"")
        await store.delete("a/", prefix=True)
        assert told(await take(batches, 2)) == ["+a/9=9 -a/1 +a/5=5", "-a/5 -a/9"]


async def test_events_say_what_was_there_before(store: Store) -> None:
    async with store.watch("a") as batches:
        await store.put("a", b"1")
        first = await store.get("a")
        await store.put("a", b"2")
        second = await store.get("a")
        await store.delete("a")
        seen = [event for batch in await take(batches, 3) for event in batch.events]
    assert [event.prev for event in seen] == [None, first, second]
    assert [event.kv for event in seen[:2]] == [first, second]
    assert (seen[2].kv.mod_revision, seen[2].kv.version, seen[2].kv.value) == (4, 0, b"")


async def test_a_watch_from_the_past_replays_then_follows(store: Store) -> None:
    for number in range(5):
        await store.put("a", b"%d" % number)
    async with store.watch("a", from_revision=4) as batches:
        await store.put("a", b"5")
        seen = await take(batches, 4)
        await store.put("a", b"6")
        seen += await take(batches, 1)
    assert [batch.revision for batch in seen] == [4, 5, 6, 7, 8]


async def test_a_watch_may_begin_in_the_future(store: Store) -> None:
    async with store.watch("", prefix=True, from_revision=5) as batches:
        for number in range(2, 8):
            await store.put("a", b"%d" % number)
        assert told(await take(batches, 3)) == ["+a=5", "+a=6", "+a=7"]


async def test_the_first_revisions_may_be_named(store: Store) -> None:
    await store.put("a", b"1")
    for first in (1, 2):
        async with store.watch("a", from_revision=first) as batches:
            assert told(await take(batches, 1)) == ["+a=1"]
    for nonsense in (0, -1):
        with pytest.raises(Invalid):
            async with store.watch("a", from_revision=nonsense):
                pass


async def test_giving_up_a_wait_loses_nothing(store: Store) -> None:
    async with store.watch("", prefix=True) as batches:
        for number in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(batches), 0.001)
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(_given_up(take(batches, 1)))
                await asyncio.sleep(0)
                await store.put("a", b"%d" % number)
                waiting.cancel()
            seen = [] if waiting.cancelled() else waiting.result()
            seen += await take(batches, 1 - len(seen))
            assert told(seen) == [f"+a={number}"]


async def _given_up(reading: Awaitable[list[WatchBatch]]) -> list[WatchBatch]:
    return await reading


async def everything(store: Store, first: int, last: int) -> list[WatchBatch]:
    """Read from `first` until `last` has come."""
    seen = list[WatchBatch]()
    async with store.watch("", prefix=True, from_revision=first) as batches:
        while not seen or seen[-1].revision < last:
            seen += await take(batches, 1)
    return seen


async def test_every_starting_point_gives_the_same_tail_or_says_compacted(make: Make) -> None:
    store, truth = await make(8), list[WatchBatch]()
    async with store.watch("", prefix=True) as batches:
        for number in range(30):
            await store.txn([], [PutOp(f"k{number % 7}", b"%d" % number), DeleteOp(f"k{(number + 3) % 7}")])
            truth += await take(batches, 1)
    refused = list[int]()
    for first in range(2, 32):
        try:
            assert await everything(store, first, 31) == truth[first - 2 :]
        except Compacted:
            refused.append(first)
    assert refused in ([], list(range(2, 24))), "what is kept is kept to the end, and at least the ring"


async def test_a_slow_reader_loses_nothing_or_is_told(make: Make) -> None:
    store = await make(8)
    async with store.watch("", prefix=True) as batches:
        for number in range(5):
            await store.put("a", b"%d" % number)
        seen = await take(batches, 2)
        for number in range(5, 40):
            await store.put("a", b"%d" % number)
        try:
            seen += await take(batches, 38)
            assert told(seen) == [f"+a={number}" for number in range(40)]
        except Compacted:
            assert told(seen) == ["+a=0", "+a=1"]


async def test_readers_of_all_ages_see_every_write_of_many_writers(make: Make) -> None:
    store = await make(64)

    async def write(writer: int) -> None:
        for number in range(40):
            await store.put(f"{writer % 4}/{writer}", b"%d" % number)

    async def read(prefix: str) -> list[Event]:
        seen = list[Event]()
        async with store.watch(prefix, prefix=True) as batches:
            started.release()
            async for batch in batches:
                seen += batch.events
                if batch.events[-1].kv.key.endswith("end"):
                    return seen
        raise AssertionError("a watch never ends by itself")

    started = asyncio.Semaphore(0)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read(prefix)) for prefix in ("", "0/", "1/", "2/", "3/")]
        for _ in readers:
            await started.acquire()
        async with asyncio.TaskGroup() as writers:
            for writer in range(12):
                writers.create_task(write(writer))
        for group in range(4):
            await store.put(f"{group}/end", b"")
    whole = readers[0].result()
    assert [event.kv.mod_revision for event in whole] == list(range(2, len(whole) + 2))
    for prefix, reader in zip(("0/", "1/", "2/"), readers[1:4], strict=True):
        expected = [event for event in whole if event.kv.key.startswith(prefix)]
        assert reader.result()[: len(expected)] == expected
        assert len(expected) >= 3 * 40


async def test_closing_ends_a_watch_after_its_last_event(store: Store) -> None:
    async with store.watch("", prefix=True) as batches:
        await store.put("a", b"1")
        await store.close()
        assert told(await take(batches, 1)) == ["+a=1"]
        with pytest.raises(Unavailable, match="closed"):
            await take(batches, 1)
    with pytest.raises(Unavailable, match="closed"):
        async with store.watch("a"):
            pass


async def test_closing_wakes_a_watch_that_waits(store: Store) -> None:
    async with store.watch("a") as batches, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_ending(take(batches, 1)))
        await asyncio.sleep(0)
        await store.close()
    assert waiting.result() == "the store is closed"


async def _ending(reading: Awaitable[list[WatchBatch]]) -> str:
    try:
        await reading
    except Unavailable as error:
        return str(error)
    return "an event"
