"""Checks against real servers on loopback: what passes, what fails, and that nothing raises or hangs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from hawser.mesh.drivers.checks import Checks
from hawser.mesh.health import Outcome
from hawser.mesh.model import Announcement

from .support import announcement, free_port, no_commands, web


async def check(spec: str, port: int, **more: object) -> Outcome:
    return await Checks(no_commands).run(announcement(check=spec, port=port, **more))


@contextlib.asynccontextmanager
async def saying(reply: bytes) -> AsyncIterator[int]:
    """A server that says `reply` to whoever connects, then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.9", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.9", 0))
        sock.listen(8)
        yield sock.getsockname()[1]


async def test_tcp_passes_where_somebody_listens() -> None:
    with silent() as port:
        assert await check("tcp", port) == Outcome(True, f"127.0.0.9:{port} accepts")


async def test_tcp_fails_where_nobody_listens() -> None:
    port = free_port("127.0.0.9")
    assert await check("tcp", port) == Outcome(False, f"127.0.0.9:{port}: connection refused")


async def test_one_address_that_passes_is_enough() -> None:
    with silent() as port:
        assert (await check("tcp", port, addresses=["::1", "127.0.0.9"])).ok


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (302, True), (404, False), (500, False)])
async def test_http_passes_on_200_to_399(status: int, ok: bool) -> None:
    async with web(status) as server:
        outcome = await check("http:/up?x=1", server.port)
        assert outcome == Outcome(ok, f"127.0.0.9:{server.port}/up?x=1 answers {status}")
        assert server.requests[0].split(b"\r\n")[:2] == [
            b"GET /up?x=1 HTTP/1.1",
            b"Host: 127.0.0.9:%d" % server.port,
        ]


@pytest.mark.parametrize("reply", [b"", b"220 smtp ready\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 abc\r\n", b"\xff" * 9000])
async def test_http_fails_where_something_else_speaks(reply: bytes) -> None:
    async with saying(reply) as port:
        outcome = await check("http:/", port)
        assert not outcome.ok
        assert "\n" not in outcome.reason


async def test_http_fails_in_time_where_nobody_answers() -> None:
    with silent() as port:
        outcome = await check("http:/", port, timeout=0.05)
        assert outcome == Outcome(False, f"127.0.0.9:{port} did not answer within 0.05 s")


async def test_exec_passes_on_exit_code_0() -> None:
    ran = list[tuple[str, tuple[str, ...]]]()

    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        ran.append((one.key, tuple(argv)))
        return 0 if argv[0] == "true" else 3

    checks = Checks(execute)
    assert await checks.run(announcement(check="exec:true 'a b'")) == Outcome(True, "true ended with 0")
    assert await checks.run(announcement(check="exec:false")) == Outcome(False, "false ended with 3")
    assert ran == [("acme/web/1", ("true", "a b")), ("acme/web/1", ("false",))]


async def test_exec_fails_when_the_command_cannot_run_or_does_not_end() -> None:
    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        if argv[0] == "hang":
            await asyncio.Event().wait()
        raise RuntimeError("no container\nof that name")

    checks = Checks(execute)
    assert await checks.run(announcement(check="exec:x")) == Outcome(False, "x did not run: no container of that name")
    late = await checks.run(announcement(check="exec:hang", timeout=0.02))
    assert late == Outcome(False, "hang did not end within 0.02 s")


async def test_a_command_that_does_not_end_is_cancelled_at_the_checks_own_timeout_and_gives_its_turn_back() -> None:
    ended, told = list[str](), list[float]()

    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        told.append(one.check.timeout)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # as one who kills the command and waits for it
            ended.append(argv[0])
        return 0

    checks = Checks(execute, limit=1)
    async with asyncio.timeout(2):
        for _ in range(2):
            assert not (await checks.run(announcement(check="exec:hang", timeout=0.02))).ok
    assert ended == ["hang", "hang"]
    assert told == [0.02, 0.02]


async def test_a_runner_that_gives_up_fails_the_check_and_not_the_checking() -> None:
    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        raise asyncio.CancelledError

    assert await Checks(execute).run(announcement(check="exec:x")) == Outcome(False, "x was broken off")


async def test_who_ends_the_checking_ends_the_command() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Checks(execute).run(announcement(check="exec:x", timeout=60)))
        await started.wait()
        task.cancel()
    assert task.cancelled()
    assert ended.is_set()


async def test_only_so_many_run_at_a_time() -> None:
    running, most = 0, 0

    async def execute(one: Announcement, argv: Sequence[str]) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        return 0

    checks = Checks(execute, limit=4)
    outcomes = await asyncio.gather(*(checks.run(announcement(check="exec:x")) for _ in range(20)))
    assert all(outcome.ok for outcome in outcomes)
    assert most == 4
