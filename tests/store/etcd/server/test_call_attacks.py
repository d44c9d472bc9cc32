"""Calls that a hostile client may make, each allowed by itself: deadlines, locks, passwords, watches, ranges."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Limits, frames, limits, serving
from hawser.store.etcd.server.events import varint
from hawser.store.etcd.server.frames import frame
from tests.wait import auntil

from .raw import PUT_HEADERS, QUICK, Raw, Siege, besieged, headers, message, opening, raw_client, setting, window

GIVE_UP = (8).to_bytes(4)


@pytest.fixture
async def siege(engine: MemoryEngine) -> AsyncIterator[Siege]:
    async with besieged(engine) as begun:
        yield begun


def half(stream: int, fields: Any, *requests: Any) -> bytes:
    """A call that goes on."""
    return opening(stream, fields) + b"".join(frame(frames.DATA, 0, stream, message(each)) for each in requests)


@pytest.mark.parametrize("timeout", ["50m", "50000u", "0S", "1n"])
async def test_a_deadline_ends_a_call(siege: Siege, timeout: str) -> None:
    async with siege.client() as raw:
        raw.call(1, pb.LockRequest(name=b"l"), headers(services.LOCK))
        assert await raw.answer() == (1, "0")
        raw.call(3, pb.LockRequest(name=b"l"), headers(services.LOCK, ("grpc-timeout", timeout)))
        assert await raw.answer() == (3, "4")
        raw.send(half(5, headers(services.WATCH, ("grpc-timeout", timeout))))
        assert await raw.answer() == (5, "4")
        raw.send(half(7, (*PUT_HEADERS, ("grpc-timeout", timeout))))
        assert await raw.answer() == (7, "4")
        await auntil(lambda: siege.engine.keys.count(b"l/", b"l0") == 1, what="nobody waits in line")


@pytest.mark.parametrize("timeout", ["", "5", "-5S", "123456789S", "5x", "S", "1.5S"])
async def test_a_deadline_that_is_none(siege: Siege, timeout: str) -> None:
    async with siege.client() as raw:
        raw.call(1, pb.PutRequest(key=b"a"), (*PUT_HEADERS, ("grpc-timeout", timeout)))
        assert await raw.answer() == (1, "13")


async def test_a_deadline_ends_what_waits_to_be_read(engine: MemoryEngine) -> None:
    await engine.put(b"big", bytes(1 << 20))
    async with besieged(engine) as siege, siege.client() as raw:
        raw.send(setting(4, 0))
        raw.call(1, pb.RangeRequest(key=b"big"), headers(services.RANGE, ("grpc-timeout", "50m")))
        assert await raw.reset() == (1, frames.CANCEL)


@pytest.mark.parametrize("method", ["GET", "PUT", "CONNECT"])
async def test_only_posts_are_calls(siege: Siege, method: str) -> None:
    async with siege.client() as raw:
        raw.call(1, pb.PutRequest(key=b"a"), tuple({**dict(PUT_HEADERS), ":method": method}.items()))
        assert await raw.answer() == (1, None)


@pytest.mark.parametrize("content", ["application/grpcx", "application/json", "application/grpc-web", ""])
async def test_only_grpc_is_answered(siege: Siege, content: str) -> None:
    async with siege.client() as raw:
        raw.call(1, pb.PutRequest(key=b"a"), tuple({**dict(PUT_HEADERS), "content-type": content}.items()))
        assert await raw.answer() == (1, None)
        plus = tuple({**dict(PUT_HEADERS), "content-type": "application/grpc+proto"}.items())
        raw.call(3, pb.PutRequest(key=b"a"), plus)
        assert await raw.answer() == (3, "0")


async def test_a_long_unknown_path_is_told_within_a_frame(siege: Siege) -> None:
    path = "/" + "é" * (limits.MAX_HEADERS // 2)
    async with siege.client() as raw:
        raw.send(opening(1, tuple({**dict(PUT_HEADERS), ":path": path}.items()), ends=True))
        _, _, _, payload = await raw.next(frames.HEADERS)
        assert len(payload) <= frames.MAX_FRAME


async def test_a_stream_cut_in_the_middle_of_a_message(siege: Siege) -> None:
    async with siege.client() as raw:
        raw.send(half(1, headers(services.WATCH)), frame(frames.DATA, frames.END_STREAM, 1, b"\0\0\0"))
        assert await raw.answer() == (1, "13")


async def test_a_lock_given_up_at_any_moment_is_free(siege: Siege) -> None:
    """Whether it was waiting, had just got in line, or had not begun."""
    async with siege.client() as raw:
        for stream in range(1, 400, 2):
            raw.call(stream, pb.LockRequest(name=b"l"), headers(services.LOCK))
            for _ in range(stream % 7):
                await asyncio.sleep(0)
            raw.send(frame(frames.RST_STREAM, 0, stream, GIVE_UP))
        raw.send(frame(frames.PING, 0, 0, bytes(8)))
        await raw.next(frames.PING)
        left = siege.engine.keys

        def unanswered() -> bool:
            return left.count(b"l/", b"l0") <= 1  # one may have been answered before it was given up

        await auntil(unanswered, what="the line is empty")


async def test_a_lock_given_up_while_it_gets_in_line_leaves_no_key(siege: Siege) -> None:
    await siege.engine.lease_grant(100, id=7)
    async with siege.client() as raw:
        raw.call(1, pb.LockRequest(name=b"l", lease=7), headers(services.LOCK))
        raw.send(frame(frames.RST_STREAM, 0, 1, GIVE_UP), frame(frames.PING, 0, 0, bytes(8)))
        await raw.next(frames.PING)
        await siege.engine.put(b"after", b"")
        await auntil(lambda: siege.engine.keys.count(b"l/", b"l0") == 0, what="nobody is in line")


async def test_a_connection_that_is_lost_ends_all_its_calls(siege: Siege) -> None:
    async with siege.client() as raw:
        raw.call(1, pb.LockRequest(name=b"l"), headers(services.LOCK))
        await raw.answer()
        for stream in range(3, 203, 2):
            raw.call(stream, pb.LockRequest(name=b"l"), headers(services.LOCK))
        raw.send(half(301, headers(services.WATCH), pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))))
        await auntil(lambda: siege.engine.keys.count(b"l/", b"l0") == 101, what="all are in line")
    await auntil(lambda: siege.engine.keys.count(b"l/", b"l0") == 1, what="only the holder is left")


async def test_passwords_are_tried_a_few_at_a_time(engine: MemoryEngine) -> None:
    """A thousand at once: the others go on, most of the thousand are told to come later, and a name is no better
    known than an unknown one."""
    async with (
        serving(engine, ["127.0.0.1:0"], grace=0.2) as served,
        raw_client(served.addresses[0]) as raw,
        raw_client(served.addresses[0]) as other,
    ):
        steps: list[tuple[Any, Any]] = [
            (services.USER_ADD, pb.AuthUserAddRequest(name="root", password="x")),
            (services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user="root", role="root")),
            (services.AUTH_ENABLE, pb.Empty()),
        ]
        for stream, (call, request) in enumerate(steps):
            raw.call(2 * stream + 1, request, headers(call))
            assert (await raw.answer())[1] == "0"
        raw.send(window(0, 1 << 20))
        for number in range(1000):
            guess = pb.AuthenticateRequest(name="root" if number % 2 else f"u{number}", password=str(number))
            raw.call(101 + 2 * number, guess, headers(services.AUTHENTICATE))
        refused = [await raw.answer() for _ in range(1000 - limits.ASKING)]
        assert {status for _, status in refused} == {"8"}
        began = time.monotonic()
        other.call(1, pb.Empty(), headers(services.MEMBER_LIST))
        await other.answer()
        assert time.monotonic() - began < QUICK


async def test_watches_without_end(engine: MemoryEngine) -> None:
    """More than the server takes are refused, each by itself; ended ones make room."""
    created = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
    async with besieged(engine, Limits(watches=500)) as siege, siege.client() as raw:
        raw.send(window(0, 1 << 24), half(1, headers(services.WATCH), *[created] * 600))
        said = [pb.WatchResponse.FromString((await raw.next(frames.DATA))[3][5:]) for _ in range(600)]
        assert [each.canceled for each in said] == [False] * 500 + [True] * 100
        assert said[-1].cancel_reason == "etcdserver: too many requests"
        ends = pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=3))
        raw.send(frame(frames.DATA, 0, 1, message(ends) + message(created)))
        assert (await said_next(raw)).canceled
        assert not (await said_next(raw)).canceled
        await siege.goes_on()
        raw.send(frame(frames.RST_STREAM, 0, 1, GIVE_UP))


async def said_next(raw: Raw) -> pb.WatchResponse:
    return pb.WatchResponse.FromString((await raw.next(frames.DATA))[3][5:])


@pytest.fixture
async def kept(rundir: Path) -> AsyncIterator[SqliteEngine]:
    """On disk, with a feed that holds little of the past."""
    opened = await SqliteEngine.open(rundir, ring=8)
    yield opened
    await opened.close()


async def test_a_watcher_that_reads_late_costs_little_and_misses_nothing(kept: SqliteEngine) -> None:
    """Of 64 MiB that are written meanwhile one response waits; the rest comes from the log."""
    value, count = bytes(1 << 19), 128
    created = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a", progress_notify=True))
    async with serving(kept, ["127.0.0.1:0"], grace=0.2) as served, raw_client(served.addresses[0]) as raw:
        raw.send(half(1, headers(services.WATCH), created))
        assert (await said_next(raw)).created
        most = 0
        for _ in range(count):
            await kept.put(b"a", value)
            most = max(most, served.crowd.held)
        assert most < 4 << 20
        raw.send(setting(4, 1 << 30), window(0, 1 << 30), window(1, 1 << 29))
        body, revisions = b"", list[int]()
        while len(revisions) < count:
            body += (await raw.next(frames.DATA))[3]
            while len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5]):
                end = 5 + int.from_bytes(body[1:5])
                revisions += [event.kv.mod_revision for event in pb.WatchResponse.FromString(body[5:end]).events]
                body = body[end:]
        assert revisions == list(range(2, count + 2))


async def test_a_snapshot_that_nobody_reads(kept: SqliteEngine, rundir: Path) -> None:
    """It stops nobody from writing, others wait for it, and nothing of it is left, on the disk or as open files."""
    for number in range(20):
        await kept.put(b"%d" % number, bytes(100_000))
    async with serving(kept, ["127.0.0.1:0"], limits=Limits(stalled=0.4), grace=0.2) as served:
        async with contextlib.AsyncExitStack() as stack:
            stalled = [await stack.enter_async_context(raw_client(served.addresses[0])) for _ in range(4)]
            for raw in stalled:
                raw.call(1, pb.Empty(), headers(services.SNAPSHOT))
            await auntil(lambda: copies(rundir) == limits.SNAPSHOTS, what="as many as may be")
            assert not [name for name in os.listdir(rundir) if name.startswith("snapshot-")]
            raw = await stack.enter_async_context(raw_client(served.addresses[0]))
            raw.call(1, pb.PutRequest(key=b"a"))
            assert await raw.answer() == (1, "0")
            for each in stalled:
                assert await each.farewell() == frames.CALM
                assert copies(rundir) <= limits.SNAPSHOTS
        await auntil(lambda: len(served.crowd) == 0, what="all are gone")
        await auntil(lambda: not copies(rundir), what="no copy is open")


def copies(directory: Path) -> int:
    """How many files without a name this process has there."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{each}")
            found += name.startswith(f"{directory}/snapshot-") and name.endswith("(deleted)")
    return found


