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

from hawser.store import Compacted, NotFound, PutOp, SqliteStore, StoreError
from hawser.store.embedded.draft import Draft
from hawser.store.embedded.drivers import log, schema
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from tests.wait import auntil

from ..watching import take, told

ROOT = Path(__file__).parents[3]


def victim(directory: Path, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.store.embedded.victim", str(directory), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def numbers(lines: list[str]) -> set[int]:
    return {int(line) for line in lines if line.endswith("\n")}


def killed_after(directory: Path, lines: int) -> set[int]:
    """Run a writing victim until it has said so many lines, SIGKILL it; every number it acknowledged."""
    with victim(directory, 16) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
    return numbers(said)


def killed_before(directory: Path, statement: str, count: int, writers: int = 16) -> set[int]:
    """Run a writing victim that kills itself at a point of a commit; every number it acknowledged."""
    with victim(directory, writers, statement, count) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        said = process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
    return numbers(said)


async def check_survivors(directory: Path, acknowledged: set[int]) -> None:
    """All that was acknowledged is there, each transaction whole, and no revision is missing."""
    store = await SqliteStore.open(directory, keep=100)
    found = await store.range("", prefix=True)
    await store.close()
    left = {int(entry.key[5:]): entry for entry in found.kvs if entry.key.startswith("left/")}
    right = {int(entry.key[6:]): entry for entry in found.kvs if entry.key.startswith("right/")}
    assert acknowledged <= left.keys()
    assert left.keys() == right.keys()
    for number, entry in left.items():
        assert (entry.mod_revision, entry.value) == (right[number].mod_revision, right[number].value)
    assert sorted(entry.mod_revision for entry in left.values()) == list(range(2, found.revision + 1))


async def test_sigkill_at_any_moment_loses_nothing_acknowledged(rundir: Path) -> None:
    chance, acknowledged = random.Random(), set[int]()
    for _ in range(6):
        acknowledged |= killed_after(rundir, chance.randint(1, 1500))
        await check_survivors(rundir, acknowledged)


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT", "DELETE", "UPDATE"])
async def test_sigkill_at_each_point_of_a_commit_loses_nothing_acknowledged(rundir: Path, statement: str) -> None:
    acknowledged = killed_before(rundir, statement, 1)
    await check_survivors(rundir, acknowledged)
    acknowledged |= killed_before(rundir, statement, random.Random().randint(2, 10))
    await check_survivors(rundir, acknowledged)


POINTS = ["BEGIN", "INSERT INTO leases", "DELETE FROM leases", "REPLACE INTO meta", "DELETE FROM changes"]
POINTS += ["UPDATE compacted", "COMMIT"]


@pytest.mark.parametrize("statement", POINTS)
async def test_sigkill_among_leases_values_compaction_and_snapshots(rundir: Path, statement: str) -> None:
    last = max(killed_before(rundir, statement, random.Random().randint(2, 12), writers=-1), default=0)
    engine = await SqliteEngine.open(rundir)
    found = await engine.range(b"", prefix=True, revision=engine.compacted)
    assert found.revision == engine.revision
    living, held = set(await engine.leases()), (await engine.range(b"held/", prefix=True)).kvs
    # of the round under way any part may be there: it begins a lease, and ends the one before the last five
    assert int(engine.meta.get("last", b"0")) in (last, last + 1)
    assert set(range(max(last - 3, 1), last + 1)) <= living <= set(range(last - 4, last + 2))
    assert living - {last + 1} <= {entry.lease for entry in held} <= living
    await engine.close()


async def test_what_a_killed_snapshot_left_is_removed(rundir: Path) -> None:
    left = rundir / "snapshot-left"
    left.write_bytes(b"half of it")
    engine = await SqliteEngine.open(rundir)
    assert not left.exists()
    await engine.close()


State = tuple[object, ...]


async def state(engine: SqliteEngine) -> State:
    found = await engine.range(b"", prefix=True)
    return found, await engine.leases(), dict(engine.meta), engine.compacted


async def test_a_log_cut_anywhere_leaves_a_prefix_of_what_was_acknowledged(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir / "whole")
    await engine.put(b"checkpointed", b"")
    await engine.close()
    engine = await SqliteEngine.open(rundir / "whole")
    acknowledged = [(0, await state(engine))]
    wal = rundir / "whole" / "store.db-wal"
    for number in range(1, 7):
        for change in (
            engine.lease_grant(60, id=number),
            engine.put(b"held%d" % number, bytes(3000), lease=number),
            engine.set_meta("last", b"%d" % number),
            engine.txn([], [PutOp(b"a", b"%d" % number), PutOp(b"b", b"%d" % number)]),
            engine.lease_revoke(number) if number % 2 else engine.compact(engine.revision),
        ):
            await change
            acknowledged.append((wal.stat().st_size, await state(engine)))
    content, database = wal.read_bytes(), (rundir / "whole" / "store.db").read_bytes()
    await engine.close()
    for cut in cuts(len(content), random.Random()):
        copy = rundir / f"cut{cut}"
        copy.mkdir()
        (copy / "store.db").write_bytes(database)
        (copy / "store.db-wal").write_bytes(content[:cut])
        engine = await SqliteEngine.open(copy)
        have = await state(engine)
        await engine.close()
        kept = [nth for nth, (_, then) in enumerate(acknowledged) if then == have]
        assert kept, "a state that there was"
        assert kept[-1] >= sum(size <= cut for size, _ in acknowledged) - 1
        shutil.rmtree(copy)


def cuts(size: int, chance: random.Random) -> list[int]:
    """Every boundary of a frame, a place in every frame, and in the header (sqlite.org/fileformat2.html, section 4)."""
    frame, header = 24 + 4096, 32
    boundaries = range(header, size + 1, frame)
    return [0, chance.randrange(1, header), *boundaries, *(at + chance.randrange(1, frame) for at in boundaries[:-1])]


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
    writers = list[sqlite3.Connection]()

    def connect(uri: str) -> sqlite3.Connection:
        writers.append(schema.connect(uri))
        return writers[0]

    store = await SqliteStore.open(rundir, connect=connect)
    (writer,) = writers
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


async def test_history_is_read_page_by_page(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, ring=3)
    await asyncio.gather(*(store.put(f"{'ab'[number % 2]}", b"%d" % number) for number in range(3500)))
    for key, first in (("a", 0), ("b", 1)):
        async with store.watch(key, from_revision=2) as batches:
            assert told(await take(batches, 1750)) == [f"+{key}={number}" for number in range(first, 3500, 2)]
    await store.close()


async def test_a_reader_slower_than_the_log_is_told(rundir: Path) -> None:
    store = await SqliteStore.open(rundir, keep=50, ring=3)
    async with store.watch("a") as batches:
        for number in range(300):
            await store.put("a", b"%d" % number)
        with pytest.raises(Compacted, match="range again"):
            await take(batches, 1)
    await store.close()


async def test_a_group_that_fails_leaves_the_log_as_it_was(rundir: Path) -> None:
    rows = log.Log(rundir / "store.db", keep=100)
    keys, leases = rows.read()
    good, bad = Draft(keys), Draft(keys)
    good.grant(7, 1.0)
    rows.append(good)
    bad.put(PutOp(b"a", b""))
    bad.grant(7, 1.0)
    with pytest.raises(StoreError, match="nothing of this was kept"):
        rows.append(bad)
    last = Draft(keys)
    last.put(PutOp(b"b", b""))
    rows.append(last)
    keys, leases = rows.read()
    assert (list(keys.items), keys.revision, leases) == ([b"b"], 2, {7: 1.0})
    rows.close()


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
