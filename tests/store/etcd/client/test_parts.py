"""What else etcd can do, over both transports: members, upkeep, users and roles."""

import hashlib

import pytest

from hawser.store import Conflict, Invalid, NotFound, Unavailable
from hawser.store.auth.model import Permission, Right
from hawser.store.etcd.client import Auth, Members, Roles, Upkeep, Users, connect
from tests.etcd import Member, free_port, needs_etcd

pytestmark = needs_etcd


@pytest.fixture(params=["grpc", "gateway"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_member_tells_of_itself(etcd: Member, transport: str) -> None:
    async with connect(etcd.url, transport=transport) as store:
        upkeep = Upkeep(store.calls)
        revision = await store.put(b"a", b"")
        status = await upkeep.status(upkeep.endpoints[0])
        assert (status.version, status.revision, status.errors) == ("3.4.23", revision, ())
        assert status.leader == status.member
        assert 0 < status.in_use <= status.size
        assert not status.learner
        (only,) = await Members(store.calls).list()
        assert (only.id, only.name, only.client_urls) == (status.member, "default", (etcd.url,))


async def test_members_come_and_go(etcd: Member, transport: str) -> None:
    async with connect(etcd.url, transport=transport) as store:
        members = Members(store.calls)
        url = f"http://127.0.0.1:{free_port()}"
        learner = await members.add([url], learner=True)
        assert (learner.peer_urls, learner.learner, learner.name) == ((url,), True, "")
        with pytest.raises(Conflict):
            await members.add([url], learner=True)
        with pytest.raises(Conflict, match="in sync"):
            await members.promote(learner.id)
        moved = f"http://127.0.0.1:{free_port()}"
        after = await members.update(learner.id, [moved])
        assert next(each for each in after if each.id == learner.id).peer_urls == (moved,)
        assert len(await members.remove(learner.id)) == 1
        with pytest.raises(NotFound):
            await members.remove(learner.id)


async def test_a_snapshot_is_the_database_and_its_hash(etcd: Member, transport: str) -> None:
    async with connect(etcd.url, transport=transport) as store:
        await store.put(b"a", b"x" * 100_000)
        async with Upkeep(store.calls).snapshot() as snapshot:
            data = b"".join([part async for part in snapshot.parts])
        # etcd counts the hash in its total from 3.6 on only
        assert len(data) - 32 <= snapshot.total <= len(data)
        assert hashlib.sha256(data[:-32]).digest() == data[-32:]
        assert b"x" * 100_000 in data


async def test_upkeep(etcd: Member, transport: str) -> None:
    async with connect(etcd.url, transport=transport) as store:
        upkeep = Upkeep(store.calls)
        (here,) = upkeep.endpoints
        await upkeep.defragment(here)
        assert await upkeep.alarms() == ()
        assert await upkeep.disarm() == ()
        found = await upkeep.hash(here)
        assert found == await upkeep.hash(here)
        assert found.hash
        with pytest.raises(Conflict):
            await upkeep.move_leader(1)


async def test_users_and_roles(etcd: Member, transport: str) -> None:
    async with connect(etcd.url, transport=transport) as store:
        users, roles, auth = Users(store.calls), Roles(store.calls), Auth(store.calls)
        await users.add("u", "pw")
        await users.add("v", None)
        with pytest.raises(Conflict):
            await users.add("u", "pw")
        await roles.add("r")
        read, both = Permission(Right.READ, b"a"), Permission(Right.READWRITE, b"b/", b"b0")
        for permission in (read, both):
            await roles.grant("r", permission)
        assert await roles.permissions("r") == (read, both)
        await roles.revoke("r", b"a")
        assert await roles.permissions("r") == (both,)
        await users.grant("u", "r")
        assert (await users.list(), await roles.list(), await users.roles("u")) == (("u", "v"), ("r",), ("r",))
        await users.revoke("u", "r")
        with pytest.raises(NotFound):
            await users.revoke("u", "r")
        await users.change_password("u", "other")
        with pytest.raises(Conflict, match="root"):
            await auth.enable()
        with pytest.raises(Invalid):
            await auth.status()  # since 3.5
        for name in ("u", "v"):
            await users.delete(name)
        await roles.delete("r")
        with pytest.raises(NotFound):
            await roles.permissions("r")
        assert await users.list() == ()


async def test_what_one_member_is_asked_is_asked_of_no_other(etcd: Member, transport: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with connect([nobody, etcd.url], transport=transport, timeout=1) as store:
        upkeep = Upkeep(store.calls)
        with pytest.raises(Unavailable, match=nobody):
            await upkeep.status(upkeep.endpoints[0])
        assert (await upkeep.status(upkeep.endpoints[1])).endpoint.url == etcd.url
