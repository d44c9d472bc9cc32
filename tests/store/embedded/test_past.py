"""Reads of the past from the log, while it is written."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from hawser.store import Compacted, RangeOp, SqliteStore
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.past import Entries, Wanted, read_past
from tests.wait import auntil


async def test_the_past_is_read_while_it_is_written_and_compacted(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=300, ring=3)
    for number in range(5):
        await store.put(f"k{number}", b"old")

    answers, done = 0, False

    async def write() -> None:
        nonlocal done
        for number in range(1200):
            await store.put(f"k{number % 5}", b"%d" % number)
        done = True

    async def read() -> None:
        nonlocal answers
        while True:
            try:
                found = await store.range("k", prefix=True, revision=6)
            except Compacted:
                return
            assert [entry.value for entry in found.kvs] == [b"old"] * 5
            answers += 1
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(read())
    await auntil(lambda: done)
    assert answers
    await store.close()


async def test_a_read_that_compaction_overtakes_is_refused_and_not_wrong(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir, keep=None, ring=3)
    for number in range(20):
        await engine.put(b"k%d" % (number % 5), b"%d" % number)
    reached = engine.lookup

    async def overtaken(wanted: Sequence[Wanted]) -> Entries:
        found = await reached(wanted)
        await engine.put(b"k0", b"later")
        await engine.delete(b"k1")
        await engine.compact(engine.revision)
        return found

    with pytest.raises(Compacted):
        await read_past(RangeOp(b"k", prefix=True, revision=8), engine.keys, engine.feed, overtaken)
    await engine.close()
