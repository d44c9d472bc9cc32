"""A machine is known while its lease lives, one of all leads, and a lost lease is made good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hawser.store import EventKind, MemoryStore, Store
from hawser.store.cluster.machines import Machines
from hawser.store.cluster.model import LEADER, Capacity, Machine, Versions, encode, machine_key
from hawser.store.cluster.registration import Registration
from hawser.store.session import Election, open_session
from tests.wait import auntil


def machine(id_: str, **labels: str) -> Machine:
    return Machine(
        id=id_,
        addresses=("192.0.2.1",),
        capacity=Capacity(cpus=2, memory=1 << 30, disk=1 << 40),
        versions=Versions(hawser="1", kernel="6.1"),
        started=0,
        labels=labels,
    )


@asynccontextmanager
async def registered(store: Store, id_: str, ttl: float = 5) -> AsyncIterator[Registration]:
    registration = Registration(store, id_, lambda: machine(id_), ttl=ttl)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(registration.run())
        yield registration
        task.cancel()


async def test_a_machine_is_there_while_it_runs_and_gone_when_it_ends() -> None:
    store = MemoryStore()
    seen = Machines(store)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(seen.run())
        async with registered(store, "a"), registered(store, "b"):
            await auntil(lambda: set(seen.known) == {"a", "b"})
        await auntil(lambda: not seen.known)
        following.cancel()


async def test_one_leads_and_when_it_ends_the_next_does() -> None:
    store = MemoryStore()
    async with registered(store, "b") as second:
        async with registered(store, "a") as first:
            await auntil(lambda: first.held or second.held)
            assert not (first.held and second.held)
            last = first.held or second.held
        await auntil(lambda: second.held)
        assert last is not None
        assert second.held is not None
        assert second.held.revision >= last.revision


async def test_a_lost_lease_is_made_good() -> None:
    store = MemoryStore()
    async with registered(store, "a", ttl=0.5) as registration:
        await auntil(lambda: registration.held)
        first = registration.held
        (lease,) = await store.leases()
        await store.lease_revoke(lease)
        await auntil(lambda: registration.held is None)
        assert "lease was lost" in registration.trouble or not registration.trouble
        await auntil(lambda: registration.held, timeout=10)
        assert registration.held != first
        assert registration.trouble == ""
        assert await store.get(machine_key("a")) is not None


async def test_another_machine_with_the_same_id_is_told() -> None:
    store = MemoryStore()
    async with registered(store, "a") as first:
        await auntil(lambda: first.held)
        await store.put(machine_key("a"), encode(machine("a")))
        await auntil(lambda: "another machine" in first.trouble)


async def test_what_somebody_deletes_is_there_again() -> None:
    """The record, and the election of the machine that led."""
    store = MemoryStore()
    async with registered(store, "a") as first:
        await auntil(lambda: first.held)
        led = first.held
        await store.delete(machine_key("a"))
        await store.delete(f"{LEADER}/", prefix=True)
        await auntil(lambda: first.held not in (None, led))
        async with store.watch(machine_key("a"), from_revision=2) as watch:
            async for batch in watch:
                if batch.events[0].kind is EventKind.DELETE:
                    assert (await anext(watch)).events[0].kind is EventKind.PUT
                    break


async def test_a_process_that_was_killed_is_succeeded_at_once() -> None:
    store = MemoryStore()
    async with open_session(store, 60) as last:
        await store.put(machine_key("a"), encode(machine("a")), lease=last.lease)
        await Election(store, LEADER).campaign(last, b"a")
        async with registered(store, "a") as next_:
            await auntil(lambda: next_.held)
            assert last.lease not in await store.leases()


async def test_a_record_that_cannot_be_read_is_named() -> None:
    store = MemoryStore()
    await store.put(machine_key("x"), b"{}")
    seen = Machines(store)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(seen.run())
        await auntil(lambda: seen.problems)
        assert seen.known == {}
        assert "x" in seen.problems
        following.cancel()
