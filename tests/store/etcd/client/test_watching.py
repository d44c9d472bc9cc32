"""Watches over what was compacted, through unix sockets, and servers that tell how far they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from hawser.store import Compacted, PutOp, WatchBatch
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.client import EtcdStore, connect
from hawser.store.etcd.client.drivers.channel import Channel
from hawser.store.etcd.client.drivers.progress import tells_progress
from hawser.store.etcd.client.drivers.session import metadata
from hawser.store.etcd.client.endpoints import parse
from hawser.store.etcd.client.transport import Failed
from hawser.store.etcd.server.serving import serving
from hawser.store.etcd.services import LOCK, RANGE, STATUS, WATCH
from tests.etcd import Member, needs_etcd
from tests.wait import auntil

from .proxy import proxy

TRANSPORTS = ("grpc", "gateway")


@pytest.fixture(params=["served", pytest.param("etcd", marks=needs_etcd)])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """Of our own server, and of etcd's."""
    if request.param == "etcd":
        running: Member = request.getfixturevalue("etcd")
        yield running.port
        return
    engine = MemoryEngine()
    async with serving(engine, ["127.0.0.1:0"], grace=0) as here:
        yield here.ports[0]
    await engine.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_watches_go_on_over_the_new_connections_when_the_client_moves(port: int, transport: str) -> None:
    """As when certificates are renewed, or members come and go."""
    url = f"http://127.0.0.1:{port}"
    async with (
        connect(url) as other,
        connect(url, transport=transport, timeout=0.5) as store,
        store.watch(b"moved/", prefix=True) as batches,
    ):
        for turn in range(3):
            await store.put(b"moved/%d" % turn, b"")
            assert [event.kv.key for event in (await anext(batches)).events] == [b"moved/%d" % turn]
            await store.calls.move(store.calls.endpoints)
        await other.put(b"moved/3", b"")
        async with asyncio.timeout(5):
            assert [event.kv.key for event in (await anext(batches)).events] == [b"moved/3"]
            async with store.watch(b"new") as more:
                await store.put(b"new", b"")
                await anext(more)


async def test_a_call_whose_connection_is_closed_beneath_it_fails_and_cancels_nobody(port: int) -> None:
    """A change that was sent is in doubt, what was not sent is not."""
    url = f"http://127.0.0.1:{port}"
    channel = Channel(parse(url)[0])

    async def ask() -> Failed:
        with pytest.raises(Failed) as told:
            await channel.unary(LOCK, pb.LockRequest(name=b"closed"), timeout=10, metadata=metadata(""))
        return told.value

    async with connect(url) as store:
        await store.calls.call(LOCK, pb.LockRequest(name=b"closed"))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(ask())
            while (await store.range(b"closed/", prefix=True)).count < 2:
                pass
            await channel.close()
        assert waiting.result().sent
        assert not (await ask()).sent
        for lease in await store.leases():
            await store.lease_revoke(lease)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_delete_that_was_compacted_while_away_is_told_not_left_out(port: int, transport: str) -> None:
    async with (
        connect(f"http://127.0.0.1:{port}") as sure,
        proxy(port) as door,
        connect(door.url, transport=transport) as store,
        store.watch(b"gone") as batches,
    ):
        await sure.put(b"gone", b"1")
        await anext(batches)
        door.refuse()
        await sure.delete(b"gone")
        revision = (await sure.range(b"gone")).revision
        await sure.compact(revision)
        await sure.put(b"gone", b"2")
        await door.open()
        async with asyncio.timeout(5):
            with pytest.raises(Compacted, match="range again") as caught:
                await anext(batches)
        assert caught.value.revision == revision


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_compaction_of_what_was_read_is_no_harm_to_a_watch_that_was_away(port: int, transport: str) -> None:
    async with (
        connect(f"http://127.0.0.1:{port}") as sure,
        proxy(port) as door,
        connect(door.url, transport=transport) as store,
        store.watch(b"read") as batches,
    ):
        revision = await sure.put(b"read", b"1")
        await anext(batches)
        door.refuse()
        await sure.compact(revision)
        following = await sure.put(b"read", b"2")
        await door.open()
        assert (await asyncio.wait_for(anext(batches), 5)).revision == following


