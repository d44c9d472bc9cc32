"""Commands in a running container, to their end."""

import asyncio
import os

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.drivers import cgroups
from hawser.runtime.drivers.capture import OUTPUT_MAX
from hawser.runtime.errors import Invalid, NotRunnable
from tests.runtime.tools import exists, shell, spec
from tests.wait import auntil

pytestmark = pytest.mark.root


@pytest.fixture
async def sleeper(runtime: Runtime) -> Runtime:
    await runtime.create(spec("sleep", "1000", env={"BASE": "1"}, hostname="inner"))
    await runtime.start("c")
    return runtime


async def test_output_and_code(sleeper: Runtime) -> None:
    result = await sleeper.execute("c", ["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert (result.code, result.stdout, result.stderr, result.timed_out) == (5, b"out\n", b"err\n", False)


async def test_a_signal_is_128_more(sleeper: Runtime) -> None:
    assert (await sleeper.execute("c", ["sh", "-c", "kill -9 $$"])).code == 137


async def test_it_is_in_every_namespace_of_the_container(sleeper: Runtime) -> None:
    each = "readlink /proc/1/ns/$n; readlink /proc/self/ns/$n"
    script = f"for n in mnt pid uts ipc net user cgroup; do {each}; done; hostname"
    lines = (await sleeper.execute("c", ["sh", "-c", script])).stdout.decode().split()
    assert lines[-1] == "inner"
    assert len(lines) == 15
    assert lines[0:14:2] == lines[1:14:2]


async def test_it_is_in_the_containers_cgroup(sleeper: Runtime) -> None:
    script = "grep pids /proc/self/cgroup; grep pids /proc/1/cgroup"
    lines = (await sleeper.execute("c", ["sh", "-c", script])).stdout.decode().split()
    assert lines[0] == lines[1]
    assert lines[0].endswith(":/")


async def test_environment_user_directory(sleeper: Runtime) -> None:
    script = "echo $BASE $MORE; id -u; pwd"
    result = await sleeper.execute("c", ["sh", "-c", script], env={"MORE": "2"}, user="web", cwd="/tmp")
    assert result.stdout == b"1 2\n1000\n/tmp\n"


async def test_another_user_may_open_its_output_again(sleeper: Runtime) -> None:
    result = await sleeper.execute("c", ["sh", "-c", "echo again > /dev/stdout"], user="web")
    assert (result.code, result.stdout) == (0, b"again\n")


async def test_too_late_is_killed_with_what_it_started(sleeper: Runtime) -> None:
    result = await sleeper.execute("c", ["sh", "-c", "echo begun; sleep 777 & sleep 777"], timeout=0.2)
    assert (result.code, result.timed_out, result.stdout) == (124, True, b"begun\n")
    listing = (await sleeper.execute("c", ["ps"])).stdout
    assert b"777" not in listing


async def test_a_caller_that_goes_away_takes_its_command_along(sleeper: Runtime) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sleeper.execute("c", ["sleep", "888"])
    async with asyncio.timeout(5):
        while b"888" in (await sleeper.execute("c", ["ps"])).stdout:
            continue


async def test_output_is_kept_to_a_mib(sleeper: Runtime) -> None:
    result = await sleeper.execute("c", ["dd", "if=/dev/zero", "bs=65536", "count=40"])
    assert (result.code, len(result.stdout)) == (0, OUTPUT_MAX)


async def test_what_it_leaves_running_does_not_hold_the_answer(sleeper: Runtime) -> None:
    async with asyncio.timeout(3):
        result = await sleeper.execute("c", ["sh", "-c", "sleep 999 & echo done"])
    assert result.stdout == b"done\n"


async def test_the_end_of_the_container_ends_it(sleeper: Runtime) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sleeper.execute("c", ["sh", "-c", "echo; sleep 1000"]))
        pid = sleeper.get("c").pid or 0
        await auntil(lambda: len(_children(sleeper)) > 1, what="the command")
        await sleeper.stop("c", timeout=0)
    assert running.result().code == 137
    assert not exists(pid)


def _children(runtime: Runtime) -> list[int]:
    return cgroups.members(runtime._forest.groups("c", runtime.get("c").spec.limits)[0][0])


@pytest.mark.parametrize(("argv", "code"), [(["nope"], 127), (["/bin/notes"], 126), (["/proc/self/fd/3"], None)])
async def test_a_command_that_cannot_run(sleeper: Runtime, argv: list[str], code: int | None) -> None:
    with pytest.raises(NotRunnable) as caught:
        await sleeper.execute("c", argv)
    assert code in (None, caught.value.exit_code)


async def test_bad_requests(sleeper: Runtime) -> None:
    with pytest.raises(Invalid, match="no command"):
        await sleeper.execute("c", [])
    with pytest.raises(Invalid, match="no user ghost"):
        await sleeper.execute("c", ["true"], user="ghost")
    with pytest.raises(Invalid, match="working directory /ghost"):
        await sleeper.execute("c", ["true"], cwd="/ghost")


async def test_in_a_host_process_it_is_a_host_process(runtime: Runtime) -> None:
    await runtime.create(shell("sleep 1000", image=None))
    await runtime.start("c")
    result = await runtime.execute("c", ["readlink", "/proc/self/ns/mnt"])
    assert result.stdout.decode().strip() == os.readlink("/proc/self/ns/mnt")
