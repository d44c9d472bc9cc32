"""The catalog is the fold of the store's events: following them equals reading everything afresh."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.mesh.catalog import Catalog
from hawser.mesh.model import SERVICES, encode_instance
from hawser.store import DeleteOp, MemoryStore, PutOp, WatchBatch

from .support import instance

NAMES = st.tuples(st.sampled_from(["acme", "beta"]), st.sampled_from(["web", "db"]), st.sampled_from(["1", "2"]))
CHANGES = st.tuples(NAMES, st.sampled_from(["up", "down", "delete", "rubbish"]))
JUNK_KEYS = ["x", "acme/web", "acme/web/1/more", "//", "acme//1"]


async def history(changes: list[tuple[tuple[str, str, str], str]], store: MemoryStore) -> list[WatchBatch]:
    """Make the changes, and return the batches a watch saw of them."""
    async with store.watch(SERVICES, prefix=True) as batches:
        for names, change in changes:
            key = SERVICES + "/".join(names)
            tenant, service, id = names
            if change == "delete":
                await store.txn((), [DeleteOp(key), PutOp("/other", b"")])
            elif change == "rubbish":
                await store.put(key, b"rubbish")
            else:
                record = instance(change == "up", tenant=tenant, service=service, id=id)
                await store.put(key, encode_instance(record))
        await store.put(f"{SERVICES}end", b"")
        seen = list[WatchBatch]()
        async for batch in batches:
            seen.append(batch)
            if batch.events[-1].kv.key == f"{SERVICES}end":
                return seen
    raise AssertionError("the watch ended")


@given(st.lists(CHANGES, max_size=15))
@settings(max_examples=50)
def test_following_events_equals_reading_afresh(changes: list[tuple[tuple[str, str, str], str]]) -> None:
    async def both() -> None:
        store = MemoryStore()
        followed, fresh = Catalog(), Catalog()
        for batch in await history(changes, store):
            followed.apply(batch)
            for tenant in ("acme", "beta"):
                followed.instances(tenant)
        found = await store.range(SERVICES, prefix=True)
        fresh.reset(found.kvs, found.revision)
        assert followed.instances() == fresh.instances()
        assert followed.problems == fresh.problems
        assert followed.revision == fresh.revision
        for tenant in ("acme", "beta"):
            assert followed.instances(tenant) == fresh.instances(tenant)
            assert all(item.healthy for item in followed.healthy(tenant, "web"))
        await store.close()

    asyncio.run(both())


async def test_the_same_tuple_until_something_of_that_tenant_changes() -> None:
    store, catalog = MemoryStore(), Catalog()
    first = await history([(("acme", "web", "1"), "up"), (("beta", "web", "1"), "up")], store)
    for batch in first:
        catalog.apply(batch)
    acme, beta = catalog.instances("acme"), catalog.instances("beta")
    for batch in await history([(("beta", "web", "1"), "down")], store):
        catalog.apply(batch)
    assert catalog.instances("acme") is acme
    assert catalog.instances("beta") is not beta
    assert [item.healthy for item in catalog.instances("beta")] == [False]


async def test_rubbish_is_named_and_hides_nothing() -> None:
    store, catalog = MemoryStore(), Catalog()
    await store.put(f"{SERVICES}acme/web/1", encode_instance(instance()))
    for key in JUNK_KEYS:
        await store.put(SERVICES + key, b"{}")
    await store.put(f"{SERVICES}acme/web/2", encode_instance(instance(id="3")))
    found = await store.range(SERVICES, prefix=True)
    catalog.reset(found.kvs, found.revision)
    assert [item.id for item in catalog.instances()] == ["1"]
    assert set(catalog.problems) == {SERVICES + key for key in (*JUNK_KEYS, "acme/web/2")}
    assert "acme/web/3" in catalog.problems[f"{SERVICES}acme/web/2"]


def test_nothing_is_known_of_what_nobody_announced() -> None:
    catalog = Catalog()
    assert catalog.instances() == catalog.instances("acme") == catalog.healthy("acme", "web") == ()
