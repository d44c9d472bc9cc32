"""Maintenance and Cluster: what an operator asks, answered as a member that is alone."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Settings

from .servers import Client, connected, our_server, refused


@pytest.fixture
async def durable(rundir: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(rundir / "store")
    yield engine
    await engine.close()


async def test_status_says_what_etcdctl_wants_to_know(client: Client) -> None:
    await client(services.PUT, pb.PutRequest(key=b"a", value=b"1"))
    status = await client(services.STATUS, pb.Empty())
    assert (status.version, status.leader, status.raftTerm) == ("3.4.23", status.header.member_id, 2)
    assert status.dbSize >= status.dbSizeInUse > 0
    assert list(status.errors) == []


async def test_the_member_list_is_who_answers(engine: MemoryEngine) -> None:
    settings = Settings(name="one", urls=("http://127.0.0.1:2379",))
    async with our_server(engine, settings) as address, connected(address) as client:
        listed = await client(services.MEMBER_LIST, pb.MemberListRequest())
        (member,) = listed.members
        assert (member.ID, member.name, list(member.clientURLs)) == (
            listed.header.member_id,
            "one",
            ["http://127.0.0.1:2379"],
        )


async def test_ids_stay_when_the_server_starts_again(durable: SqliteEngine) -> None:
    ids = []
    for _ in range(2):
        async with our_server(durable) as address, connected(address) as client:
            header = (await client(services.STATUS, pb.Empty())).header
            ids.append((header.cluster_id, header.member_id))
    assert ids[0] == ids[1]


async def test_nobody_can_join_or_leave(client: Client) -> None:
    me = (await client(services.STATUS, pb.Empty())).header.member_id
    urls = ["http://127.0.0.1:1"]
    code, text = await refused(client(services.MEMBER_ADD, pb.MemberAddRequest(peerURLs=urls)))
    assert (code, "hawser kv migrate" in text) == (12, True)
    invalid = (3, "etcdserver: given member URLs are invalid")
    assert await refused(client(services.MEMBER_ADD, pb.MemberAddRequest(peerURLs=["x"]))) == invalid
    unknown = (5, "etcdserver: member not found")
    assert await refused(client(services.MEMBER_REMOVE, pb.MemberRequest(ID=5))) == unknown
    assert await refused(client(services.MEMBER_UPDATE, pb.MemberUpdateRequest(ID=5))) == unknown
    assert await refused(client(services.MEMBER_REMOVE, pb.MemberRequest(ID=me))) == (
        2,
        "etcdserver: re-configuration failed due to not enough started members",
    )
    assert await refused(client(services.MEMBER_PROMOTE, pb.MemberRequest(ID=me))) == (
        9,
        "etcdserver: can only promote a learner member",
    )
    leader = (9, "etcdserver: bad leader transferee")
    assert await refused(client(services.MOVE_LEADER, pb.MoveLeaderRequest(targetID=5))) == leader
    assert await client(services.MOVE_LEADER, pb.MoveLeaderRequest(targetID=me)) == pb.Done()


async def test_the_alarm_stops_what_grows_until_it_is_ended_by_its_member(client: Client) -> None:
    me = (await client(services.STATUS, pb.Empty())).header.member_id
    own = pb.AlarmResponse(alarms=[pb.AlarmMember(memberID=me, alarm=pb.NOSPACE)])

    async def alarm(action: "pb.AlarmRequest.AlarmAction", member: int = 0) -> pb.AlarmResponse:
        return await client(services.ALARM, pb.AlarmRequest(action=action, memberID=member, alarm=pb.NOSPACE))

    assert await alarm(pb.AlarmRequest.GET) == pb.AlarmResponse()
    assert await alarm(pb.AlarmRequest.ACTIVATE, me) == own
    assert await alarm(pb.AlarmRequest.GET) == own
    full = (8, "etcdserver: mvcc: database space exceeded")
    assert await refused(client(services.PUT, pb.PutRequest(key=b"a"))) == full
    assert await refused(client(services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=5))) == full
    await client(services.DELETE_RANGE, pb.DeleteRangeRequest(key=b"a"))
    assert (await client(services.STATUS, pb.Empty())).errors == [f"memberID:{me} alarm:NOSPACE "]
    assert await alarm(pb.AlarmRequest.DEACTIVATE) == pb.AlarmResponse()
    assert await alarm(pb.AlarmRequest.DEACTIVATE, me) == own
    await client(services.PUT, pb.PutRequest(key=b"a"))


async def test_a_snapshot_is_its_bytes_and_their_hash(durable: SqliteEngine) -> None:
    async with our_server(durable) as address, connected(address) as client:
        await client(services.PUT, pb.PutRequest(key=b"a", value=bytes(200_000)))
        parts = await client.receive(services.SNAPSHOT, pb.Empty())
        data = b"".join(part.blob for part in parts)
        assert hashlib.sha256(data[:-32]).digest() == data[-32:]
        assert len(data) > 200_000
        assert parts[-1].remaining_bytes == 0
        left = [part.remaining_bytes for part in parts]
        assert left == sorted(left, reverse=True)
        await client(services.DEFRAGMENT, pb.Empty())


async def test_equal_histories_have_equal_hashes(durable: SqliteEngine, engine: MemoryEngine) -> None:
    found = set[tuple[int, int]]()
    for each in (durable, engine):
        async with our_server(each) as address, connected(address) as client:
            for value in (b"1", b"2"):
                await client(services.PUT, pb.PutRequest(key=b"a", value=value))
            answer = await client(services.HASH_KV, pb.HashKVRequest())
            found.add((answer.hash, answer.compact_revision))
            future = (11, "etcdserver: mvcc: required revision is a future revision")
            assert await refused(client(services.HASH_KV, pb.HashKVRequest(revision=9))) == future
    assert len(found) == 1


async def test_what_is_no_call(client: Client) -> None:
    unknown = services.Call("/etcdserverpb.KV/Nope", "", pb.Empty, pb.Empty)
    assert await refused(client(unknown, pb.Empty())) == (12, "unknown method Nope for service etcdserverpb.KV")
    unknown = services.Call("/nope.KV/Nope", "", pb.Empty, pb.Empty)
    assert await refused(client(unknown, pb.Empty())) == (12, "unknown service nope.KV")
    downgrade = (12, "unknown method Downgrade for service etcdserverpb.Maintenance")
    assert await refused(client(services.DOWNGRADE, pb.DowngradeRequest())) == downgrade
