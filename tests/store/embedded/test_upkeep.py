"""What operators ask an engine for: values outside the keys, the quota and its alarm, sizes, hashes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store import Compacted, DeleteOp, Future, LeaseNotFound, NoSpace, PutOp, RangeOp, TooLarge, TxnOp
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.engine import Engine
from hawser.store.embedded.hashing import crc32c
from hawser.store.embedded.memory import MemoryEngine

MIB = 1 << 20


async def test_values_outside_the_keys_are_durable_and_no_revision(rundir: Path) -> None:
    for expected in ({}, {"auth": b"2", "id": b"1"}):
        engine = await SqliteEngine.open(rundir)
        assert engine.meta == expected
        await asyncio.gather(engine.set_meta("auth", b"1"), engine.set_meta("id", b"1"), engine.set_meta("gone", b""))
        await asyncio.gather(engine.set_meta("auth", b"2"), engine.set_meta("gone", None))
        assert engine.meta == {"auth": b"2", "id": b"1"}
        assert engine.revision == 1
        await engine.close()


async def test_the_revision_and_the_compacted_one(engine: Engine) -> None:
    assert (engine.revision, engine.compacted) == (1, 0)
    await engine.put(b"a", b"")
    await engine.put(b"a", b"")
    await engine.compact(2)
    assert (engine.revision, engine.compacted) == (3, 2)


async def test_a_revision_is_never_used_again_when_all_of_it_was_compacted(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir)
    await engine.put(b"a", b"")
    await engine.delete(b"a")
    await engine.compact(3)
    await engine.close()
    engine = await SqliteEngine.open(rundir)
    assert (engine.revision, await engine.put(b"a", b"")) == (3, 4)
    await engine.close()


@pytest.fixture
async def small(rundir: Path) -> AsyncIterator[SqliteEngine]:
    """A store whose quota is 1 MiB, reached by what was put into `full/`."""
    engine = await SqliteEngine.open(rundir, quota=MIB)
    lease = await engine.lease_grant(60, id=7)
    await engine.put(b"held", b"", lease=lease.id)
    puts = [engine.put(b"full/%d" % number, bytes(50_000)) for number in range(30)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert isinstance(outcomes[-1], NoSpace)
    yield engine
    await engine.close()


async def test_a_full_store_refuses_what_adds_and_does_all_else(small: SqliteEngine) -> None:
    assert small.alarm
    adds = TxnOp(then=[RangeOp(b"a")], otherwise=[TxnOp(then=[PutOp(b"a", b"")])])
    for call in (small.put(b"a", b""), small.apply(adds), small.lease_grant(60)):
        with pytest.raises(NoSpace):
            await call
    assert (await small.range(b"full/", prefix=True, limit=1)).more
    assert (await small.txn([], [DeleteOp(b"full/0"), RangeOp(b"full/0")])).results[0] == 1
    assert (await small.lease_keepalive(7)).ttl == 60
    await small.lease_revoke(7)
    assert await small.get(b"held") is None
    await small.compact(small.revision)


async def test_the_alarm_ends_by_hand_and_comes_again_while_nothing_was_freed(small: SqliteEngine) -> None:
    await small.disarm()
    assert not is_raised(small)
    with pytest.raises(NoSpace):
        await small.put(b"a", bytes(50_000))
    assert is_raised(small)
    await small.delete(b"full/", prefix=True)
    await small.compact(small.revision)
    before = await small.size()
    assert before.in_use < before.allocated
    with pytest.raises(NoSpace):
        await small.put(b"a", b"")
    await small.defragment()
    after = await small.size()
    assert after.in_use == after.allocated < before.allocated
    with pytest.raises(NoSpace):
        await small.put(b"a", b"")
    await small.disarm()
    await small.put(b"a", b"")


async def test_the_alarm_stays_through_a_restart(small: SqliteEngine, rundir: Path) -> None:
    await small.close()
    engine = await SqliteEngine.open(rundir)
    assert engine.alarm
    with pytest.raises(NoSpace):
        await engine.put(b"a", b"")
    await engine.disarm()
    await engine.put(b"a", b"")
    await engine.close()


async def test_many_who_put_at_once_do_not_pass_the_quota_together(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir, quota=MIB)
    puts = [engine.put(b"%d" % number, bytes(10_000)) for number in range(400)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, NoSpace)]
    assert len(refused) > 200
    assert len(refused) + engine.revision - 1 == 400
    assert (await engine.size()).allocated < MIB * 3 // 2, "large values take a page more than etcd's estimate"
    await engine.close()


async def test_an_alarm_by_hand_refuses_too_and_the_lease_is_looked_at_afterwards(engine: Engine) -> None:
    await engine.raise_alarm()
    with pytest.raises(NoSpace):
        await engine.put(b"a", b"", lease=99)
    await engine.disarm()
    with pytest.raises(LeaseNotFound):
        await engine.put(b"a", b"", lease=99)


def is_raised(engine: Engine) -> bool:
    return engine.alarm


async def wander(engine: Engine) -> None:
    """Some of everything that the log can hold."""
    await engine.lease_grant(60, id=7)
    for number in range(30):
        await engine.put(b"a%d" % (number % 7), b"%d" % number * number, lease=7 * (number % 3 == 0))
        await engine.txn(
            [], [PutOp(b"b", b"1"), DeleteOp(b"a%d" % (number % 5)), PutOp(b"a\xff%d" % (number % 3), b"")]
        )
    await engine.lease_revoke(7)


async def test_the_same_history_has_the_same_hash_and_digest_in_every_engine(rundir: Path) -> None:
    engines = [await SqliteEngine.open(rundir), MemoryEngine(), MemoryEngine(ring=40)]
    for engine in engines:
        await wander(engine)
    kept = engines[2].compacted
    for engine in engines[:2]:
        await engine.compact(kept)
    seen = set[int]()
    for revision in (0, kept + 5, kept + 1):
        hashes = [await engine.hash(revision) for engine in engines]
        assert len(set(hashes)) == 1, revision
        seen.add(hashes[0][0])
    assert len(seen) == 3
    digests = [await engine.digest() for engine in engines]
    assert digests[0] == digests[1] == digests[2]
    await engines[0].put(b"a", b"")
    assert await engines[0].digest() != digests[0]
    for engine in engines:
        await engine.close()


async def test_a_hash_is_of_what_is_there(engine: Engine) -> None:
    await engine.put(b"a", b"1")
    assert (await engine.hash())[1] == -1, "nothing was compacted"
    await engine.put(b"a", b"2")
    await engine.compact(2)
    with pytest.raises(Future):
        await engine.hash(4)
    with pytest.raises(Compacted):
        await engine.hash(2)
    assert (await engine.hash(3))[1] == 2


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32/ISCSI"
    assert crc32c(b"56789", crc32c(b"1234")) == 0xE3069283
    assert crc32c(b"") == 0


async def test_a_key_is_as_long_as_a_request_may_be(engine: Engine) -> None:
    key = b"\xff" * 100_000
    await engine.put(key, b"1")
    assert await engine.get(key) is not None
    assert (await engine.range(key, end=b"\0")).count == 1
    with pytest.raises(TooLarge):
        await engine.put(bytes(2_000_000), b"")
