"""What every engine answers of the past: what it would have answered then, or that it is too early or too late."""

import asyncio
import random

import pytest

from hawser.store import (
    Compacted,
    DeleteOp,
    Future,
    Invalid,
    PutOp,
    RangeOp,
    RangeResult,
    SortBy,
    Store,
    TxnOp,
)

from ..conftest import Make


async def wander(store: Store, steps: int) -> dict[int, RangeResult]:
    """Random changes; what a range of everything answered after each."""
    chance, then = random.Random(7), {1: await store.range("", prefix=True)}
    for number in range(steps):
        key = f"k{chance.randrange(6)}"
        if chance.random() < 0.3:
            await store.txn([], [DeleteOp(key, prefix=True), PutOp(f"t{number % 3}", b"%d" % number)])
        else:
            await store.put(key, b"%d" % number)
        found = await store.range("", prefix=True)
        then[found.revision] = found
    return then


async def oldest(store: Store) -> int:
    """The oldest revision that can be read."""
    try:
        await store.range("a", revision=1)
    except Compacted as late:
        return late.revision
    return 1


@pytest.mark.parametrize("ring", [4, 1000])
async def test_the_past_is_answered_as_the_present_was(make: Make, ring: int) -> None:
    store = await make(ring)
    then = await wander(store, 60)
    last = max(then)
    first = await oldest(store)
    kept = [revision for revision in then if revision >= first]
    assert len(kept) >= 4
    for revision in kept:
        found = await store.range("", prefix=True, revision=revision)
        assert (found.kvs, found.count, found.revision) == (then[revision].kvs, then[revision].count, last)
        one = await store.range("k3", revision=revision)
        assert one.kvs == tuple(entry for entry in then[revision].kvs if entry.key == "k3")
        few = await store.range("k", prefix=True, revision=revision, limit=2)
        assert few.kvs == tuple(entry for entry in then[revision].kvs if entry.key.startswith("k"))[:2]


async def test_what_is_yet_to_come_and_what_is_gone_are_told_apart(make: Make) -> None:
    store = await make(4)
    await wander(store, 20)
    last = (await store.range("a")).revision
    with pytest.raises(Future, match=f"revision {last + 1} is yet to come; the store is at {last}"):
        await store.range("a", revision=last + 1)
    with pytest.raises(Invalid, match="negative"):
        await store.range("a", revision=-1)
    if (compacted := await oldest(store)) > 1:
        with pytest.raises(Compacted) as caught:
            await store.range("a", revision=compacted - 1)
        assert caught.value.revision == compacted
        await store.range("a", revision=compacted)


async def test_a_transaction_reads_the_past_beside_its_changes(make: Make) -> None:
    store = await make(1000)
    for value in (b"1", b"2", b"3"):
        await store.put("a", value)
    result = await store.txn([], [PutOp("a", b"4"), RangeOp("a", revision=2), TxnOp(then=[RangeOp("a", revision=4)])])
    put, old, nested = result.results
    assert (put, result.revision) == (5, 5)
    assert isinstance(old, RangeResult)
    assert [entry.value for entry in old.kvs] == [b"1"]
    assert not isinstance(nested, (int, RangeResult))
    with pytest.raises(Future):
        await store.txn([], [PutOp("a", b"5"), RangeOp("a", revision=6)])
    assert (await store.range("a")).revision == 5, "a refused transaction did nothing"


async def test_a_branch_that_is_not_taken_may_read_what_is_yet_to_come(store: Store) -> None:
    assert (await store.txn([], [], [RangeOp("a", revision=99)])).succeeded


async def test_a_read_of_what_a_group_under_way_makes_waits_for_it(store: Store) -> None:
    puts = [store.put(f"k{number}", b"") for number in range(3)]

    async with asyncio.TaskGroup() as tasks:
        for put in puts:
            tasks.create_task(put)
        reading = tasks.create_task(store.txn([], [RangeOp("k", prefix=True, revision=3)]))
    (found,) = reading.result().results
    assert isinstance(found, RangeResult)
    assert [entry.key for entry in found.kvs] == ["k0", "k1"]


async def test_sorting_by_the_past(store: Store) -> None:
    for key, value in (("b", b"1"), ("a", b"2"), ("b", b"0")):
        await store.put(key, value)
    found = await store.read(RangeOp("", prefix=True, revision=3, sort=SortBy.MOD, descending=True))
    assert [entry.key for entry in found.kvs] == ["a", "b"]
