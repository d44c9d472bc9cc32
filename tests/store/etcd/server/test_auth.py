"""Authentication: who asks, and what they may, checked in every service."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hawser.store.auth import SimpleTokens
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Settings

from .servers import Client, connected, our_server, refused

DENIED = (7, "etcdserver: permission denied")
NOBODY = (3, "etcdserver: user name is empty")
WRONG = (16, "etcdserver: invalid auth token")


async def users(client: Client) -> None:
    """root, and amy who may write under a/ and read under b/."""
    for name in ("root", "amy"):
        await client(services.USER_ADD, pb.AuthUserAddRequest(name=name, password=f"{name}'s"))
    await client(services.ROLE_ADD, pb.AuthNameRequest(name="some"))
    for right, key in ((pb.Permission.READWRITE, b"a/"), (pb.Permission.READ, b"b/")):
        perm = pb.Permission(permType=right, key=key, range_end=key[:-1] + b"0")
        await client(services.ROLE_GRANT_PERMISSION, pb.AuthRoleGrantPermissionRequest(name="some", perm=perm))
    await client(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="amy", role="some"))
    await client(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root"))


async def login(client: Client, name: str) -> Client:
    request = pb.AuthenticateRequest(name=name, password=f"{name}'s")
    return client.by((await client(services.AUTHENTICATE, request)).token)


@pytest.fixture
async def amy(client: Client) -> Client:
    await users(client)
    await client(services.AUTH_ENABLE, pb.Empty())
    return await login(client, "amy")


@pytest.fixture
async def root(amy: Client) -> Client:
    return await login(amy, "root")


async def test_it_cannot_be_enabled_without_a_root(client: Client) -> None:
    missing = (9, "etcdserver: root user does not exist")
    assert await refused(client(services.AUTH_ENABLE, pb.Empty())) == missing
    await client(services.USER_ADD, pb.AuthUserAddRequest(name="root", password="x"))
    roleless = (9, "etcdserver: root user does not have root role")
    assert await refused(client(services.AUTH_ENABLE, pb.Empty())) == roleless
    login = client(services.AUTHENTICATE, pb.AuthenticateRequest(name="root", password="x"))
    assert await refused(login) == (9, "etcdserver: authentication is not enabled")


async def test_tokens_are_for_who_knows_the_password(amy: Client) -> None:
    failed = (3, "etcdserver: authentication failed, invalid user ID or password")
    for name, password in (("amy", "no"), ("bob", "amy's")):
        request = pb.AuthenticateRequest(name=name, password=password)
        assert await refused(amy(services.AUTHENTICATE, request)) == failed


async def test_keys_need_the_right_to_them(amy: Client) -> None:
    await amy(services.PUT, pb.PutRequest(key=b"a/1"))
    await amy(services.RANGE, pb.RangeRequest(key=b"a/", range_end=b"a0"))
    await amy(services.RANGE, pb.RangeRequest(key=b"b/1"))
    calls: list[tuple[services.Call[Any, Any], Any]] = [
        (services.PUT, pb.PutRequest(key=b"b/1")),
        (services.RANGE, pb.RangeRequest(key=b"c")),
        (services.RANGE, pb.RangeRequest(key=b"a/", range_end=b"c")),
        (services.DELETE_RANGE, pb.DeleteRangeRequest(key=b"b/1")),
        (services.TXN, pb.TxnRequest(failure=[pb.RequestOp(request_put=pb.PutRequest(key=b"b/1"))])),
        (services.TXN, pb.TxnRequest(compare=[pb.Compare(key=b"c")])),
    ]
    for call, request in calls:
        assert await refused(amy(call, request)) == DENIED, request


async def test_who_is_nobody_and_who_shows_a_wrong_token(amy: Client) -> None:
    assert await refused(Client(amy.channel)(services.RANGE, pb.RangeRequest(key=b"a/1"))) == NOBODY
    assert await refused(amy.by("wrong.1")(services.RANGE, pb.RangeRequest(key=b"a/1"))) == WRONG
    # what makes no sense is refused before anybody asks who it is
    empty = (3, "etcdserver: key is not provided")
    assert await refused(Client(amy.channel)(services.PUT, pb.PutRequest())) == empty


async def test_watches_need_it_too(amy: Client) -> None:
    stream: Any = amy.stream(services.WATCH)
    for key, canceled in ((b"a/1", False), (b"c", True)):
        await stream.write(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key)))
        created = await stream.read()
        assert (created.created, created.canceled) == (True, canceled)
    assert (created.watch_id, created.cancel_reason) == (-1, DENIED[1])
    stream.cancel()


async def test_leases_with_others_keys_are_theirs(amy: Client, root: Client) -> None:
    await root(services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=100, ID=7))
    await root(services.PUT, pb.PutRequest(key=b"c", lease=7))
    assert await refused(amy(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=7))) == DENIED
    assert await refused(amy(services.PUT, pb.PutRequest(key=b"a/1", lease=7))) == DENIED
    told = amy(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=7, keys=True))
    assert await refused(told) == DENIED
    await amy(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=7))


async def test_what_only_root_may(amy: Client, root: Client) -> None:
    calls: list[tuple[services.Call[Any, Any], Any]] = [
        (services.USER_LIST, pb.Empty()),
        (services.USER_ADD, pb.AuthUserAddRequest(name="bob")),
        (services.ROLE_DELETE, pb.AuthRoleRequest(role="some")),
        (services.AUTH_DISABLE, pb.Empty()),
        (services.MEMBER_REMOVE, pb.MemberRequest(ID=1)),
    ]
    for call, request in calls:
        assert await refused(amy(call, request)) == DENIED, call.name
    raw = (2, "auth: permission denied")
    assert await refused(amy(services.DEFRAGMENT, pb.Empty())) == raw
    assert list((await root(services.USER_LIST, pb.Empty())).users) == ["amy", "root"]
    await root(services.DEFRAGMENT, pb.Empty())


async def test_everybody_may_look_at_themselves(amy: Client, root: Client) -> None:
    assert list((await amy(services.USER_GET, pb.AuthNameRequest(name="amy"))).roles) == ["some"]
    role = await amy(services.ROLE_GET, pb.AuthRoleRequest(role="some"))
    assert [(each.permType, each.key, each.range_end) for each in role.perm] == [
        (pb.Permission.READWRITE, b"a/", b"a0"),
        (pb.Permission.READ, b"b/", b"b0"),
    ]
    assert await refused(amy(services.USER_GET, pb.AuthNameRequest(name="root"))) == DENIED
    unknown = (9, "etcdserver: user name not found")
    assert await refused(root(services.USER_GET, pb.AuthNameRequest(name="bob"))) == unknown


async def test_a_change_takes_effect_at_once(amy: Client, root: Client) -> None:
    revoke = pb.AuthRoleRevokePermissionRequest(role="some", key=b"a/", range_end=b"a0")
    await root(services.ROLE_REVOKE_PERMISSION, revoke)
    assert await refused(amy(services.PUT, pb.PutRequest(key=b"a/1"))) == DENIED
    change = pb.AuthUserChangePasswordRequest(name="amy", password="new")
    await root(services.USER_CHANGE_PASSWORD, change)
    assert await refused(amy(services.RANGE, pb.RangeRequest(key=b"b/1"))) == WRONG
    await root(services.AUTH_DISABLE, pb.Empty())
    await Client(amy.channel)(services.PUT, pb.PutRequest(key=b"c"))


async def test_users_without_password_and_the_rest_of_the_calls(root: Client) -> None:
    options = pb.UserAddOptions(no_password=True)
    await root(services.USER_ADD, pb.AuthUserAddRequest(name="bob", options=options))
    code, _ = await refused(root(services.AUTHENTICATE, pb.AuthenticateRequest(name="bob", password="")))
    assert code == 2
    await root(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="bob", role="some"))
    await root(services.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="bob", role="some"))
    await root(services.USER_DELETE, pb.AuthNameRequest(name="bob"))
    await root(services.ROLE_DELETE, pb.AuthRoleRequest(role="some"))
    assert list((await root(services.ROLE_LIST, pb.Empty())).roles) == []
    status = await root(services.AUTH_STATUS, pb.Empty())
    assert status.enabled
    assert status.authRevision > 10


async def test_users_outlive_the_server(rundir: Path) -> None:
    for turn in range(2):
        engine = await SqliteEngine.open(rundir / "store")
        async with our_server(engine) as address, connected(address) as client:
            if not turn:
                await users(client)
                await client(services.AUTH_ENABLE, pb.Empty())
            assert await refused(client(services.RANGE, pb.RangeRequest(key=b"a/1"))) == NOBODY
            await (await login(client, "amy"))(services.RANGE, pb.RangeRequest(key=b"a/1"))
        await engine.close()


async def test_a_token_that_is_not_used_ends(engine: MemoryEngine) -> None:
    settings = Settings(tokens=SimpleTokens(ttl=0.05))
    async with our_server(engine, settings) as address, connected(address) as client:
        await users(client)
        await client(services.AUTH_ENABLE, pb.Empty())
        amy = await login(client, "amy")
        deadline = asyncio.get_running_loop().time() + 5
        while True:
            await asyncio.sleep(0.06)
            try:
                assert await refused(amy(services.RANGE, pb.RangeRequest(key=b"a/1"))) == WRONG
            except AssertionError:
                assert asyncio.get_running_loop().time() < deadline
            else:
                break
