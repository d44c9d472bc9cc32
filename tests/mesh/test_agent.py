"""The mesh of one node over a real store: what is written when, and what survives what."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from hawser.mesh.agent import Mesh
from hawser.mesh.errors import Conflict, Invalid, NotFound
from hawser.mesh.model import ANNOUNCEMENTS, PENDING, SERVICES, Announcement, Instance, decode_instance
from hawser.store import MemoryStore, SqliteStore, Store
from tests.wait import auntil

from .support import announcement, free_port, new_mesh, running, web

KEY = f"{SERVICES}acme/web/1"
INTENT = f"{ANNOUNCEMENTS}m1/acme/web/1"


async def record(store: Store, key: str = KEY) -> Instance:
    entry = await store.get(key)
    assert entry is not None
    return decode_instance(entry.value)


async def healthy(mesh: Mesh, wanted: bool = True) -> None:
    await auntil(
        lambda: [item.healthy for item in mesh.instances() if item.reason != PENDING] == [wanted],
        what=f"healthy={wanted}",
    )


async def leases(store: MemoryStore) -> int:
    return len(await store.leases())


async def test_an_announcement_is_unhealthy_until_its_first_check_passes() -> None:
    store = MemoryStore()
    mesh = new_mesh(store)
    async with web() as server:
        await mesh.announce(announcement(port=server.port))
        assert (await record(store)).healthy is False
        async with running(mesh):
            await healthy(mesh)
            assert (await record(store)).reason == f"127.0.0.9:{server.port} accepts"


async def test_what_was_announced_is_listed_when_announce_returns() -> None:
    async with running(new_mesh(MemoryStore())) as mesh:
        for number in range(5):
            await mesh.announce(announcement(id=f"i{number}"))
            assert len(mesh.instances("acme", "web")) == number + 1
        await mesh.withdraw("acme", "web", "i3")
        assert [item.id for item in mesh.instances()] == ["i0", "i1", "i2", "i4"]


async def test_a_record_is_written_on_changes_of_health_only() -> None:
    store = MemoryStore()
    async with web() as server, running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(port=server.port, check="http:/"))
        await healthy(mesh)
        revision = (await store.range(SERVICES, prefix=True)).revision
        seen = len(server.requests)
        await auntil(lambda: len(server.requests) >= seen + 4)
        assert (await store.range(SERVICES, prefix=True)).revision == revision
        server.status = 503
        await healthy(mesh, False)
        entry = await store.get(KEY)
        assert entry is not None
        assert (entry.mod_revision, decode_instance(entry.value).reason[-11:]) == (revision + 1, "answers 503")
        server.status = 200
        await healthy(mesh)


async def test_withdraw_deletes_intent_record_and_lease_at_once() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as mesh:
        await mesh.announce(announcement())
        async with store.watch("/hawser/mesh/", prefix=True) as batches:
            await mesh.withdraw("acme", "web", "1")
            batch = await anext(aiter(batches))
            while len(batch.events) == 1:
                batch = await anext(aiter(batches))
            assert {event.kv.key for event in batch.events} == {KEY, INTENT}
        assert await leases(store) == 0
        with pytest.raises(NotFound, match="acme/web/1"):
            await mesh.withdraw("acme", "web", "1")


async def test_a_lost_lease_is_granted_again_and_the_record_put_again() -> None:
    store = MemoryStore()
    async with web() as server, running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(port=server.port))
        await healthy(mesh)
        first = await store.get(KEY)
        assert first is not None
        await store.lease_revoke(first.lease)
        assert await store.get(KEY) is None
        await healthy(mesh)
        second = await store.get(KEY)
        assert second is not None
        assert second.lease not in (0, first.lease)
        assert decode_instance(second.value).healthy


async def test_a_record_that_somebody_deleted_comes_back() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as mesh:
        await mesh.announce(announcement())
        await store.delete(KEY)
        await auntil(lambda: mesh.instances() == ())
        await auntil(lambda: len(mesh.instances()) == 1)
        assert mesh.trouble() == {}


async def test_a_lease_is_kept_alive_beyond_its_ttl() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(ttl=1))
        entry = await store.get(KEY)
        assert entry is not None
        begin = asyncio.get_running_loop().time()
        await auntil(lambda: asyncio.get_running_loop().time() > begin + 1.3)
        again = await store.get(KEY)
        assert again is not None
        assert (again.lease, again.create_revision) == (entry.lease, entry.create_revision)


async def test_without_the_node_records_end_with_their_lease_and_intents_stay() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(ttl=1))
    watcher = new_mesh(store, machine="m2")
    async with running(watcher):
        await auntil(lambda: len(watcher.instances()) == 1)
        await auntil(lambda: watcher.instances() == (), what="the record's end")
    assert await store.get(INTENT) is not None


async def test_after_a_restart_announcements_go_on_with_their_health_and_their_lease() -> None:
    store = MemoryStore()
    async with web() as server:
        async with running(new_mesh(store)) as mesh:
            await mesh.announce(announcement(port=server.port))
            await healthy(mesh)
        before = await store.get(KEY)
        async with store.watch(SERVICES, prefix=True) as batches:
            async with running(new_mesh(store)) as mesh:
                await healthy(mesh)
                assert await store.get(KEY) == before
                await mesh.withdraw("acme", "web", "1")
            batch = await anext(aiter(batches))
            assert [event.kind.value for event in batch.events] == ["delete"]


async def test_after_a_crash_and_a_long_pause_records_are_put_again(rundir: Path) -> None:
    async with web() as server:
        store = await SqliteStore.open(rundir)
        async with running(new_mesh(store)) as mesh:
            await mesh.announce(announcement(port=server.port))
            await healthy(mesh)
        entry = await store.get(KEY)
        assert entry is not None
        await store.lease_revoke(entry.lease)
        await store.close()
        store = await SqliteStore.open(rundir)
        assert await store.get(KEY) is None
        async with running(new_mesh(store)) as mesh:
            await healthy(mesh)
        await store.close()


async def test_what_was_withdrawn_does_not_come_back_with_the_node() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as mesh:
        await mesh.announce(announcement())
    mesh = new_mesh(store)
    await mesh.withdraw("acme", "web", "1")
    async with running(mesh):
        await mesh.announce(announcement(id="2"))
        assert [item.id for item in mesh.instances()] == ["2"]


async def test_another_machines_name_is_not_taken() -> None:
    store = MemoryStore()
    async with running(new_mesh(store)) as one, running(new_mesh(store, "m2")) as two:
        await one.announce(announcement())
        with pytest.raises(Conflict, match="machine m1; choose another id"):
            await two.announce(announcement())
        with pytest.raises(NotFound):
            await two.withdraw("acme", "web", "1")
        await two.announce(announcement(id="2"))
        await auntil(lambda: [item.machine for item in one.instances()] == ["m1", "m2"])
        assert (await record(store)).machine == "m1"
        assert (await store.range(f"{ANNOUNCEMENTS}m2/", prefix=True)).kvs[0].key.endswith("/2")


async def test_announcing_the_same_again_changes_nothing_and_something_else_replaces_it() -> None:
    store = MemoryStore()
    async with web() as server, running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(port=server.port))
        await healthy(mesh)
        before = await store.get(KEY)
        await mesh.announce(announcement(port=server.port))
        assert await store.get(KEY) == before
        closed = free_port("127.0.0.9")
        await mesh.announce(announcement(port=closed))
        await healthy(mesh, False)
        assert [item.port for item in mesh.instances()] == [closed]
        assert await leases(store) == 1


async def test_nonsense_is_refused_before_anything_is_written() -> None:
    store = MemoryStore()
    mesh = new_mesh(store)
    wrong = Announcement(tenant="acme", service="../x", id="1", addresses=(), port=80)
    with pytest.raises(Invalid, match=r"addresses: give at least one.*service '../x'"):
        await mesh.announce(wrong)
    assert (await store.range("", prefix=True)).kvs == ()
    assert await leases(store) == 0


async def test_a_ttl_check_lives_on_beats() -> None:
    async with running(new_mesh(MemoryStore())) as mesh:
        await mesh.announce(announcement(check="ttl", ttl=1))
        assert not mesh.instances()[0].healthy
        await mesh.beat("acme", "web", "1")
        await healthy(mesh)
        await healthy(mesh, False)
        assert mesh.instances()[0].reason == "no beat for 1 s"
        await mesh.beat("acme", "web", "1")
        await healthy(mesh)


async def test_beats_are_for_ttl_checks_only() -> None:
    async with running(new_mesh(MemoryStore())) as mesh:
        await mesh.announce(announcement())
        with pytest.raises(Invalid, match="only ttl checks take beats"):
            await mesh.beat("acme", "web", "1")
        with pytest.raises(NotFound):
            await mesh.beat("acme", "web", "2")


async def test_an_exec_check_asks_whoever_runs_commands() -> None:
    codes = [1]

    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        assert (one.id, tuple(argv)) == ("1", ("check-me", "now"))
        return codes[0]

    async with running(new_mesh(MemoryStore(), execute=execute)) as mesh:
        await mesh.announce(announcement(check="exec:check-me now"))
        await healthy(mesh, False)
        assert mesh.instances()[0].reason == "check-me ended with 1"
        codes[0] = 0
        await healthy(mesh)


async def test_an_intent_that_nobody_can_read_is_named_and_the_rest_goes_on() -> None:
    store = MemoryStore()
    await store.put(f"{ANNOUNCEMENTS}m1/acme/web/bad", b"{}")
    async with running(new_mesh(store)) as mesh:
        await auntil(lambda: mesh.trouble())
        await mesh.announce(announcement())
        assert "announcement: " in mesh.trouble()[f"{ANNOUNCEMENTS}m1/acme/web/bad"]
        assert len(mesh.instances()) == 1
        await mesh.withdraw("acme", "web", "bad")
        assert mesh.trouble() == {}


async def test_a_store_that_closes_leaves_the_last_known_catalog() -> None:
    store = MemoryStore()
    async with web() as server, running(new_mesh(store)) as mesh:
        await mesh.announce(announcement(port=server.port, ttl=1))
        await healthy(mesh)
        await store.close()
        await auntil(lambda: mesh.trouble() == {"acme/web/1": "the store is closed"})
        assert [item.healthy for item in mesh.instances()] == [True]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_records_follow_intents(seed: int) -> None:
    dice, store, wanted = random.Random(seed), MemoryStore(), dict[str, int]()
    for _ in range(3):
        async with running(new_mesh(store)) as mesh:
            for _ in range(12):
                id, deed = dice.choice("abc"), dice.choice(["announce", "announce", "withdraw", "delete", "revoke"])
                entry = await store.get(f"{SERVICES}acme/web/{id}")
                if deed == "announce":
                    wanted[id] = dice.randint(1, 3)
                    await mesh.announce(announcement(id=id, port=wanted[id], check="ttl"))
                elif deed == "withdraw" and id in wanted:
                    del wanted[id]
                    await mesh.withdraw("acme", "web", id)
                elif deed == "delete" and entry is not None:
                    await store.delete(entry.key)
                elif deed == "revoke" and entry is not None:
                    await store.lease_revoke(entry.lease)
            await auntil(lambda: {item.id: item.port for item in mesh.instances()} == wanted)
            kept = (await store.range(f"{ANNOUNCEMENTS}m1/", prefix=True)).kvs
            assert {entry.key.rpartition("/")[2] for entry in kept} == set(wanted)
            assert mesh.trouble() == {}
