"""Containers outlive the node; whatever is killed, and when, nothing leaks."""

# ruff: noqa: ASYNC220, ASYNC240

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.drivers.forest import Forest
from hawser.runtime.errors import Conflict, RuntimeFault, Unavailable
from hawser.runtime.images import Images
from hawser.runtime.model import Limits, State
from tests.runtime.tools import cgroups_of, exists, run, shell, spec, state
from tests.wait import auntil, until

pytestmark = pytest.mark.root
Maker = Callable[[], Runtime]


@pytest.fixture
async def node(rundir: Path, instance: str, images: Images) -> AsyncIterator[Maker]:
    """Runtimes on the same directories; afterwards everything of the instance is removed."""
    made: list[Runtime] = []

    def make() -> Runtime:
        made.append(Runtime(rundir / "data", rundir / "run", instance, images))
        return made[-1]

    yield make
    for runtime in made:
        await runtime.close()
    last = make()
    await last.open()
    await last.teardown()
    assert cgroups_of(instance) == []


async def test_a_running_container_is_adopted(node: Maker) -> None:
    first = node()
    await first.open()
    await first.create(shell("trap 'exit 6' TERM; echo up; while :; do sleep 0.01; done"))
    before = await first.start("c")
    await first.close()
    assert before.pid is not None
    assert exists(before.pid)
    second = node()
    await second.open()
    after = second.get("c")
    assert (after.state, after.pid, after.started) == (State.RUNNING, before.pid, before.started)
    assert (await second.execute("c", ["echo", "hi"])).stdout == b"hi\n"
    await auntil(lambda: _handles(after.pid, 15), what="the trap")
    assert (await second.stop("c")).code == 6
    assert await second.plan() == ()


def _handles(pid: int | None, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> number - 1 & 1)


async def test_an_end_that_nobody_saw_is_learnt(node: Maker, rundir: Path) -> None:
    first = node()
    await first.open()
    await first.create(spec("sleep", "1000"))
    await first.create(spec("true", id="never"))
    before = await first.start("c")
    await first.close()
    os.kill(before.pid or 0, signal.SIGKILL)
    until(lambda: (rundir / "data/containers/c/exit.json").exists(), what="the record of the end")
    second = node()
    await second.open()
    assert (await second.wait("c")).signal == 9
    assert second.get("c").started == before.started
    assert second.get("never").state is State.CREATED
    await second.remove("c")


async def test_limits_and_spec_are_the_same_after_a_restart(node: Maker) -> None:
    first = node()
    await first.open()
    wanted = spec("true", limits=Limits(cpu=0.5, memory=8 << 20, pids=5), env={"A": "b"}, labels={"k": "v"})
    made = await first.create(wanted)
    await first.close()
    second = node()
    await second.open()
    assert second.get("c") == made


