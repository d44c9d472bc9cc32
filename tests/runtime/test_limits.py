"""Limits bite, and running out of memory is told apart."""

from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.model import Limits
from tests.runtime.tools import cgroups_of, run, shell, spec

pytestmark = pytest.mark.root
HOG = "x=0123456789abcdef; while :; do x=$x$x; done"


async def test_memory_runs_out(runtime: Runtime) -> None:
    ended, _ = await run(runtime, shell(HOG, limits=Limits(memory=16 << 20)))
    assert ended.oom
    assert (ended.code, ended.signal) == (137, 9)


async def test_a_killed_program_did_not_run_out_of_memory(runtime: Runtime) -> None:
    await runtime.create(spec("sleep", "1000", limits=Limits(memory=16 << 20)))
    await runtime.start("c")
    ended = await runtime.stop("c", timeout=0)
    assert (ended.signal, ended.oom) == (9, False)


async def test_memory_runs_out_in_a_host_process(runtime: Runtime) -> None:
    ended, _ = await run(runtime, shell(HOG, image=None, limits=Limits(memory=16 << 20)))
    assert ended.oom


async def test_processes_are_counted(runtime: Runtime) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null; echo made"
    _, lines = await run(runtime, shell(script, limits=Limits(pids=4)))
    assert lines == []
    await runtime.remove("c")
    _, lines = await run(runtime, shell(script, limits=Limits(pids=40)))
    assert lines == ["made"]


async def test_exec_counts_too(runtime: Runtime) -> None:
    await runtime.create(spec("sleep", "1000", limits=Limits(pids=3)))
    await runtime.start("c")
    result = await runtime.execute("c", ["sh", "-c", "sleep 0 & sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait"])
    assert b"fork" in result.stderr


async def test_every_limit_is_written_and_gone_at_the_end(runtime: Runtime, instance: str) -> None:
    limits = Limits(cpu=0.5, memory=32 << 20, pids=20)
    await runtime.create(spec("sleep", "1000", limits=limits))
    started = await runtime.start("c")
    mine = [path for path in cgroups_of(instance) if path.endswith("/c")]
    assert len(mine) >= 1
    read = {name: value for path in mine for name, value in _values(Path(path)).items()}
    assert str(started.pid) in read["cgroup.procs"].split()
    assert read["pids.max"].strip() == "20"
    assert read.get("cpu.cfs_quota_us", read.get("cpu.max", "")).split()[0] == "50000"
    assert read.get("memory.limit_in_bytes", read.get("memory.max", "")).strip() == str(32 << 20)
    await runtime.stop("c", timeout=0)
    assert [path for path in cgroups_of(instance) if path.endswith("/c")] == []


def _values(place: Path) -> dict[str, str]:
    names = ("cgroup.procs", "pids.max", "cpu.cfs_quota_us", "cpu.max", "memory.limit_in_bytes", "memory.max")
    return {name: (place / name).read_text() for name in names if (place / name).exists()}
