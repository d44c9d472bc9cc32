"""The Lease service: whole seconds, two at least, and nothing wrong with asking for what is not there."""

from typing import Any

import grpc.aio

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services

from .servers import Client, refused


async def grant(client: Client, ttl: int, lease: int = 0) -> pb.LeaseGrantResponse:
    return await client(services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=ttl, ID=lease))


async def test_a_lease_has_two_seconds_at_least(client: Client) -> None:
    assert [(await grant(client, ttl)).TTL for ttl in (-1, 0, 1, 2, 5)] == [2, 2, 2, 2, 5]
    assert (await grant(client, 9_000_000_000)).TTL == 9_000_000_000


async def test_refusals(client: Client) -> None:
    await grant(client, 5, lease=77)
    assert await refused(grant(client, 5, lease=77)) == (9, "etcdserver: lease already exists")
    assert await refused(grant(client, 9_000_000_001)) == (11, "etcdserver: too large lease TTL")
    unknown = (5, "etcdserver: requested lease not found")
    assert await refused(client(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=78))) == unknown
    assert await refused(client(services.PUT, pb.PutRequest(key=b"a", lease=78))) == unknown


async def test_the_keys_of_a_lease_go_with_it(client: Client) -> None:
    await grant(client, 100, lease=7)
    for key in (b"b", b"a"):
        await client(services.PUT, pb.PutRequest(key=key, lease=7))
    status = await client(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=7, keys=True))
    assert (status.TTL in (99, 100), status.grantedTTL, list(status.keys)) == (True, 100, [b"a", b"b"])
    bare = await client(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=7))
    assert list(bare.keys) == []
    revoked = await client(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=7))
    assert revoked.header.revision == 4
    gone = await client(services.LEASE_TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=7))
    assert (gone.TTL, gone.grantedTTL) == (-1, 0)


async def test_leases_are_listed_in_the_order_of_their_ends(client: Client) -> None:
    for ttl, lease in ((300, 1), (100, 2), (200, -3)):
        await grant(client, ttl, lease)
    listed = await client(services.LEASE_LEASES, pb.Empty())
    assert [each.ID for each in listed.leases] == [2, -3, 1]


async def test_keep_alive_answers_each_beat_and_an_unknown_lease_with_zero(client: Client) -> None:
    await grant(client, 5, lease=7)
    stream: Any = client.stream(services.LEASE_KEEP_ALIVE)
    answers = []
    for lease in (7, 8, 7):
        await stream.write(pb.LeaseKeepAliveRequest(ID=lease))
        answers.append(await stream.read())
    assert [(each.ID, each.TTL) for each in answers] == [(7, 5), (8, 0), (7, 5)]
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
