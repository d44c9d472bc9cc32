"""The Watch service: many watches on a stream, each from where it asked to begin, none in another's way."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio

from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Settings
from hawser.store.kv import DeleteOp, PutOp

from .servers import Client, connected, our_server


class Stream:
    """One of a client's."""

    def __init__(self, client: Client) -> None:
        self._call: Any = client.stream(services.WATCH)

    async def create(self, key: bytes, **asked: Any) -> pb.WatchResponse:
        await self.ask(create_request=pb.WatchCreateRequest(key=key, **asked))
        return await self.next()

    async def ask(self, **request: Any) -> None:
        await self._call.write(pb.WatchRequest(**request))

    async def next(self) -> pb.WatchResponse:
        response = await asyncio.wait_for(self._call.read(), 10)
        assert isinstance(response, pb.WatchResponse)
        return response

    async def progress(self) -> pb.WatchResponse:
        """The answer to a question for progress, when nothing else came before it."""
        await self.ask(progress_request=pb.Empty())
        return await self.next()


def seen(response: pb.WatchResponse) -> list[tuple[int, bytes, int]]:
    return [(event.type, event.kv.key, event.kv.mod_revision) for event in response.events]


async def test_events_from_now_on(client: Client, engine: MemoryEngine) -> None:
    await engine.put(b"a", b"0")
    stream = Stream(client)
    created = await stream.create(b"a")
    assert (created.created, created.canceled, created.watch_id, created.header.revision) == (True, False, 0, 2)
    await engine.put(b"b", b"not this")
    await engine.put(b"a", b"1")
    response = await stream.next()
    assert (seen(response), response.header.revision, response.watch_id) == ([(pb.Event.PUT, b"a", 4)], 4, 0)
    assert not response.events[0].HasField("prev_kv")


async def test_a_past_start_a_range_and_what_was_there_before(client: Client, engine: MemoryEngine) -> None:
    for key in (b"a", b"b", b"c", b"b"):
        await engine.put(key, b"v")
    await engine.delete(b"b")
    stream = Stream(client)
    await stream.create(b"b", range_end=b"\0", start_revision=4, prev_kv=True)
    response = await stream.next()
    assert seen(response) == [(pb.Event.PUT, b"c", 4), (pb.Event.PUT, b"b", 5), (pb.Event.DELETE, b"b", 6)]
    assert [event.prev_kv.mod_revision for event in response.events] == [0, 3, 5]


async def test_a_start_that_is_yet_to_come(client: Client, engine: MemoryEngine) -> None:
    stream = Stream(client)
    await stream.create(b"a", start_revision=4)
    for _ in range(4):
        await engine.put(b"a", b"")
    response = await stream.next()
    assert seen(response)[0] == (pb.Event.PUT, b"a", 4)


async def test_a_start_that_is_compacted_is_created_then_canceled(client: Client, engine: MemoryEngine) -> None:
    for _ in range(4):
        await engine.put(b"a", b"")
    await engine.compact(4)
    stream = Stream(client)
    for revision in (2, -1):
        created = await stream.create(b"a", start_revision=revision)
        assert (created.created, created.canceled) == (True, False)
        canceled = await stream.next()
        assert (canceled.canceled, canceled.compact_revision, canceled.header.revision) == (True, 4, 0)
        assert canceled.watch_id == created.watch_id
    assert seen(await stream.create(b"a", start_revision=5)) == []


async def test_filters_leave_kinds_out(client: Client, engine: MemoryEngine) -> None:
    stream = Stream(client)
    await stream.create(b"a", filters=[pb.WatchCreateRequest.NOPUT])
    await stream.create(b"a", filters=[pb.WatchCreateRequest.NODELETE])
    await engine.put(b"a", b"")
    response = await stream.next()
    assert (response.watch_id, seen(response)) == (1, [(pb.Event.PUT, b"a", 2)])
    await engine.delete(b"a")
    response = await stream.next()
    assert (response.watch_id, seen(response)) == (0, [(pb.Event.DELETE, b"a", 3)])


async def test_ids_are_the_servers_or_the_clients_and_never_the_same(client: Client) -> None:
    stream = Stream(client)
    assert (await stream.create(b"a", watch_id=7)).watch_id == 7
    assert (await stream.create(b"a")).watch_id == 0
    again = await stream.create(b"a", watch_id=7)
    assert (again.watch_id, again.created, again.canceled) == (-1, True, True)
    assert again.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    empty = await stream.create(b"b", range_end=b"a")
    assert (empty.watch_id, empty.cancel_reason) == (-1, "mvcc: watcher range is empty")


async def test_a_canceled_watch_is_silent_and_its_id_free(client: Client, engine: MemoryEngine) -> None:
    stream = Stream(client)
    await stream.create(b"a", watch_id=7)
    await stream.ask(cancel_request=pb.WatchCancelRequest(watch_id=7))
    assert (await stream.next()).canceled
    await stream.ask(cancel_request=pb.WatchCancelRequest(watch_id=8))
    await engine.put(b"a", b"")
    progress = await stream.progress()
    assert (progress.watch_id, progress.header.revision, seen(progress)) == (-1, 2, [])
    assert not (await stream.create(b"a", watch_id=7)).canceled


