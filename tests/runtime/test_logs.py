"""What a program wrote can be read back: while it runs, afterwards, in part, and never without bound."""

import asyncio
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.drivers import logfile
from hawser.runtime.drivers.shim import LOG_MAX, stamp
from hawser.runtime.logformat import encode
from tests.runtime.tools import run, shell

pytestmark = pytest.mark.root


async def test_tail(runtime: Runtime) -> None:
    await run(runtime, shell("for i in 1 2 3 4 5; do echo $i; done"))
    assert [line.text async for line in runtime.logs("c", tail=2)] == ["4", "5"]
    assert [line.text async for line in runtime.logs("c", tail=0)] == []
    assert [line.text async for line in runtime.logs("c", tail=99)] == ["1", "2", "3", "4", "5"]


async def test_follow_gives_lines_as_they_come_and_ends_with_the_program(runtime: Runtime) -> None:
    await runtime.create(shell("echo first; while [ ! -e /tmp/go ]; do :; done; echo last"))
    await runtime.start("c")
    seen = []
    async with asyncio.timeout(5):
        async for line in runtime.logs("c", follow=True):
            seen.append(line.text)
            if line.text == "first":
                await runtime.execute("c", ["touch", "/tmp/go"])
    assert seen == ["first", "last"]


async def test_times_are_rfc_3339_in_order(runtime: Runtime) -> None:
    await run(runtime, shell("echo a; echo b"))
    times = [line.time async for line in runtime.logs("c")]
    assert times == sorted(times)
    assert all(len(time) == len("2026-01-01T00:00:00.123456789Z") and time.endswith("Z") for time in times)


async def test_binary_and_long_lines(runtime: Runtime) -> None:
    await run(runtime, shell("printf 'a\\377b\\n'; dd if=/dev/zero bs=1000 count=100 2>/dev/null; echo; echo end"))
    lines = [line.text async for line in runtime.logs("c")]
    assert lines == ["a\\xffb", "\0" * 100_000, "end"]


async def test_the_log_is_bounded(runtime: Runtime, rundir: Path) -> None:
    await run(runtime, shell("dd if=/dev/zero bs=1000000 count=24 2>/dev/null; echo; echo end"))
    place = rundir / "data/containers/c"
    assert (place / "log").stat().st_size <= LOG_MAX
    assert (place / "log.1").stat().st_size <= LOG_MAX
    assert [line.text async for line in runtime.logs("c", tail=1)] == ["end"]


async def test_follow_goes_over_a_rotation(rundir: Path) -> None:
    log = rundir / "log"
    log.write_bytes(encode(stamp(), "stdout", b"one", full=True))
    seen: list[str] = []
    async for line in logfile.lines(rundir, follow=True, tail=None, ended=lambda: len(seen) > 1, interval=0.001):
        seen.append(line.text)
        if line.text == "one":
            log.rename(rundir / "log.1")
            log.write_bytes(encode(stamp(), "stdout", b"two", full=True))
    assert seen == ["one", "two"]


async def test_a_torn_end_is_left_out(rundir: Path) -> None:
    (rundir / "log").write_bytes(encode(stamp(), "stdout", b"one", full=True) + b"2026-01-01T0")
    lines = [line.text async for line in logfile.lines(rundir, follow=False, tail=None, ended=lambda: True)]
    assert lines == ["one"]


async def test_a_container_that_never_ran_has_no_log(runtime: Runtime) -> None:
    await runtime.create(shell("true"))
    assert [line async for line in runtime.logs("c")] == []


async def test_reading_a_long_log_leaves_the_loop_to_others(rundir: Path) -> None:
    record = encode(stamp(), "stdout", b"x" * 20, full=True)
    (rundir / "log").write_bytes(record * (4_000_000 // len(record)))
    for tail in (1, None):
        turns = 0
        reading = asyncio.get_running_loop().create_task(_count(rundir, tail))
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert reading.result() == (tail or 4_000_000 // len(record))
        assert turns > 10


async def _count(place: Path, tail: int | None) -> int:
    return len([line async for line in logfile.lines(place, follow=False, tail=tail, ended=lambda: True)])