@pytest.mark.parametrize("moment", ["created", "started"])
def test_the_node_killed(rundir: Path, instance: str, images: Images, moment: str) -> None:
    command = [sys.executable, "-m", "tests.runtime.node"]
    where = [str(rundir / "data"), str(rundir / "run"), instance, str(images.root), "c"]
    with subprocess.Popen([*command, *where], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != moment:
            continue
        child.kill()

    async def look() -> None:
        runtime = Runtime(rundir / "data", rundir / "run", instance, images)
        await runtime.open()
        try:
            info = runtime.get("c")
            assert info.state in ((State.RUNNING,) if moment == "started" else (State.CREATED, State.RUNNING))
            assert await runtime.plan() == ()
            if info.state is State.CREATED:
                info = await runtime.start("c")
            assert exists(info.pid or 0)
            assert (await runtime.stop("c", timeout=0)).signal == 9
        finally:
            await runtime.teardown()
        assert not exists(info.pid or 0)

    asyncio.run(look())
    assert cgroups_of(instance) == []


async def test_the_zygote_killed(node: Maker) -> None:
    runtime = node()
    await runtime.open()
    await runtime.create(spec("sleep", "1000"))
    started = await runtime.start("c")
    zygote = runtime.launcher or 0
    os.kill(zygote, signal.SIGKILL)
    until(lambda: not exists(zygote), what="the zygote's end")
    assert exists(started.pid or 0)
    ended, _ = await run(runtime, shell("exit 3", id="d"))
    assert ended.code == 3
    assert runtime.launcher not in (None, zygote)
    assert (await runtime.stop("c", timeout=0)).signal == 9


async def test_the_agent_replaces_a_dead_zygote(node: Maker) -> None:
    runtime = node()
    await runtime.open()
    zygote = runtime.launcher or 0
    async with asyncio.TaskGroup() as group:
        running = group.create_task(runtime.run())
        os.kill(zygote, signal.SIGKILL)
        await auntil(lambda: runtime.launcher not in (None, zygote), what="a new zygote")
        running.cancel()


@pytest.mark.parametrize("image", ["box", None])
async def test_a_shim_killed_takes_its_program_along(
    node: Maker, rundir: Path, instance: str, image: str | None
) -> None:
    runtime = node()
    await runtime.open()
    await runtime.create(shell("sleep 1000 & echo up; wait", image=image))
    started = await runtime.start("c")
    os.kill(state(rundir / "data")["shim"], signal.SIGKILL)
    ended = await runtime.wait("c")
    assert (ended.code, ended.signal) == (137, 9)
    assert not exists(started.pid or 0)
    assert [path for path in cgroups_of(instance) if path.endswith("/c")] == []
    assert await runtime.plan() == ()
    await runtime.start("c")
    assert runtime.get("c").state is State.RUNNING


@pytest.mark.parametrize("image", ["box", None])
async def test_node_and_shim_killed(node: Maker, rundir: Path, instance: str, image: str | None) -> None:
    first = node()
    await first.open()
    await first.create(shell("sleep 1000 & echo up; wait", image=image))
    started = await first.start("c")
    await first.close()
    os.kill(state(rundir / "data")["shim"], signal.SIGKILL)
    second = node()
    await second.open()
    assert second.get("c").state is State.EXITED
    assert (await second.wait("c")).signal == 9
    assert not exists(started.pid or 0)
    assert [path for path in cgroups_of(instance) if path.endswith("/c")] == []


async def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(node: Maker, rundir: Path) -> None:
    first = node()
    await first.open()
    await run(first, spec("true"))
    await first.close()
    place = rundir / "data/containers/c"
    (place / "exit.json").unlink()
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        text = (place / "state.json").read_text()
        (place / "state.json").write_text(
            text.replace(f'"pid":{state(rundir / "data")["pid"]}', f'"pid":{stranger.pid}')
        )
        second = node()
        await second.open()
        assert second.get("c").state is State.EXITED
        assert stranger.poll() is None
        stranger.kill()


async def test_leftovers_are_planned_and_removed(node: Maker, rundir: Path, instance: str) -> None:
    first = node()
    await first.open()
    await first.close()
    group = Path(Forest(instance).branches()[0], "ghost")
    group.mkdir()
    (rundir / "data/containers/.new-half/upper").mkdir(parents=True)
    (rundir / "data/containers/.old-half").mkdir()
    with subprocess.Popen(["sleep", "1000"]) as orphan:
        (group / "cgroup.procs").write_text(str(orphan.pid))
        keys = [step.key for step in await first.plan()]
        assert keys == ["cgroup/ghost", "directory/.new-half", "directory/.old-half"]
        second = node()
        await second.open()
        assert orphan.wait(5) == -9
    assert await second.plan() == ()
    assert os.listdir(rundir / "data/containers") == []
    assert not group.exists()


async def test_what_is_not_ours_stays(node: Maker, instance: str) -> None:
    runtime = node()
    other = Path(Forest(f"{instance}x").branches()[0], "c")
    other.mkdir(parents=True)
    try:
        await runtime.open()
        assert other.exists()
    finally:
        other.rmdir()
        other.parent.rmdir()


async def test_two_nodes_on_one_directory(node: Maker) -> None:
    first, second = node(), node()
    await first.open()
    with pytest.raises(Conflict, match="belongs to another running node"):
        await second.open()


async def test_a_caller_that_goes_away_leaves_a_known_container(node: Maker) -> None:
    runtime = node()
    await runtime.open()
    await runtime.create(spec("sleep", "1000"))
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(runtime.start("c"))
        await asyncio.sleep(0)
        with pytest.raises(Conflict, match="starting already"):
            await runtime.start("c")
        starting.cancel()
    await auntil(lambda: runtime.get("c").state is State.RUNNING, what="the container")
    assert (await runtime.stop("c", timeout=0)).signal == 9


@pytest.mark.parametrize("victim", ["node", "zygote", "shim", "zygote and shim"])
async def test_killed_at_any_moment_of_a_start(node: Maker, victim: str) -> None:
    for moment in range(10):
        runtime = node()
        await runtime.open()
        name = f"c{moment}"
        zygote = runtime.launcher or 0
        shims = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        await runtime.create(shell("sleep 1000 & sleep 1000", id=name))
        starting = asyncio.get_running_loop().create_task(runtime.start(name))
        await asyncio.wait({starting}, timeout=moment * 0.0007)
        for pid in [zygote] * ("zygote" in victim) + [int(pid) for pid in shims] * ("shim" in victim):
            os.kill(pid, signal.SIGKILL)
        if victim == "node":
            starting.cancel()
        with contextlib.suppress(RuntimeFault, asyncio.CancelledError):
            await starting
        await runtime.close()
        again = node()
        await again.open()
        info = again.get(name)
        assert await again.plan() == (), moment
        assert info.state is not State.RUNNING or exists(info.pid or 0), moment
        if info.state is not State.RUNNING:
            await again.start(name)
        assert (await again.stop(name, timeout=0)).signal == 9
        await again.close()


@pytest.mark.parametrize("name", ["spec.json", "state.json"])
@pytest.mark.parametrize("damage", ["unreadable", "another version's"])
async def test_a_container_that_cannot_be_read_goes_on(
    node: Maker, rundir: Path, instance: str, name: str, damage: str
) -> None:
    first = node()
    await first.open()
    await first.create(spec("sleep", "1000"))
    started = await first.start("c")
    await first.close()
    record = rundir / "data/containers/c" / name
    kept = record.read_bytes()
    record.unlink()
    if damage == "unreadable":
        record.mkdir()
    else:
        record.write_text('{"version":2}')
    second = node()
    await second.open()
    assert name in second.troubles()["c"]
    assert second.containers() == ()
    assert await second.plan() == ()
    assert exists(started.pid or 0)
    with pytest.raises(Unavailable, match="cannot be read"):
        await second.start("c")
    with pytest.raises(Conflict, match="cannot be read"):
        await second.create(spec("true"))
    await second.close()
    if damage == "unreadable":
        record.rmdir()
    record.write_bytes(kept)
    third = node()
    await third.open()
    assert (third.troubles(), third.get("c").pid) == ({}, started.pid)


async def test_a_container_that_cannot_be_read_is_removed_by_force(node: Maker, rundir: Path, instance: str) -> None:
    first = node()
    await first.open()
    await first.create(spec("sleep", "1000"))
    started = await first.start("c")
    await first.close()
    (rundir / "data/containers/c/spec.json").write_text("")
    (rundir / "data/containers/stranger").write_text("a file")
    second = node()
    await second.open()
    assert sorted(second.troubles()) == ["c", "stranger"]
    with pytest.raises(Unavailable):
        await second.remove("c")
    await second.remove("c", force=True)
    assert list(second.troubles()) == ["stranger"]
    assert not exists(started.pid or 0)
    assert [path for path in cgroups_of(instance) if path.endswith("/c")] == []
    (rundir / "data/containers/stranger").unlink()


async def test_records_torn_by_a_loss_of_power_are_an_end(node: Maker, rundir: Path) -> None:
    first = node()
    await first.open()
    await run(first, spec("true"))
    await first.close()
    for name in ("state.json", "exit.json"):
        (rundir / "data/containers/c" / name).write_text("")
    second = node()
    await second.open()
    assert (second.get("c").state, (await second.wait("c")).signal) == (State.EXITED, 9)
    await second.start("c")
    assert (await second.wait("c")).code == 0


async def test_a_wait_is_told_that_the_node_lets_go(node: Maker) -> None:
    runtime = node()
    await runtime.open()
    await runtime.create(spec("sleep", "1000"))
    await runtime.start("c")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_fault_of(runtime.wait("c")))
        await asyncio.sleep(0)
        await runtime.close()
    assert "lets go" in waiting.result()


async def _fault_of(awaitable: Awaitable[object]) -> str:
    with pytest.raises(RuntimeFault) as caught:
        await awaitable
    return str(caught.value)


async def test_zygote_and_shims_are_none_of_the_nodes_processes(node: Maker, rundir: Path, instance: str) -> None:
    """A service manager finds nothing of them in the service's own group (version 2, where there is one)."""
    if not Path("/sys/fs/cgroup/unified/cgroup.procs").exists() and not Path("/sys/fs/cgroup/cgroup.procs").exists():
        pytest.skip("no version-2 tree")
    first = node()
    await first.open()
    await first.create(spec("sleep", "1000"))
    await first.start("c")
    home = f"0::/hawser/{instance}/.shims"
    shim = state(rundir / "data")["shim"]
    for pid in (first.launcher, shim):
        assert home in Path(f"/proc/{pid}/cgroup").read_text()
    await first.close()
    second = node()
    await second.open()
    assert home in Path(f"/proc/{shim}/cgroup").read_text()
    assert home in Path(f"/proc/{second.launcher}/cgroup").read_text()
    assert await second.plan() == ()