async def test_progress_is_told_only_after_all_events_up_to_it(client: Client, engine: MemoryEngine) -> None:
    for number in range(3000):
        await engine.put(b"a", b"%d" % number)
    stream = Stream(client)
    await stream.ask(create_request=pb.WatchCreateRequest(key=b"a", start_revision=2))
    await stream.ask(progress_request=pb.Empty())
    assert (await stream.next()).created
    last = 1
    while (response := await stream.next()).watch_id != -1:
        assert [event.kv.mod_revision for event in response.events] == list(
            range(last + 1, last + 1 + len(response.events))
        )
        last += len(response.events)
    assert last == response.header.revision == 3001


async def test_progress_notifications_of_the_quiet(engine: MemoryEngine) -> None:
    async with our_server(engine, Settings(progress=0.1)) as address, connected(address) as client:
        stream = Stream(client)
        await stream.create(b"a", progress_notify=True)
        await stream.create(b"a")
        await engine.put(b"b", b"")
        response = await stream.next()
        assert (response.watch_id, response.header.revision, seen(response)) == (0, 2, [])


async def test_a_large_revision_comes_in_fragments_when_that_is_asked(client: Client, engine: MemoryEngine) -> None:
    whole, parts = Stream(client), Stream(client)
    await whole.create(b"", range_end=b"\0")
    await parts.create(b"", range_end=b"\0", fragment=True)
    for number in range(3):
        await engine.put(b"%d" % number, bytes(1 << 20))
    for _ in range(3):
        await whole.next()
        assert not (await parts.next()).fragment
    await engine.txn([], [DeleteOp(b"", prefix=True)])
    await engine.txn([], [PutOp(b"%d" % number, bytes(1 << 19)) for number in range(3)])
    assert len((await whole.next()).events) == len((await parts.next()).events) == 3
    stream = Stream(client)
    await stream.create(b"", range_end=b"\0", start_revision=5, fragment=True, prev_kv=True)
    responses = [await stream.next()]
    while responses[-1].fragment:
        responses.append(await stream.next())
    assert [len(each.events) for each in responses] == [1, 1, 1]
    assert {event.kv.mod_revision for each in responses for event in each.events} == {5}


async def test_a_long_past_does_not_hold_up_a_new_watch(client: Client, engine: MemoryEngine) -> None:
    for _ in range(40):
        await engine.put(b"big", bytes(1 << 20))
    stream = Stream(client)
    await stream.create(b"big", start_revision=2)
    await stream.ask(create_request=pb.WatchCreateRequest(key=b"small", start_revision=42))
    await engine.put(b"small", b"")
    before = 0
    while (response := await stream.next()).watch_id != 1 or response.created:
        before += len(response.events)
    assert before < 40
    assert seen(response)[0][1] == b"small"


async def test_a_past_that_only_the_disk_has(rundir: Path) -> None:
    engine = await SqliteEngine.open(rundir / "store", ring=10)
    for number in range(0, 2500, 100):
        await asyncio.gather(*(engine.put(b"%d" % each, b"v") for each in range(number, number + 100)))
    async with our_server(engine) as address, connected(address) as client:
        stream = Stream(client)
        await stream.ask(create_request=pb.WatchCreateRequest(key=b"", range_end=b"\0", start_revision=2))
        await stream.ask(create_request=pb.WatchCreateRequest(key=b"7", start_revision=2, watch_id=9))
        await engine.put(b"end", b"")
        revisions, other = list[int](), list[int]()
        while 2502 not in revisions or not other:
            response = await stream.next()
            (other if response.watch_id == 9 else revisions).extend(revision for _, _, revision in seen(response))
        assert revisions == list(range(2, 2503))
        assert len(other) == 1
    await engine.close()


async def test_a_client_that_does_not_read_costs_no_memory(client: Client, engine: MemoryEngine) -> None:
    stalled = Stream(client)
    await stalled.create(b"k")
    address = client.channel
    for _ in range(60):
        await engine.put(b"k", bytes(1 << 20))
    (watcher,) = engine.feed._watchers
    assert watcher.next < 60, "what was not sent is only a cursor"
    total = 0
    while total < 60:
        total += len((await stalled.next()).events)
    assert total == 60
    assert address is client.channel


async def test_each_event_is_encoded_once_for_all_who_watch(client: Client, engine: MemoryEngine) -> None:
    stream = Stream(client)
    for _ in range(300):
        await stream.create(b"a")
    await engine.put(b"a", b"v")
    ids = {(await stream.next()).watch_id for _ in range(300)}
    assert ids == set(range(300))


async def test_who_stops_asking_goes_on_listening(client: Client, engine: MemoryEngine) -> None:
    call: Any = client.stream(services.WATCH)
    await call.write(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    await call.done_writing()
    assert (await call.read()).created
    await engine.put(b"a", b"")
    assert len((await call.read()).events) == 1
    call.cancel()


async def test_the_servers_end_ends_streams_at_once(engine: MemoryEngine) -> None:
    async with our_server(engine) as address:
        channel = grpc.aio.insecure_channel(address)
        call: Any = Client(channel).stream(services.WATCH)
        await call.write(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
        await call.read()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert await call.details() == "etcdserver: server stopped"
    await channel.close()


async def test_a_stream_leaves_nothing_behind(client: Client, engine: MemoryEngine) -> None:
    stream = Stream(client)
    for _ in range(3):
        await stream.create(b"a")
    assert len(engine.feed._watchers) == 3
    stream._call.cancel()
    deadline = asyncio.get_running_loop().time() + 5
    while engine.feed._watchers:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)
