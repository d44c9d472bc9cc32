"""Clients that leave things half said, or never read what they asked for: they cost little, and end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.server import Limits, Tls, frames, limits, serving
from hawser.store.etcd.server.frames import PREFACE, frame
from hawser.store.etcd.server.hpack import encode
from tests.wait import auntil

from .authority import Authority
from .raw import PUT_HEADERS, Raw, Siege, besieged, headers, message, opening, raw_client, setting, window

HURRIED = Limits(greeting=0.2, frame=0.2, stalled=0.3, flush=0.1)
SETTINGS = frame(frames.SETTINGS, 0, 0)
MIB = 1 << 20


@pytest.fixture
async def siege(engine: MemoryEngine) -> AsyncIterator[Siege]:
    async with besieged(engine, HURRIED) as begun:
        yield begun


HALF = {
    "nothing": b"",
    "two letters": PREFACE[:2],
    "half a preface": PREFACE[:15],
    "a preface without settings": PREFACE,
    "half of the settings": PREFACE + SETTINGS[:5],
    "half a frame": PREFACE + SETTINGS + frame(frames.PING, 0, 0, bytes(8))[:12],
    "half of a call's headers": PREFACE + SETTINGS + frame(frames.HEADERS, 0, 1, encode(PUT_HEADERS)),
    "half of HTTP/1": b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\n",
}


async def test_who_never_comes_to_an_end_is_let_go(siege: Siege) -> None:
    """Slowloris."""

    async def left(said: bytes) -> None:
        async with siege.client(greets=False) as raw:
            raw.send(said)
            await raw.gone()

    async with asyncio.TaskGroup() as tasks:
        for what, said in HALF.items():
            tasks.create_task(left(said), name=what)


async def test_a_letter_now_and_then_is_not_enough(siege: Siege) -> None:
    """What counts is when the frame began, not when something of it came."""
    slow = frame(frames.PING, 0, 0, bytes(8)) + frame(0xBE, 0, 0, bytes(16_000))
    loop = asyncio.get_running_loop()
    async with siege.client() as raw, asyncio.TaskGroup() as tasks:

        async def drip() -> None:
            for byte in slow:
                await raw.flood(bytes((byte,)))
                await asyncio.sleep(0.001)  # this is the attack

        began = loop.time()
        dripping = tasks.create_task(drip())
        await raw.gone()
        assert loop.time() - began < 2
        dripping.cancel()


async def test_many_frames_one_after_the_other_may_take_any_time(siege: Siege) -> None:
    """Each ends in time, though the connection always has half of one."""
    ping = frame(frames.PING, 0, 0, bytes(8))
    loop = asyncio.get_running_loop()
    async with siege.client() as raw:
        raw.send(ping[:5])
        began = loop.time()
        while loop.time() - began < 3 * HURRIED.frame:
            raw.send(ping[5:], ping[:5])
            await raw.next(frames.PING)
            await asyncio.sleep(HURRIED.frame / 20)  # at any pace but a flood's


async def test_a_quiet_connection_stays(siege: Siege) -> None:
    async with siege.client() as raw, siege.client() as watching:
        watching.send(opening(1, headers(services.WATCH)))
        raw.send(frame(frames.PING, 0, 0, bytes(8)))
        await raw.next(frames.PING)
        async with siege.client(greets=False) as other:
            await other.gone()
        raw.call(1, pb.PutRequest(key=b"a"))
        assert await raw.answer() == (1, "0")


async def test_half_a_handshake(authority: Authority, engine: MemoryEngine) -> None:
    tls = Tls(*authority.issue("server"))
    async with (
        serving(engine, ["127.0.0.1:0"], tls=tls, limits=HURRIED, grace=0.1) as served,
        raw_client(served.addresses[0], greets=False) as raw,
    ):
        raw.send(b"\x16\x03\x01\x02\x00\x01\x00")
        await raw.gone()


async def test_http2_over_tls_must_be_agreed_on(authority: Authority, engine: MemoryEngine) -> None:
    tls = Tls(*authority.issue("server"))
    async with serving(engine, ["localhost:0"], tls=tls, limits=HURRIED, grace=0.1) as served:
        for protocols, answered in ((["h2"], True), ([], False), (["http/1.1"], False)):
            context = ssl.create_default_context(cadata=authority.pem.decode())
            if protocols:
                context.set_alpn_protocols(protocols)
            async with raw_client(served.addresses[0], tls=context) as raw:
                if answered:
                    raw.call(1, pb.PutRequest(key=b"a"))
                    assert await raw.answer() == (1, "0")
                else:
                    await raw.gone()
    assert engine.revision == 2


async def test_old_tls_is_refused(authority: Authority, rundir: Path) -> None:
    assert Tls(*authority.issue("server")).context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.fixture
async def stocked(engine: MemoryEngine) -> MemoryEngine:
    await engine.put(b"big", bytes(MIB))
    return engine


async def test_answers_that_nobody_takes(stocked: MemoryEngine) -> None:
    """A window of nothing: calls wait once a few answers do, and their client goes."""
    async with besieged(stocked, Limits(stalled=0.6)) as siege, siege.client() as raw:
        raw.send(setting(4, 0))
        for stream in range(1, 2001, 2):
            raw.call(stream, pb.RangeRequest(key=b"big"), headers(services.RANGE))
        await auntil(lambda: siege.crowd.held > Limits().backlog, what="answers wait")
        await siege.goes_on()
        assert siege.crowd.held < Limits().backlog + 2 * MIB + 1000 * 2 * limits.STREAM_COST
        assert await raw.farewell() == frames.CALM


async def test_answers_that_are_taken_late_all_come(stocked: MemoryEngine) -> None:
    async with besieged(stocked) as siege, siege.client() as raw:
        raw.send(setting(4, 0), window(0, 1 << 30))
        for stream in range(1, 81, 2):
            raw.call(stream, pb.RangeRequest(key=b"big"), headers(services.RANGE))
        await auntil(lambda: siege.crowd.held > Limits().backlog, what="answers wait")
        raw.send(window(1, 1 << 24))
        assert await raw.answer() == (1, "0")
        raw.send(frame(frames.PING, 0, 0, bytes(8)))
        await raw.next(frames.PING)
        assert siege.crowd.held < Limits().backlog + 2 * MIB
        raw.send(setting(4, 1 << 24))
        assert {await raw.answer() for _ in range(39)} == {(stream, "0") for stream in range(3, 81, 2)}


async def test_a_socket_that_nobody_reads(stocked: MemoryEngine) -> None:
    """All windows open, but nothing taken from the socket."""
    async with besieged(stocked, Limits(stalled=0.5)) as siege:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            host, _, port = siege.address.rpartition(":")
            deaf.connect((host, int(port)))
            asked = frame(frames.DATA, 1, 1, message(pb.RangeRequest(key=b"big")))
            deaf.send(PREFACE + setting(4, frames.LARGEST_WINDOW) + window(0, frames.LARGEST_WINDOW - 65535))
            for stream in range(1, 401, 2):
                deaf.send(opening(stream, headers(services.RANGE)) + asked[:5] + stream.to_bytes(4) + asked[9:])
            await auntil(lambda: len(siege.crowd) == 1, what="it is there")
            await siege.goes_on()
            await auntil(lambda: len(siege.crowd) == 0, what="it was let go")


async def test_answers_beyond_all_memory(stocked: MemoryEngine) -> None:
    """Connections that each wait with little are too many together."""
    async with besieged(stocked, Limits(memory=24 * MIB)) as siege, contextlib.AsyncExitStack() as stack:
        greedy: list[Raw] = []
        for _ in range(40):
            raw = await stack.enter_async_context(siege.client())
            raw.send(setting(4, 0))
            raw.call(1, pb.RangeRequest(key=b"big"), headers(services.RANGE))
            greedy.append(raw)
        await auntil(lambda: len(siege.crowd) < 40, what="some are let go")
        await siege.goes_on()
        assert siege.crowd.held <= 24 * MIB


async def test_a_window_that_shrinks_below_nothing(stocked: MemoryEngine) -> None:
    """RFC 9113, 6.9.2: what was sent stays sent, and nothing more goes until the window is above 0 again."""
    async with besieged(stocked) as siege, siege.client() as raw:
        raw.call(1, pb.RangeRequest(key=b"big"), headers(services.RANGE))
        taken = 0
        while taken < frames.DEFAULT_WINDOW:
            taken += len((await raw.next(frames.DATA))[3])
        raw.send(setting(4, 0), window(0, 1 << 24), window(1, 65_535), frame(frames.PING, 0, 0, bytes(8)))
        assert (await raw.next(frames.DATA, frames.PING))[0] == frames.PING
        raw.send(window(1, 7))
        assert len((await raw.next(frames.DATA))[3]) == 7
        raw.send(window(1, 1 << 24))
        assert await raw.answer() == (1, "0")
