"""What is acknowledged stays: through SIGKILL, a shortened log, restarts and compaction."""

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest

from hawser.store import Compacted, NotFound, PutOp, SqliteStore
from tests.wait import auntil

from .watching import take, told

ROOT = Path(__file__).parents[2]


def victim(directory: Path, writers: int = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.store.victim", str(directory), str(writers)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed_after(directory: Path, lines: int) -> set[int]:
    """Run a writing victim until it has said so many lines, SIGKILL it; every number it acknowledged."""
    with victim(directory, writers=16) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
    return {int(line) for line in said if line.endswith("\n")}


async def test_sigkill_loses_nothing_acknowledged_and_shows_nothing_half_written(rundir: Path) -> None:
    chance, acknowledged = random.Random(), set[int]()
    for _ in range(6):
        acknowledged |= killed_after(rundir, chance.randint(1, 1500))
        store = await SqliteStore.open(rundir, keep=100)
        found = await store.range("", prefix=True)
        await store.close()
        left = {int(entry.key[5:]): entry for entry in found.kvs if entry.key.startswith("left/")}
        right = {int(entry.key[6:]): entry for entry in found.kvs if entry.key.startswith("right/")}
        assert acknowledged <= left.keys()
        assert left.keys() == right.keys(), "a transaction is there whole or not at all"
        for number, entry in left.items():
            assert (entry.mod_revision, entry.value) == (right[number].mod_revision, right[number].value)
        assert sorted(entry.mod_revision for entry in left.values()) == list(range(2, found.revision + 1))


async def test_a_truncated_log_keeps_what_was_acknowledged_before_the_cut(rundir: Path) -> None:
    store = await SqliteStore.open(rundir / "whole")
    wal = rundir / "whole" / "store.db-wal"
    sizes = list[int]()
    for number in range(40):
        await store.txn([], [PutOp(f"a{number:02}", bytes(100)), PutOp(f"b{number:02}", bytes(100))])
        sizes.append(wal.stat().st_size)
    await _cut_everywhere(rundir, sizes)
    await store.close()


async def _cut_everywhere(rundir: Path, sizes: list[int]) -> None:
    cuts = [0, 31, 32, sizes[0] - 1, *sizes[::7], *random.Random().sample(range(sizes[-1]), 15)]
    for nth, cut in enumerate(cuts):
        copy = rundir / str(nth)
        copy.mkdir()
        shutil.copy(rundir / "whole" / "store.db", copy)
        (copy / "store.db-wal").write_bytes((rundir / "whole" / "store.db-wal").read_bytes()[:cut])
        opened = await SqliteStore.open(copy)
        found = await opened.range("", prefix=True)
        assert await opened.put("works", b"on") == found.revision + 1
        await opened.close()
        whole = found.revision - 1
        assert whole >= sum(size <= cut for size in sizes)
        expected = [f"{side}{number:02}" for side in "ab" for number in range(whole)]
        assert [entry.key for entry in found.kvs] == expected


async def test_a_restart_continues_revisions_keys_and_watches(rundir: Path) -> None:
    store = await SqliteStore.open(rundir)
    await store.put("a", b"1")
    await store.put("b", b"2")
    await store.delete("b")
    before = await store.range("", prefix=True)
    await store.close()
    store = await SqliteStore.open(rundir)
    assert await store.range("", prefix=True) == before
    assert await store.put("a", b"3") == 5
    async with store.watch("", prefix=True, from_revision=2) as batches:
        assert told(await take(batches, 4)) == ["+a=1", "+b=2", "-b", "+a=3"]
    await store.close()


async def test_leases_begin_anew_after_a_restart_and_ended_ones_stay_ended(rundir: Path) -> None:
    loop = asyncio.get_running_loop()
    store = await SqliteStore.open(rundir)
    lives, ended = await store.lease_grant(0.3), await store.lease_grant(60)
    await store.put("lives", b"", lease=lives.id)
    await store.put("ended", b"", lease=ended.id)
    await store.lease_revoke(ended.id)
    await store.close()
    reopened = loop.time()
    store = await SqliteStore.open(rundir)
    with pytest.raises(NotFound):
        await store.lease_keepalive(ended.id)
    async with store.watch("", prefix=True) as batches:
        assert told(await take(batches, 1)) == ["-lives"]
    assert loop.time() - reopened >= 0.3
    await store.close()


async def test_every_commit_reaches_the_disk(rundir: Path) -> None:
    store = await SqliteStore.open(rundir)
    writer = store._log._database
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


async def test_the_log_keeps_the_last_revisions_and_the_last_row_of_each_key(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=50, ring=5)
    await store.put("old", b"still here")
    for number in range(400):
        await store.put(f"k{number % 10}", b"%d" % number)
        await store.delete(f"k{(number + 5) % 10}")
    before = await store.range("", prefix=True)
    with pytest.raises(Compacted, match="range again"):
        async with store.watch("", prefix=True, from_revision=2):
            pass
    async with store.watch("", prefix=True, from_revision=before.revision - 49) as batches:
        seen = await take(batches, 50)
    assert [batch.revision for batch in seen] == list(range(before.revision - 49, before.revision + 1))
    assert all(event.prev or event.kv.version == 1 for batch in seen for event in batch.events)
    await store.close()
    with sqlite3.connect(rundir / "store.db") as database:
        (rows,) = database.execute("SELECT count(*) FROM changes").fetchone()
    database.close()
    assert rows <= 2 * 50 + 50 + 11, "twice `keep` changes at most, what they superseded, and the keys"
    store = await SqliteStore.open(rundir, keep=50)
    assert await store.range("", prefix=True) == before
    await store.close()


async def test_reading_history_while_it_is_compacted_has_no_gap(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=300, ring=3)
    seen, finished = list[int](), False

    async def read() -> None:
        async with store.watch("a", from_revision=2) as batches:
            async for batch in batches:
                seen.append(batch.revision)
                if batch.events[0].kv.value == b"last":
                    return

    async def write() -> None:
        nonlocal finished
        for number in range(2000):
            await store.put("a", b"%d" % number)
        finished = True
        await store.put("a", b"last")

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        await store.put("a", b"first")
        reading = tasks.create_task(_until_compacted(read()))
        tasks.create_task(write())
    assert seen == list(range(2, len(seen) + 2))
    assert reading.result() or seen[-1] == 2003
    await auntil(lambda: finished)
    await store.close()


async def _until_compacted(reading: Awaitable[None]) -> bool:
    try:
        await reading
    except Compacted:
        return True
    return False
