"""Copies of a whole store: exact as of one revision while it is written, checked before they become one."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from hawser.store import Conflict, Corrupt, StoreError, Unavailable
from hawser.store.embedded.drivers.snapshot import restore
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.memory import MemoryEngine

from .test_upkeep import wander


async def take(engine: SqliteEngine, file: Path) -> int:
    """Take a snapshot into a file; its revision."""
    async with engine.snapshot() as snapshot:
        chunks = [chunk async for chunk in snapshot.chunks]
        assert sum(map(len, chunks[:-1])) == snapshot.size
        assert chunks[-1] == hashlib.sha256(b"".join(chunks[:-1])).digest()
    write(file, b"".join(chunks))
    return snapshot.revision


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_what_is_restored_is_what_was_taken(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir / "one")
    await wander(engine)
    await engine.lease_grant(60, id=9)
    await engine.put(b"held", b"", lease=9)
    await engine.set_meta("auth", b"on")
    await engine.compact(20)
    revision = await take(engine, rundir / "copy")
    hashed, digest = await engine.hash(), await engine.digest()
    await engine.put(b"after", b"")
    await engine.close()
    assert restore(rundir / "copy", rundir / "two" / "deep") == revision
    assert names(rundir / "two" / "deep") == {"store.db"}
    again = await SqliteEngine.open(rundir / "two" / "deep")
    assert (await again.hash(), await again.digest(), again.revision) == (hashed, digest, revision)
    assert (await again.lease_time_to_live(9)).keys == (b"held",)
    assert again.meta == {"auth": b"on"}
    assert await again.put(b"a", b"") == revision + 1
    await again.close()


async def test_a_snapshot_taken_while_it_is_written_is_of_one_revision(rundir: Path) -> None:
    engine, done = await SqliteEngine.open(rundir / "one", keep=50), False

    async def put(writer: int) -> None:
        number = 0
        while not done:
            number += 1
            await engine.put(b"%d" % writer, b"%d" % number)

    async with asyncio.TaskGroup() as tasks:
        for writer in range(8):
            tasks.create_task(put(writer))
        for nth in range(3):
            before = engine.revision
            revision = await take(engine, rundir / "copy")
            assert before <= revision <= engine.revision
            restore(rundir / "copy", rundir / f"restored{nth}")
            copy = await SqliteEngine.open(rundir / f"restored{nth}")
            found = await copy.range(b"", prefix=True)
            assert found.revision == revision
            assert max((entry.mod_revision for entry in found.kvs), default=1) == revision
            await copy.close()
        done = True
    await engine.close()
    assert names(rundir / "one") == {"store.db", "lock"}


async def test_who_gives_up_a_snapshot_leaves_nothing(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir)
    async with engine.snapshot() as snapshot:
        await anext(snapshot.chunks)
    assert names(rundir) <= {"store.db", "store.db-wal", "store.db-shm", "lock"}
    await engine.close()
    with pytest.raises(Unavailable, match="closed"):
        engine.snapshot()


async def test_a_store_in_memory_says_that_it_has_none() -> None:
    engine = MemoryEngine()
    with pytest.raises(Unavailable, match="no snapshot"):
        engine.snapshot()
    await engine.close()


def refusal(file: Path, directory: Path) -> StoreError:
    with pytest.raises(StoreError) as caught:
        restore(file, directory)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_what_is_no_snapshot_is_refused_and_leaves_nothing(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir / "one")
    await wander(engine)
    await take(engine, rundir / "good")
    await engine.close()
    good, bad, target = (rundir / "good").read_bytes(), rundir / "bad", rundir / "two"
    other = os.urandom(8192)
    for content in (b"", good[:20], good[:-1], good[:-32], good[:5000], good + b"x", b"x" + good[1:]):
        bad.write_bytes(content)
        assert isinstance(refusal(bad, target), Corrupt)
    bad.write_bytes(other + hashlib.sha256(other).digest())
    assert "no snapshot of a store" in str(refusal(bad, target))
    assert isinstance(refusal(rundir / "absent", target), Unavailable)
    assert names(target) == set()
    assert isinstance(refusal(rundir / "good", rundir / "one"), Conflict)
    restore(rundir / "good", target)
    assert isinstance(refusal(rundir / "good", target), Conflict)
