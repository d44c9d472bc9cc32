"""What every engine promises of compaction: its revision stays readable, what is older is refused."""

import asyncio
from pathlib import Path

import pytest

from hawser.store import Compacted, Future, MemoryStore, RangeOp, SqliteStore, Store
from hawser.store.embedded.ageing import PART, parts
from hawser.store.embedded.drivers import log
from tests.wait import auntil

from ..conftest import Make
from ..embedded.test_failing_disk import Disk, works
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


async def test_the_past_goes_when_it_is_old(rundir: Path) -> None:
    for store in (MemoryStore(age=0.1), await SqliteStore.open(rundir, age=0.1)):
        await write(store, 5)
        await auntil(lambda store=store: store.kept_from() == 7)  # type: ignore[misc]
        assert await value(store, 6) == "4"
        await store.close()


def test_a_long_past_goes_in_parts() -> None:
    assert parts(0, 2 * PART + 1) == [PART, 2 * PART, 2 * PART + 1]
    assert parts(5, 6) == [6]
    assert parts(6, 6) == []


def rows(directory: Path) -> int:
    database = log.connect((directory / "store.db").as_uri())
    (count,) = database.execute("SELECT count(*) FROM changes").fetchone()
    database.close()
    return int(count)


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


async def test_without_a_limit_all_is_kept_and_compaction_is_kept_through_a_restart(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=None, ring=3)
    await asyncio.gather(*(store.put("a", b"%d" % number) for number in range(PART + 500)))
    assert await value(store, 2) == "0"
    assert rows(rundir) == PART + 500
    await store.compact(PART + 400)
    assert rows(rundir) == 102
    await store.close()
    store = await SqliteStore.open(rundir, keep=None, ring=3)
    assert await value(store, PART + 400) == f"{PART + 398}"
    with pytest.raises(Compacted):
        await value(store, PART + 399)
    await store.close()


async def test_the_file_shrinks_when_it_is_defragmented(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=None)
    for number in range(300):
        await store.put("a", b"%d" % number * 5000)
    await store.compact(300)
    await store.defragment()
    assert size(rundir) < 200_000
    assert await store.put("a", b"after") == 302
    assert (await store.range("a", revision=300)).count == 1
    await store.close()
    store = await SqliteStore.open(rundir)
    assert (await store.range("a")).kvs[0].value == b"after"
    await store.close()


@pytest.mark.parametrize(("name", "says"), [("SQLITE_FULL", "not made smaller"), ("SQLITE_IOERR_WRITE", "unknown")])
async def test_a_disk_that_fails_while_defragmenting_loses_nothing(rundir: Path, name: str, says: str) -> None:
    disk = Disk()
    store = await SqliteStore.open(rundir, connect=disk.connect)
    await store.put("a", b"1")
    disk.fail("VACUUM", name)
    with pytest.raises(Exception, match=says):
        await store.defragment()
    await works(store)
    assert await store.put("a", b"2") == 3
    await store.close()


async def test_a_memory_store_has_nothing_to_defragment() -> None:
    store = MemoryStore()
    await store.defragment()
    await store.close()
