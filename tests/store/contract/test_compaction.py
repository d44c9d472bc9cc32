"""What every engine promises of compaction: its revision stays readable, what is older is refused."""

import pytest

from hawser.store import Compacted, Future, RangeOp, Store

from ..conftest import Make
from ..watching import take, told


async def write(store: Store, count: int) -> None:
    """Revision n + 2 has a = n."""
    for number in range(count):
        await store.put("a", b"%d" % number)


async def value(store: Store, revision: int) -> str:
    return " ".join(entry.value.decode() for entry in (await store.range("a", revision=revision)).kvs)


async def test_reads_and_watches_end_at_the_compacted_revision(store: Store) -> None:
    await write(store, 10)
    await store.compact(6)
    assert [await value(store, revision) for revision in (6, 7, 11)] == ["4", "5", "9"]
    for late in (1, 5):
        with pytest.raises(Compacted) as caught:
            await value(store, late)
        assert caught.value.revision == 6
    for late in (2, 6):
        with pytest.raises(Compacted):
            async with store.watch("a", from_revision=late):
                pass
    async with store.watch("a", from_revision=7) as batches:
        assert told(await take(batches, 2)) == ["+a=5", "+a=6"]
    with pytest.raises(Compacted):
        await store.txn([], [RangeOp("a", revision=5)])


async def test_twice_the_same_is_compacted_and_more_than_there_is_comes_later(store: Store) -> None:
    await write(store, 5)
    with pytest.raises(Future):
        await store.compact(7)
    await store.compact(4)
    for again in (4, 3, 0):
        with pytest.raises(Compacted) as caught:
            await store.compact(again)
        assert caught.value.revision == 4
    await store.compact(6)
    assert await value(store, 6) == "4"
    assert (await store.range("a")).revision == 6, "compaction makes no revision"


async def test_deleted_keys_and_their_past_are_gone(store: Store) -> None:
    await write(store, 3)
    await store.delete("a")
    await store.put("b", b"")
    assert await value(store, 4) == "2"
    await store.compact(5)
    assert await value(store, 5) == ""
    assert [entry.key for entry in (await store.range("", prefix=True)).kvs] == ["b"]


async def test_a_watch_that_is_behind_is_told(make: Make) -> None:
    store = await make(4)
    async with store.watch("a") as behind:
        await write(store, 12)
        await store.compact(13)
        with pytest.raises(Compacted):
            await take(behind, 1)
    async with store.watch("a", from_revision=14) as batches:
        await store.put("a", b"next")
        assert told(await take(batches, 1)) == ["+a=next"]
