"""Keys and leases move from one store to another while the source goes on, and nothing is lost."""

import asyncio
import random
from pathlib import Path

import pytest

from hawser.store import (
    Conflict,
    DeleteOp,
    LeaseNotFound,
    MemoryStore,
    Op,
    PutOp,
    RangeOp,
    RangeResult,
    SqliteStore,
)
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.embedded.requests import MAX_VALUES
from hawser.store.migrate import Migration, Progress, digest


async def filled(count: int) -> MemoryStore:
    store = MemoryStore()
    for at in range(0, count, 100):
        ops: list[Op] = [PutOp(f"key/{number:06}", b"%d" % number) for number in range(at, min(at + 100, count))]
        await store.txn([], ops)
    return store


async def test_all_keys_come_with_their_values_and_progress_is_told(rundir: Path) -> None:
    source, target, told = await filled(2500), await SqliteStore.open(rundir), list[Progress]()
    migration = Migration(source.raw, target.raw, told.append)
    await migration.copy()
    await migration.follow()
    moved = await migration.verify()
    assert moved.count == 2500
    assert await digest(target.raw) == await digest(source.raw) == moved
    done = [each.done for each in told if each.phase == "copy"]
    assert done == sorted(set(done))
    assert len(done) > 3
    assert (done[-1], {each.total for each in told if each.phase == "copy"}) == (2500, {2500})
    await target.close()


async def test_leases_come_with_their_ids_and_keys() -> None:
    source, target = MemoryStore(), MemoryStore()
    held, bare = await source.lease_grant(30), await source.lease_grant(0.5)
    await source.put("a", b"1", lease=held.id)
    migration = Migration(source.raw, target.raw)
    await migration.copy()
    await migration.follow()
    assert (await target.lease_time_to_live(held.id)).keys == ("a",)
    assert (await target.lease_time_to_live(bare.id)).granted == 2
    await source.lease_revoke(held.id)
    await migration.follow()
    with pytest.raises(LeaseNotFound):
        await target.lease_time_to_live(held.id)
    assert (await migration.verify()).count == 0


async def test_what_changes_meanwhile_is_followed() -> None:
    """Writers go on through the copy; the follow after their last write makes both the same."""
    source, target, dice = await filled(3000), MemoryStore(), random.Random(5)
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            key = f"key/{dice.randrange(4000):06}"
            await source.txn([], [PutOp(key, dice.randbytes(8)), DeleteOp(f"key/{dice.randrange(4000):06}x")])
            await source.delete(f"key/{dice.randrange(4000):06}")

    migration = Migration(source.raw, target.raw)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        began = await migration.copy()
        assert await migration.follow() > began
        stop.set()
    await migration.follow()
    assert (await migration.verify()).count == (await source.range("", prefix=True)).count


async def test_a_copy_that_was_cut_off_goes_on_over_what_it_left() -> None:
    source, target = await filled(2500), MemoryStore()
    first = Migration(source.raw, target.raw)
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(first.copy())
        async with target.watch("", prefix=True) as watch:
            await anext(watch)
        copying.cancel()
    again = Migration(source.raw, target.raw)
    await again.copy()
    assert (await again.verify()).count == 2500


async def test_a_target_with_other_keys_is_left_alone_unless_they_may_go() -> None:
    source, target = await filled(10), MemoryStore()
    await target.put("mine", b"1")
    with pytest.raises(Conflict, match="it has mine"):
        await Migration(source.raw, target.raw).copy()
    assert (await target.range("", prefix=True)).count == 1
    migration = Migration(source.raw, target.raw)
    await migration.copy(overwrite=True)
    assert (await migration.verify()).count == 10


async def test_stores_that_differ_are_told() -> None:
    source, target = await filled(10), MemoryStore()
    migration = Migration(source.raw, target.raw)
    await migration.copy()
    await target.put("key/000003", b"other")
    with pytest.raises(Conflict, match="the stores differ: 10 keys"):
        await migration.verify()


async def test_a_revision_of_many_keys_is_split_for_the_target() -> None:
    source, target = MemoryStore(), MemoryStore()
    lease = await source.lease_grant(30)
    migration = Migration(source.raw, target.raw)
    await migration.copy()
    for number in range(500):
        await source.put(f"held/{number}", bytes(20_000), lease=lease.id)
    await migration.follow()
    await source.lease_revoke(lease.id)
    await migration.follow()
    assert (await migration.verify()).count == 0


async def test_keys_of_any_bytes_and_values_of_any_size_come_too() -> None:
    source, target = MemoryStore().raw, MemoryStore().raw
    largest = MAX_VALUES - 1
    for key in (b"\0", b"\xff", b"\xff\xff\xff", b"\xc3\x28", b"k" * 5000):
        await source.put(key, key)
    for number in range(8):
        await source.put(b"%d" % number, bytes(largest))
    migration = Migration(source, target)
    await migration.copy()
    await source.put(b"\xff\0", bytes(largest - 1))
    await migration.follow()
    assert (await migration.verify()).count == 14


async def test_an_empty_store_and_leases_without_keys_come_too() -> None:
    source, target = MemoryStore(), MemoryStore()
    lease = await source.lease_grant(30)
    migration = Migration(source.raw, target.raw)
    await migration.copy()
    await migration.follow()
    assert (await migration.verify()).count == 0
    assert await target.leases() == (lease.id,)


class Compacting(MemoryEngine):
    """Deletes a key and forgets the past when half of it has been read."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0

    async def read(self, op: RangeOp[bytes]) -> RangeResult[bytes]:
        self.pages += op.limit > 1
        if self.pages == 2:
            self.pages += 1
            await self.delete(b"key/000000")
            await self.compact(self.revision)
        return await super().read(op)


async def test_a_copy_that_compaction_overtook_leaves_nothing_that_was_deleted_meanwhile() -> None:
    source, target = Compacting(), MemoryStore().raw
    for number in range(250):
        await source.put(b"key/%06d" % number, b"")
    migration = Migration(source, target)
    await migration.copy()
    assert source.pages > 3
    await migration.follow()
    assert (await migration.verify()).count == 249