async def test_a_range_over_everything_lets_others_in(engine: MemoryEngine) -> None:
    """It is made in slices; nothing is missing."""
    count = 20 * limits.SLICE + 7
    for begin in range(0, count, 100):
        await asyncio.gather(*(engine.put(b"k%06d" % n, b"v") for n in range(begin, min(count, begin + 100))))
    async with besieged(engine) as siege, siege.client() as raw, siege.client() as other:
        raw.send(setting(4, 1 << 30), window(0, 1 << 30))
        raw.call(1, pb.RangeRequest(key=b"k", range_end=b"l"), headers(services.RANGE))
        other.call(1, pb.PutRequest(key=b"a"))
        assert await other.answer() == (1, "0")
        body = b""
        while len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5]):
            body += (await raw.next(frames.DATA))[3]
        found = pb.RangeResponse.FromString(body[5:])
        assert (found.count, [kv.key for kv in found.kvs]) == (count, [b"k%06d" % n for n in range(count)])


async def test_a_transaction_of_very_many_is_refused_at_once(siege: Siege) -> None:
    huge = pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 200_000)
    async with siege.client() as raw:
        raw.send(opening(1, headers(services.TXN)))
        data = message(huge)
        for at in range(0, len(data), 16_000):
            raw.send(frame(frames.DATA, 0, 1, data[at : at + 16_000]))
        raw.send(frame(frames.DATA, frames.END_STREAM, 1))
        assert await raw.answer() == (1, "3")
        await siege.goes_on()


async def test_a_transaction_nested_without_end(siege: Siege) -> None:
    """Deeper than protobuf reads is no message; what it reads is answered."""
    for depth, status in ((30, "0"), (60, "13")):
        data = b""
        for _ in range(depth):
            inner = b"\x22" + varint(len(data)) + data  # RequestOp.request_txn
            data = b"\x12" + varint(len(inner)) + inner  # TxnRequest.success
        async with siege.client() as raw:
            raw.send(opening(1, headers(services.TXN)))
            raw.send(frame(frames.DATA, frames.END_STREAM, 1, b"\0" + len(data).to_bytes(4) + data))
            assert await raw.answer() == (1, status)


async def test_beats_without_end(siege: Siege) -> None:
    """Answered one after the other, as they are read."""
    beats = message(pb.LeaseKeepAliveRequest(ID=5)) * 20_000
    async with siege.client() as raw:
        raw.send(opening(1, headers(services.LEASE_KEEP_ALIVE)))
        for at in range(0, len(beats), 14_000):
            raw.send(frame(frames.DATA, 0, 1, beats[at : at + 14_000]))
        await siege.goes_on()
        assert siege.crowd.held < limits.STREAM_WINDOW + (1 << 20)
