"""What a watch can ask for: an interval, events of one kind only, and how far it has come: etcd's rules."""

import asyncio

import pytest

from hawser.store import Compacted, DeleteOp, EventKind, PutOp, Store, WatchBatch

from ..conftest import Make
from ..watching import take, told

PUT, DELETE = EventKind.PUT, EventKind.DELETE


async def change(store: Store) -> None:
    """Revisions 2 to 6."""
    await store.put("a", b"1")
    await store.put("b", b"2")
    await store.delete("a")
    await store.txn([], [DeleteOp("b"), PutOp("c", b"3")])
    await store.put("end", b"")


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("ring", [2, 100])
@pytest.mark.parametrize(
    ("skips", "seen"),
    [
        ([PUT], ["-a", "-b"]),
        ([DELETE], ["+a=1", "+b=2", "+c=3", "+end="]),
        ([], ["+a=1", "+b=2", "-a", "-b +c=3", "+end="]),
    ],
)
async def test_a_watch_skips_kinds(make: Make, ring: int, past: bool, skips: list[EventKind], seen: list[str]) -> None:
    store = await make(ring if past else 100)
    if past:
        await change(store)
    try:
        async with store.watch("", prefix=True, from_revision=2, skips=skips) as batches:
            if not past:
                await change(store)
            assert told(await take(batches, len(seen))) == seen
    except Compacted:
        assert past, "only a log has more than the ring"


async def test_a_watch_that_skips_everything_sees_nothing_and_still_comes_along(store: Store) -> None:
    async with store.watch("", prefix=True, skips=[PUT, DELETE]) as watcher:
        await change(store)
        assert await watcher.wait(0.01) == WatchBatch(revision=6, events=())


async def test_a_watch_of_an_interval(store: Store) -> None:
    async with store.watch("b", end="\0", from_revision=2) as from_b, store.watch("a", end="b") as only_a:
        await change(store)
        assert told(await take(from_b, 3)) == ["+b=2", "-b +c=3", "+end="]
        assert told(await take(only_a, 2)) == ["+a=1", "-a"]


async def test_what_was_told_as_progress_is_where_to_go_on(store: Store) -> None:
    async with store.watch("a") as watcher, asyncio.timeout(5):
        await store.put("other", b"")
        bookmark = (await watcher.wait(0.01)).revision
    await store.put("a", b"next")
    async with store.watch("a", from_revision=bookmark + 1) as batches:
        assert told(await take(batches, 1)) == ["+a=next"]
