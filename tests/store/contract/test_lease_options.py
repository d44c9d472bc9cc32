"""What every engine tells of leases, and what who grants one can choose: etcd's rules."""

import asyncio

import pytest

from hawser.store import Conflict, LeaseStatus, NotFound, Store, Unavailable


async def test_a_chosen_id_is_the_leases(store: Store) -> None:
    assert (await store.lease_grant(60, id=7)).id == 7
    await store.put("a", b"", lease=7)
    with pytest.raises(Conflict, match="lease 7 exists already"):
        await store.lease_grant(60, id=7)
    await store.lease_revoke(7)
    assert await store.get("a") is None
    assert (await store.lease_grant(30, id=7)).ttl == 30
    assert (await store.lease_keepalive(7)).ttl == 30


async def test_of_two_who_choose_the_same_at_once_one_has_it(store: Store) -> None:
    outcomes = await asyncio.gather(*(store.lease_grant(60, id=2**62) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
    assert await store.leases() == (2**62,)


async def test_a_lease_says_how_long_it_has_and_what_it_holds(store: Store) -> None:
    lease = await store.lease_grant(60)
    assert (await store.lease_time_to_live(lease.id)).keys == ()
    for key in ("b", "a", "c"):
        await store.put(key, b"", lease=lease.id)
    await store.put("c", b"")
    status = await store.lease_time_to_live(lease.id)
    assert status == LeaseStatus(id=lease.id, granted=60, remaining=status.remaining, keys=("a", "b"))
    assert 50 < status.remaining <= 60
    await store.lease_revoke(lease.id)
    with pytest.raises(NotFound):
        await store.lease_time_to_live(lease.id)


async def test_the_living_leases_are_listed(store: Store) -> None:
    for chosen in (9, 3, 5):
        await store.lease_grant(60, id=chosen)
    await store.lease_revoke(5)
    assert await store.leases() == (3, 9)
    await store.close()
    with pytest.raises(Unavailable):
        await store.leases()
