"""How the past goes: by age, by hand in parts, and from the disk."""

import asyncio
from pathlib import Path

import pytest

from hawser.store import Compacted, MemoryStore, SqliteStore
from hawser.store.embedded.ageing import PART, parts
from hawser.store.embedded.drivers import schema
from hawser.store.embedded.memory import MemoryEngine
from tests.wait import auntil

from ..contract.test_compaction import value, write
from .test_failing_disk import Disk, works


async def test_the_past_goes_when_it_is_old(rundir: Path) -> None:
    for store in (MemoryStore(age=0.1), await SqliteStore.open(rundir, age=0.1)):
        await write(store, 5)
        await auntil(lambda store=store: store.raw.kept_from() == 7)  # type: ignore[misc]
        assert await value(store, 6) == "4"
        await store.close()


def test_a_long_past_goes_in_parts() -> None:
    assert parts(0, 2 * PART + 1) == [PART, 2 * PART, 2 * PART + 1]
    assert parts(5, 6) == [6]
    assert parts(6, 6) == []


def rows(directory: Path) -> int:
    database = schema.connect((directory / "store.db").as_uri())
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
    await store.raw.defragment()
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
        await store.raw.defragment()
    await works(store)
    assert await store.put("a", b"2") == 3
    await store.close()


async def test_a_memory_store_has_nothing_to_defragment() -> None:
    engine = MemoryEngine()
    await engine.defragment()
    await engine.close()
