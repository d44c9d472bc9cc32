"""What every engine promises of leases: keys live as long as theirs, and go together."""

import asyncio
from collections.abc import Awaitable

import pytest

from hawser.store import NotFound, PutOp, Store
from tests.wait import auntil

from ..watching import take, told


async def test_keys_end_with_their_lease_in_one_revision(store: Store) -> None:
    lease = await store.lease_grant(0.05)
    for key in ("b", "a", "c"):
        await store.put(key, b"", lease=lease.id)
    await store.put("stays", b"")
    async with store.watch("", prefix=True) as batches:
        assert told(await take(batches, 1)) == ["-a -b -c"]
    assert [entry.key for entry in (await store.range("", prefix=True)).kvs] == ["stays"]
    with pytest.raises(NotFound):
        await store.put("d", b"", lease=lease.id)


async def test_a_lease_lasts_its_time(store: Store) -> None:
    loop = asyncio.get_running_loop()
    granted = loop.time()
    lease = await store.lease_grant(0.2)
    await store.put("a", b"", lease=lease.id)
    async with store.watch("a") as batches:
        await take(batches, 1)
    assert lease.ttl <= loop.time() - granted < lease.ttl + 1


async def test_keeping_alive_begins_the_time_anew(store: Store) -> None:
    loop = asyncio.get_running_loop()
    lease = await store.lease_grant(0.15)
    await store.put("a", b"", lease=lease.id)
    end = loop.time() + 2.5 * lease.ttl
    renewed = loop.time()

    async def past_the_first_ttl() -> None:
        nonlocal renewed
        assert (await store.lease_keepalive(lease.id)).ttl == lease.ttl
        renewed = loop.time()

    while loop.time() < end:
        await past_the_first_ttl()
        await auntil(lambda: loop.time() >= renewed + 0.02)
    assert await store.get("a") is not None
    async with store.watch("a") as batches:
        await take(batches, 1)
    assert loop.time() - renewed >= lease.ttl


async def test_revoking_deletes_at_once_and_only_once(store: Store) -> None:
    lease = await store.lease_grant(60)
    await store.txn([], [PutOp("a", b"", lease=lease.id), PutOp("b", b"", lease=lease.id)])
    async with store.watch("", prefix=True) as batches:
        await store.lease_revoke(lease.id)
        assert told(await take(batches, 1)) == ["-a -b"]
    for call in (store.lease_revoke(lease.id), store.lease_keepalive(lease.id), store.put("c", b"", lease=lease.id)):
        with pytest.raises(NotFound, match="does not exist"):
            await call


async def test_a_key_belongs_to_the_lease_of_its_last_put(store: Store) -> None:
    first, second = await store.lease_grant(60), await store.lease_grant(60)
    await store.put("moves", b"", lease=first.id)
    await store.put("moves", b"", lease=second.id)
    await store.put("freed", b"", lease=first.id)
    await store.put("freed", b"")
    await store.put("deleted", b"", lease=first.id)
    await store.delete("deleted")
    await store.put("deleted", b"")
    await store.lease_revoke(first.id)
    assert [entry.key for entry in (await store.range("", prefix=True)).kvs] == ["deleted", "freed", "moves"]
    await store.lease_revoke(second.id)
    assert await store.get("moves") is None


async def test_a_lease_without_keys_ends_without_a_revision(store: Store) -> None:
    lease = await store.lease_grant(60)
    await store.lease_revoke(lease.id)
    assert (await store.range("", prefix=True)).revision == 1


async def test_a_put_and_the_end_of_its_lease_at_once_agree(store: Store) -> None:
    lease = await store.lease_grant(60)
    async with asyncio.TaskGroup() as tasks:
        before = tasks.create_task(store.put("a", b"", lease=lease.id))
        tasks.create_task(store.lease_revoke(lease.id))
        after = tasks.create_task(_refused(store.put("b", b"", lease=lease.id)))
    assert before.result() == 2
    assert after.result()
    assert (await store.range("", prefix=True)).kvs == ()


async def test_ids_are_never_used_again(store: Store) -> None:
    leases = {(await store.lease_grant(60)).id for _ in range(50)}
    for lease in leases:
        await store.lease_revoke(lease)
    assert leases.isdisjoint({(await store.lease_grant(60)).id for _ in range(50)})


async def _refused(call: Awaitable[int]) -> bool:
    try:
        await call
    except NotFound:
        return True
    return False
