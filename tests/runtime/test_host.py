"""Processes of the machine: no image, no namespaces, but a group that is killed as one."""

import os
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from tests.runtime.tools import cgroups_of, exists, run, shell, spec
from tests.wait import auntil

pytestmark = pytest.mark.root


async def test_it_runs_in_the_machines_namespaces(runtime: Runtime) -> None:
    script = "for n in mnt pid uts ipc net user; do readlink /proc/self/ns/$n; done"
    ended, lines = await run(runtime, shell(script, image=None))
    assert ended.code == 0
    assert lines == [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "uts", "ipc", "net", "user")]


async def test_what_it_starts_ends_with_it(runtime: Runtime, instance: str) -> None:
    ended, lines = await run(runtime, shell("(setsid sleep 1000 & echo $!) ; sleep 1000 & echo $!", image=None))
    assert ended.code == 0
    assert len(lines) == 2
    assert not any(exists(int(pid)) for pid in lines)
    assert [path for path in cgroups_of(instance) if path.endswith("/c")] == []


async def test_stop_signals_the_program(runtime: Runtime) -> None:
    await runtime.create(shell("sleep 1000", image=None))
    await runtime.start("c")
    ended = await runtime.stop("c")
    assert (ended.code, ended.signal) == (143, 15)


async def test_orphans_are_reaped(runtime: Runtime) -> None:
    await runtime.create(shell("(sleep 0.01 & echo $! >&2) ; exec sleep 1000", image=None))
    started = await runtime.start("c")
    async for line in runtime.logs("c", follow=True):
        orphan = int(line.text)
        break
    await auntil(lambda: not Path(f"/proc/{orphan}").exists(), what="the orphan's burial")
    assert exists(started.pid or 0)


async def test_user_directory_environment(runtime: Runtime) -> None:
    wanted = shell("id -u; id -g; pwd; echo $COLOUR", image=None, user="1234:4321", cwd="/usr", env={"COLOUR": "red"})
    _, lines = await run(runtime, wanted)
    assert lines == ["1234", "4321", "/usr", "red"]


async def test_it_has_no_descriptor_of_ours(runtime: Runtime) -> None:
    _, lines = await run(runtime, spec("sh", "-c", "ls /proc/$$/fd; true", image=None))
    assert set(lines) <= {"0", "1", "2"}
