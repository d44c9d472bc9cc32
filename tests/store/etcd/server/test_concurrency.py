"""Lock and Election: in the order of coming, and whoever goes away makes room."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc.aio

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from tests.wait import auntil

from .servers import Client, refused


async def lease(client: Client, number: int) -> int:
    return (await client(services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=100, ID=number))).ID


async def standing(engine: MemoryEngine, name: bytes, count: int) -> None:
    """So many are in line."""
    await auntil(lambda: engine.keys.count(name + b"/", name + b"0") == count, what="the line is that long")


async def test_a_lock_has_one_holder_and_the_next_comes_in_turn(client: Client, engine: MemoryEngine) -> None:
    first = await client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 0xA)))
    assert first.key == b"l/a"
    again = await client(services.LOCK, pb.LockRequest(name=b"l", lease=0xA))
    assert again.key == b"l/a"
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 0xB))))
        await standing(engine, b"l", 2)
        third = tasks.create_task(client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 0xC))))
        await standing(engine, b"l", 3)
        assert not second.done()
        await client(services.UNLOCK, pb.UnlockRequest(key=first.key))
        assert (await second).key == b"l/b"
        assert not third.done()
        await client(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=0xB))
        assert (await third).key == b"l/c"


async def test_a_lock_without_a_lease_gets_one_of_a_minute(client: Client) -> None:
    locked = await client(services.LOCK, pb.LockRequest(name=b"l"))
    (granted,) = (await client(services.LEASE_LEASES, pb.Empty())).leases
    assert locked.key == b"l/%x" % granted.ID
    status = await client(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=granted.ID))
    assert status.grantedTTL == 60


async def test_who_gives_up_or_dies_waiting_is_not_in_line(client: Client, engine: MemoryEngine) -> None:
    await client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 1)))
    late = client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 2)), wait=0.1)
    assert (await refused(late))[0] == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    await standing(engine, b"l", 1)
    async with asyncio.TaskGroup() as tasks:
        dead = tasks.create_task(
            refused(client(services.LOCK, pb.LockRequest(name=b"l", lease=await lease(client, 3))))
        )
        await standing(engine, b"l", 2)
        await client(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=3))
        await client(services.UNLOCK, pb.UnlockRequest(key=b"l/1"))
        assert await dead == (2, "mutex: session is expired")


async def test_refusals_have_no_code(client: Client) -> None:
    assert await refused(client(services.LOCK, pb.LockRequest(name=b"l", lease=9))) == (
        2,
        "etcdserver: requested lease not found",
    )
    assert await refused(client(services.LEADER, pb.LeaderRequest(name=b"e"))) == (2, "election: no leader")
    field = (2, '"leader" field must be provided')
    assert await refused(client(services.PROCLAIM, pb.ProclaimRequest())) == field
    assert await refused(client(services.RESIGN, pb.ResignRequest())) == field
    nobody = pb.LeaderKey(name=b"e", key=b"e/1", rev=4, lease=1)
    not_leader = (2, "election: not leader")
    assert await refused(client(services.PROCLAIM, pb.ProclaimRequest(leader=nobody, value=b"v"))) == not_leader


async def test_a_campaign_is_won_in_turn_and_the_leader_is_observed(client: Client, engine: MemoryEngine) -> None:
    def campaign(number: int, value: bytes) -> Coroutine[Any, Any, pb.CampaignResponse]:
        return client(services.CAMPAIGN, pb.CampaignRequest(name=b"e", lease=number, value=value))

    watching: Any = client.channel.unary_stream(
        services.OBSERVE.path,
        request_serializer=services.OBSERVE.request.SerializeToString,
        response_deserializer=services.OBSERVE.response.FromString,
    )(pb.LeaderRequest(name=b"e"))
    for number in (1, 2):
        await lease(client, number)
    won = await campaign(1, b"one")
    assert (won.leader.key, won.leader.lease, won.header.revision) == (b"e/1", 1, won.leader.rev)
    assert (await watching.read()).kv.value == b"one"
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(campaign(2, b"two"))
        await standing(engine, b"e", 2)
        await client(services.PROCLAIM, pb.ProclaimRequest(leader=won.leader, value=b"uno"))
        assert (await watching.read()).kv.value == b"uno"
        assert (await client(services.LEADER, pb.LeaderRequest(name=b"e"))).kv.value == b"uno"
        assert (await campaign(1, b"still")).leader == won.leader
        assert (await watching.read()).kv.value == b"still"
        await client(services.RESIGN, pb.ResignRequest(leader=won.leader))
        assert (await waiting).leader.key == b"e/2"
    assert (await watching.read()).kv.value == b"two"
    watching.cancel()
