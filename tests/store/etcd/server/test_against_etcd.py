"""Bad input, and odd input, to our server and to the real etcd: the same code and the same text from both."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.errors import EtcdError
from hawser.store.etcd.services import Call

from .servers import Client, connected, real_etcd

pytestmark = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="compares with the real etcd: needs Debian's etcd-server"
)
MIB = 1 << 20
OP = pb.RequestOp
PUT = pb.PutRequest
REQUESTS: list[tuple[Call[Any, Any], Message]] = [
    (services.PUT, PUT()),
    (services.PUT, PUT(key=b"key", value=bytes(3 * MIB // 2))),
    (services.PUT, PUT(key=bytes(3 * MIB // 2))),
    (services.PUT, PUT(key=b"key", value=bytes(2 * MIB))),
    (services.PUT, PUT(key=b"key", value=bytes(5 * MIB))),
    (services.PUT, PUT(key=b"n", ignore_value=True)),
    (services.PUT, PUT(key=b"n", ignore_lease=True)),
    (services.PUT, PUT(key=b"n", value=b"v", ignore_value=True)),
    (services.PUT, PUT(key=b"n", lease=1, ignore_lease=True)),
    (services.PUT, PUT(key=b"n", lease=99)),
    (services.PUT, PUT(key=b"n", lease=-99)),
    (services.RANGE, pb.RangeRequest()),
    (services.RANGE, pb.RangeRequest(range_end=b"\0")),
    (services.RANGE, pb.RangeRequest(key=b"a", revision=99)),
    (services.DELETE_RANGE, pb.DeleteRangeRequest()),
    (services.TXN, pb.TxnRequest(success=[OP()])),
    (services.TXN, pb.TxnRequest(compare=[pb.Compare()])),
    (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT())])),
    (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT(key=b"k"))] * 2)),
    (services.TXN, pb.TxnRequest(failure=[OP(request_put=PUT(key=b"%d" % each)) for each in range(129)])),
    (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT(key=b"k", lease=99))])),
    (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT(key=b"k", value=b"v", ignore_value=True))])),
    (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT(key=b"%d" % i, value=bytes(MIB))) for i in range(2)])),
    (services.TXN, pb.TxnRequest(success=[OP(request_range=pb.RangeRequest(key=b"k", revision=99))])),
    (services.COMPACT, pb.CompactionRequest(revision=99)),
    (services.COMPACT, pb.CompactionRequest(revision=-1)),
    (services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=9_000_000_001)),
    (services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=99)),
    (services.LEASE_REVOKE, pb.LeaseRevokeRequest()),
    (services.MEMBER_ADD, pb.MemberAddRequest(peerURLs=["x"])),
    (services.MEMBER_REMOVE, pb.MemberRequest(ID=99)),
    (services.MEMBER_UPDATE, pb.MemberUpdateRequest(ID=99, peerURLs=["http://127.0.0.1:1"])),
    (services.MEMBER_PROMOTE, pb.MemberRequest(ID=99)),
    (services.HASH_KV, pb.HashKVRequest(revision=99)),
    (services.MOVE_LEADER, pb.MoveLeaderRequest(targetID=99)),
    (services.DOWNGRADE, pb.DowngradeRequest()),
    (services.LOCK, pb.LockRequest(name=b"l", lease=99)),
    (services.UNLOCK, pb.UnlockRequest()),
    (services.CAMPAIGN, pb.CampaignRequest(name=b"e", lease=99)),
    (services.LEADER, pb.LeaderRequest(name=b"e")),
    (services.PROCLAIM, pb.ProclaimRequest()),
    (services.PROCLAIM, pb.ProclaimRequest(leader=pb.LeaderKey(name=b"e", key=b"e/1", rev=9, lease=99))),
    (services.RESIGN, pb.ResignRequest()),
    (services.AUTHENTICATE, pb.AuthenticateRequest(name="a", password="b")),
    (services.AUTH_ENABLE, pb.Empty()),
    (services.USER_ADD, pb.AuthUserAddRequest()),
    (services.USER_GET, pb.AuthNameRequest(name="nobody")),
    (services.USER_DELETE, pb.AuthNameRequest(name="nobody")),
    (services.USER_CHANGE_PASSWORD, pb.AuthUserChangePasswordRequest(name="nobody", password="x")),
    (services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="nobody", role="r")),
    (services.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="nobody", role="r")),
    (services.ROLE_GET, pb.AuthRoleRequest(role="none")),
    (services.ROLE_DELETE, pb.AuthRoleRequest(role="none")),
    (services.ROLE_GRANT_PERMISSION, pb.AuthRoleGrantPermissionRequest(name="none", perm=pb.Permission(key=b"a"))),
    (services.ROLE_REVOKE_PERMISSION, pb.AuthRoleRevokePermissionRequest(role="none", key=b"a")),
    (Call("/etcdserverpb.KV/Nope", "", pb.Empty, pb.Empty), pb.Empty()),
    (Call("/nope.KV/Nope", "", pb.Empty, pb.Empty), pb.Empty()),
]


@pytest.fixture(scope="module")
def etcd() -> Iterator[str]:
    with real_etcd() as address:
        yield address


@pytest.fixture
async def both(etcd: str, client: Client) -> AsyncIterator[tuple[Client, Client]]:
    async with connected(etcd) as theirs:
        yield client, theirs


async def told(client: Client, call: Call[Any, Any], request: Message) -> object:
    try:
        await client(call, request)
    except EtcdError as error:
        return int(error.code), error.text
    return "consent"


@pytest.mark.parametrize(
    ("call", "request_"), REQUESTS, ids=[f"{call.name}-{at}" for at, (call, _) in enumerate(REQUESTS)]
)
async def test_what_is_refused(both: tuple[Client, Client], call: Call[Any, Any], request_: Message) -> None:
    ours, theirs = [await told(client, call, request_) for client in both]
    assert ours == theirs != "consent"


@pytest.mark.parametrize("size", [MIB, 3 * MIB // 2 - 30, 3 * MIB // 2 - 22, 3 * MIB // 2 - 10])
async def test_the_largest_request(both: tuple[Client, Client], size: int) -> None:
    request = PUT(key=b"key", value=bytes(size - 9))
    answers = [await told(client, services.PUT, request) for client in both]
    assert answers[0] == answers[1]


WATCHES = [
    pb.WatchCreateRequest(key=b"b", range_end=b"a"),
    pb.WatchCreateRequest(),
    pb.WatchCreateRequest(key=b"a", watch_id=5),
    pb.WatchCreateRequest(key=b"a", watch_id=-5),
    pb.WatchCreateRequest(key=b"a", range_end=b"\0", filters=[9]),  # type: ignore[list-item]
]


async def test_a_long_key(both: tuple[Client, Client]) -> None:
    request = PUT(key=b"long" * 5000)
    assert [await told(client, services.PUT, request) for client in both] == ["consent", "consent"]


async def test_odd_watches(both: tuple[Client, Client]) -> None:
    async def heard(client: Client) -> list[tuple[object, ...]]:
        stream: Any = client.stream(services.WATCH)
        found = list[tuple[object, ...]]()
        for request in [*WATCHES, *WATCHES]:
            await stream.write(pb.WatchRequest())
            await stream.write(pb.WatchRequest(create_request=request))
            said = await asyncio.wait_for(stream.read(), 5)
            found.append((said.watch_id, said.created, said.canceled, said.cancel_reason))
        stream.cancel()
        return found

    assert await heard(both[0]) == await heard(both[1])


async def test_what_users_are_refused(both: tuple[Client, Client]) -> None:
    """A wrong token, a right one without rights, and nobody."""

    async def refusals(client: Client) -> list[object]:
        for name in ("root", "amy"):
            await client(services.USER_ADD, pb.AuthUserAddRequest(name=name, password="x"))
        await client(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root"))
        await client(services.AUTH_ENABLE, pb.Empty())
        tokens = [
            (await client(services.AUTHENTICATE, pb.AuthenticateRequest(name=name, password="x"))).token
            for name in ("amy", "root")
        ]
        amy, root = map(client.by, tokens)
        found: list[object] = []
        for asking in (amy, client.by("wrong.7"), client):
            for call, request in (
                (services.RANGE, pb.RangeRequest(key=b"a")),
                (services.PUT, PUT(key=b"a")),
                (services.PUT, PUT()),
                (services.DELETE_RANGE, pb.DeleteRangeRequest(key=b"a")),
                (services.TXN, pb.TxnRequest(success=[OP(request_put=PUT(key=b"a"))])),
                (services.USER_ADD, pb.AuthUserAddRequest(name="bob")),
                (services.USER_GET, pb.AuthNameRequest(name="root")),
                (services.USER_LIST, pb.Empty()),
                (services.ROLE_ADD, pb.AuthNameRequest(name="r")),
                (services.AUTH_DISABLE, pb.Empty()),
                (services.DEFRAGMENT, pb.Empty()),
                (services.HASH_KV, pb.HashKVRequest()),
                (services.LOCK, pb.LockRequest(name=b"l", lease=9)),
                (services.MEMBER_REMOVE, pb.MemberRequest(ID=99)),
            ):
                found.append((call.name, await told(asking, call, request)))
        found.append(await told(client, services.AUTHENTICATE, pb.AuthenticateRequest(name="amy", password="y")))
        await root(services.AUTH_DISABLE, pb.Empty())
        return found

    ours, theirs = await refusals(both[0]), await refusals(both[1])
    assert ours == theirs