async def test_a_reader_too_slow_for_compaction_reads_what_it_has_and_is_told(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    async with connect(url) as store, store.watch(b"late") as slow, store.watch(b"late") as quick:
        count, value = 60, bytes(400_000)
        revisions = [await store.put(b"late", value) for _ in range(count)]
        async with asyncio.timeout(20):
            assert [(await anext(quick)).revision for _ in revisions] == revisions
        await store.compact(revisions[-1])
        seen = list[int]()

        async def rest() -> None:
            async for batch in slow:
                seen.append(batch.revision)

        with pytest.raises(Compacted) as caught:
            await asyncio.wait_for(rest(), 5)
    assert seen == revisions[: len(seen)]
    assert 10 < len(seen) < 60, "bounded by bytes, not only by how many"
    assert caught.value.revision == revisions[-1]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_revision_larger_than_a_message_is_one_batch(port: int, transport: str) -> None:
    """Its events with what was there before are 2.8 MB, which servers send in parts."""
    async with connect(f"http://127.0.0.1:{port}", transport=transport) as store:
        for value in (b"1", b"2"):
            puts = [PutOp(b"big/%03d" % number, value * 11_000) for number in range(128)]
            revision = (await store.txn([], puts)).revision
        async with store.watch(b"big/", prefix=True, from_revision=revision) as batches:
            batch = await asyncio.wait_for(anext(batches), 5)
            await store.put(b"big/", b"after")
            after = await asyncio.wait_for(anext(batches), 5)
    assert (batch.revision, len(batch.events), after.revision) == (revision, 128, revision + 1)
    assert {(event.kv.value[:1], event.prev and event.prev.value[:1]) for event in batch.events} == {(b"2", b"1")}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_over_a_unix_socket(rundir: Path, transport: str) -> None:
    engine = MemoryEngine()
    async with (
        serving(engine, [f"unix:{rundir}/kv.sock"], grace=0),
        connect(f"unix://{rundir}/kv.sock", transport=transport) as store,
        store.watch(b"a") as batches,
    ):
        assert await store.put(b"a", b"1") == 2
        assert (await anext(batches)).revision == 2
    await engine.close()


@pytest.mark.parametrize(
    ("version", "sound"),
    [
        ("3.4.23", False),
        ("3.4.30", False),
        ("3.4.31", True),
        ("3.5.0", False),
        ("3.5.12", False),
        ("3.5.13", True),
        ("3.6.0-rc.1", True),
        ("4.0.0", True),
        ("3.3.9", False),
        ("", False),
        ("3.4.23+hawser", True),
    ],
)
def test_which_servers_tell_progress_after_the_events_before_it(version: str, sound: bool) -> None:
    assert tells_progress(version) is sound


class Script:
    """A member that answers a watch's requests as told: `version`, and its revision now."""

    def __init__(self, version: str) -> None:
        self.version, self.revision = version, 5
        self.asked = 0
        self.late = False  # whether progress is told only after the next creation

    async def status(self, request: pb.Empty, context: object) -> pb.StatusResponse:
        return pb.StatusResponse(version=self.version)

    async def range(self, request: pb.RangeRequest, context: object) -> pb.RangeResponse:
        return pb.RangeResponse(header=pb.ResponseHeader(revision=self.revision))

    async def watch(self, requests: AsyncIterator[pb.WatchRequest], context: Any) -> AsyncIterator[pb.WatchResponse]:
        late = False
        async for request in requests:
            header = pb.ResponseHeader(revision=self.revision)
            progress = pb.WatchResponse(header=header, watch_id=-1)
            if request.HasField("create_request"):
                id = request.create_request.watch_id
                yield pb.WatchResponse(header=header, watch_id=id, created=True)
                if late:
                    yield progress
                    yield pb.WatchResponse(header=header, watch_id=id, events=[event(self.revision - 1)])
            elif request.HasField("progress_request"):
                self.asked += 1
                late = self.late
                if not late:
                    yield progress


def event(revision: int) -> pb.Event:
    return pb.Event(kv=pb.KeyValue(key=b"b", mod_revision=revision))


@asynccontextmanager
async def scripted(version: str) -> AsyncIterator[tuple[Script, EtcdStore]]:
    script, server = Script(version), grpc.aio.server()
    each: list[tuple[Any, Any, Any]] = [
        (STATUS, grpc.unary_unary_rpc_method_handler, script.status),
        (RANGE, grpc.unary_unary_rpc_method_handler, script.range),
        (WATCH, grpc.stream_stream_rpc_method_handler, script.watch),
    ]
    for call, kind, behaviour in each:
        service, name = call.path.strip("/").split("/")
        handler = kind(behaviour, call.request.FromString, call.response.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"http://127.0.0.1:{port}", transport="grpc") as store:
        yield script, store
    await server.stop(0)


def told(batch: WatchBatch[bytes]) -> tuple[int, int]:
    return batch.revision, len(batch.events)


async def test_a_quiet_watch_tells_how_far_the_server_is() -> None:
    async with scripted("3.6.0") as (script, store), store.watch(b"a") as quiet, store.watch(b"b") as other:
        assert told(await quiet.wait(0.001)) == (5, 0)
        script.revision = 9
        both = await asyncio.gather(quiet.wait(0.001), other.wait(0.001))
        assert [told(each) for each in both] == [(9, 0), (9, 0)]
        assert script.asked <= 3


async def test_progress_is_not_told_of_a_watch_that_was_begun_after_it_was_asked_for() -> None:
    """Creations and progress come by different ways, so one may overtake the other."""
    async with scripted("3.6.0") as (script, store), store.watch(b"a") as before, asyncio.TaskGroup() as tasks:
        script.late = True
        script.revision = 9
        asking = tasks.create_task(before.wait(0.001))
        await auntil(lambda: script.asked)
        async with store.watch(b"b", from_revision=7) as after:
            assert (await asyncio.wait_for(anext(after), 5)).revision == 8
        assert (await asking).revision == 9


async def test_a_server_that_may_tell_progress_too_early_is_not_asked() -> None:
    async with scripted("3.4.23") as (script, store), store.watch(b"a") as quiet:
        script.revision = 9
        assert told(await quiet.wait(0.001)) == (5, 0)
        assert not script.asked
