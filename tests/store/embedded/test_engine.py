"""Groups: what happens between a request and its durability, with a disk that the test holds in its hand."""

import asyncio
from collections.abc import Awaitable

import pytest

from hawser.store import NotFound, PutOp, StoreError, Unavailable
from hawser.store.embedded.draft import Draft
from hawser.store.embedded.engine import Engine
from hawser.store.embedded.groups import Request
from hawser.store.embedded.keyspace import Keyspace
from hawser.store.text import TextStore
from tests.wait import auntil

from ..watching import take, told


class Held(Engine):
    """An engine whose groups become durable, or fail, when the test says so."""

    def __init__(self) -> None:
        super().__init__(Keyspace(), {})
        self.flying: list[tuple[Draft, list[Request]]] = []

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        self.flying.append((draft, requests))

    async def land(self, failure: StoreError | None = None) -> int:
        """Wait for the next group and end it; how many requests it had."""
        await auntil(lambda: self.flying)
        draft, requests = self.flying.pop()
        self.groups.settle(draft, requests, failure)
        return len(requests)


async def test_one_group_flies_and_the_next_gathers_meanwhile() -> None:
    store = Held()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(store.put(b"a", b"1"))
        await auntil(lambda: store.flying)
        later = [tasks.create_task(store.put(b"a", b"%d" % number)) for number in range(2, 7)]
        await asyncio.sleep(0)
        assert len(store.flying) == 1
        assert await store.get(b"a") is None, "nobody sees what is not durable"
        assert not first.done(), "nobody is told so either"
        assert await store.land() == 1
        assert await first == 2
        assert await store.land() == 5
    assert [task.result() for task in later] == [3, 4, 5, 6, 7]


async def test_a_group_that_fails_takes_nothing_else_with_it() -> None:
    store = Held()
    async with TextStore(store).watch("", prefix=True) as batches, asyncio.TaskGroup() as tasks:
        lost = tasks.create_task(_outcome(store.put(b"a", b"lost")))
        await auntil(lambda: store.flying)
        kept = tasks.create_task(store.txn([], [PutOp(b"a", b"kept"), PutOp(b"b", b"")]))
        await store.land(Unavailable("the disk is full"))
        await store.land()
        assert await lost == "the disk is full"
        assert (await kept).revision == 2, "the revision was never used"
        assert told(await take(batches, 1)) == ["+a=kept +b="]
    entry = await store.get(b"a")
    assert entry is not None
    assert entry.version == 1


async def test_a_defect_fails_its_group_and_not_the_store() -> None:
    store = Held()

    def defect(draft: Draft) -> None:
        draft.put(PutOp(b"half", b"done"))
        raise ZeroDivisionError

    async with asyncio.TaskGroup() as tasks:
        outcomes = [tasks.create_task(_outcome(call)) for call in (store.groups.submit(defect), store.put(b"a", b""))]
    assert all("nothing of this group was kept" in task.result() for task in outcomes)
    async with asyncio.TaskGroup() as tasks:
        after = tasks.create_task(store.put(b"b", b""))
        await store.land()
    assert after.result() == 2
    assert await store.get(b"half") is None


async def test_a_lease_whose_end_is_under_way_is_not_kept_alive() -> None:
    store = Held()
    async with asyncio.TaskGroup() as tasks:
        granting = tasks.create_task(store.lease_grant(0.02))
        await store.land()
        lease = (await granting).id
        putting = tasks.create_task(store.put(b"a", b"", lease=lease))
        await store.land()
        await putting
        await auntil(lambda: store.flying)
        with pytest.raises(NotFound):
            await store.lease_keepalive(lease)
        assert await store.get(b"a") is not None, "its keys stay until their end is durable"
        await store.land()
    assert await store.get(b"a") is None


async def test_closing_waits_for_the_group_that_flies() -> None:
    store = Held()
    async with asyncio.TaskGroup() as tasks:
        put = tasks.create_task(store.put(b"a", b""))
        await auntil(lambda: store.flying)
        closing = tasks.create_task(store.close())
        await asyncio.sleep(0)
        assert not closing.done()
        await store.land()
    assert put.result() == 2


async def _outcome(call: Awaitable[object]) -> str:
    try:
        return str(await call)
    except StoreError as error:
        return str(error)
