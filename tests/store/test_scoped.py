"""A scoped store has keys of its own and never sees or touches others."""

import pytest

from hawser.store import Conflict, DeleteOp, Invalid, MemoryStore, PutOp, RangeOp, RangeResult, Store, absent
from hawser.store.errors import EmptyKey
from hawser.store.scoped import ScopedStore

from .watching import take, told


@pytest.fixture
async def whole() -> Store:
    store = MemoryStore()
    for key in ("/a", "/m/", "/m0", "/m1/a", "/z"):
        await store.put(key, b"other")
    return store


@pytest.fixture
def scoped(whole: Store) -> ScopedStore:
    return ScopedStore(whole, "/m/")


async def test_keys_lie_beneath_the_prefix(whole: Store, scoped: ScopedStore) -> None:
    await scoped.put("k", b"1")
    assert (await whole.get("/m/k")) is not None
    entry = await scoped.get("k")
    assert entry is not None
    assert (entry.key, entry.value) == ("k", b"1")
    assert await scoped.get("/a") is None


@pytest.mark.parametrize(("key", "end", "prefix"), [("a", "\0", False), ("", None, True), ("a", "zz", False)])
async def test_no_range_leaves_the_scope(
    whole: Store, scoped: ScopedStore, key: str, end: str | None, prefix: bool
) -> None:
    await scoped.txn([absent("b")], [PutOp("b", b"1"), PutOp("c", b"2")])
    found = await scoped.range(key, end=end, prefix=prefix)
    assert [entry.key for entry in found.kvs if entry.key] == ["b", "c"]
    result = await scoped.txn([], [RangeOp(key, end, prefix), DeleteOp(key, end, prefix, prev_kv=True)])
    assert isinstance(result.results[0], RangeResult)
    assert result.results[0].kvs == found.kvs
    assert [entry.key for entry in (await whole.range("", prefix=True)).kvs if entry.key != "/m/"] == [
        "/a",
        "/m0",
        "/m1/a",
        "/z",
    ]


async def test_an_empty_key_is_none_and_not_the_scopes_own_prefix(whole: Store, scoped: ScopedStore) -> None:
    for call in (
        scoped.put("", b""),
        scoped.get(""),
        scoped.range(""),
        scoped.delete(""),
        scoped.txn([absent("")], []),
        scoped.txn([], [PutOp("", b"")]),
    ):
        with pytest.raises(EmptyKey):
            await call
    with pytest.raises(EmptyKey):
        async with scoped.watch(""):
            pass
    kept = await whole.get("/m/")
    assert kept is not None
    assert kept.value == b"other"


async def test_a_watch_sees_the_scope_alone(whole: Store, scoped: ScopedStore) -> None:
    async with scoped.watch("", prefix=True) as watch:
        await whole.put("/z", b"2")
        await scoped.put("k", b"1")
        await scoped.delete("k")
        assert told(await take(watch, 2)) == ["+k=1", "-k"]


async def test_leases_are_the_stores_and_their_keys_the_scopes(whole: Store, scoped: ScopedStore) -> None:
    lease = await scoped.lease_grant(30)
    await scoped.put("k", b"1", lease=lease.id)
    await whole.put("/z", b"1", lease=lease.id)
    assert (await scoped.lease_time_to_live(lease.id)).keys == ("k",)
    assert await whole.leases() == await scoped.leases() == (lease.id,)


async def test_errors_and_conflicts_are_the_stores(scoped: ScopedStore) -> None:
    await scoped.put("k", b"1")
    assert not (await scoped.txn([absent("k")], [])).succeeded
    with pytest.raises(Invalid):
        await scoped.range("a", end="b", prefix=True)
    with pytest.raises(Conflict):
        await scoped.lease_grant(3, id=(await scoped.lease_grant(3)).id)
