"""Commands in a running container, to their end."""

# ruff: noqa: ASYNC230, ASYNC240

import asyncio
import fcntl
import os
import signal
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.drivers import cgroups
from hawser.runtime.drivers.capture import OUTPUT_MAX
from hawser.runtime.errors import Invalid, NotRunnable
from hawser.runtime.model import Mount
from tests.runtime.tools import BOX, exists, shell, spec, succeeds
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
        await auntil(lambda: len(cgroups.members(sleeper.cgroups("c")[0])) > 1, what="the command")
        await sleeper.stop("c", timeout=0)
    assert running.result().code == 137
    assert not exists(pid)


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


async def test_it_does_not_wait_for_what_stands_in_place_of_dev_null(runtime: Runtime) -> None:
    await runtime.create(shell("rm /dev/null; mkfifo /dev/null; echo up; sleep 1000"))
    await runtime.start("c")
    await succeeds(runtime, "test -p /dev/null")
    async with asyncio.timeout(5):
        result = await runtime.execute("c", ["sh", "-c", "cat; echo done"])
    assert result.stdout == b"done\n"


@pytest.mark.parametrize("gone", [False, True])
async def test_the_deadline_holds_before_the_program_begins(runtime: Runtime, rundir: Path, gone: bool) -> None:
    """A lease on the program (fcntl(2)) makes its execve(2) wait."""
    tool = rundir / "tool"
    tool.write_bytes(Path(BOX).read_bytes())
    tool.chmod(0o755)
    await runtime.create(spec("sleep", "1000", mounts=(Mount(source=str(tool), target="/tool"),)))
    await runtime.start("c")
    group = runtime.cgroups("c")[0]
    before = cgroups.members(group)
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with open(tool, "rb+") as lease:
        fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        running = asyncio.get_running_loop().create_task(runtime.execute("c", ["/tool"], timeout=None if gone else 0.3))
        if gone:
            await auntil(lambda: len(cgroups.members(group)) > 1, what="the command's process")
            running.cancel()
        else:
            result = await asyncio.wait_for(running, 5)
            assert (result.code, result.timed_out) == (124, True)
        await auntil(lambda: cgroups.members(group) == before, what="no process left")


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_no_time_at_all_is_late(sleeper: Runtime, timeout: float) -> None:
    async with asyncio.timeout(5):
        assert (await sleeper.execute("c", ["sleep", "555"], timeout=timeout)).timed_out


@pytest.mark.parametrize(
    ("argv", "env", "word"),
    [
        (["x" * 250_000], {}, "at most"),
        (["echo", "a\0b"], {}, "NUL"),
        (["echo", "\ud800"], {}, "no text"),
        (["echo"], {"A=B": "c"}, "variable's name"),
        (["echo"], {"A": "\0"}, "NUL"),
    ],
)
async def test_what_cannot_run_is_refused_like_a_containers_own(
    sleeper: Runtime, argv: list[str], env: dict[str, str], word: str
) -> None:
    before = sleeper.launcher
    with pytest.raises(Invalid, match=word) as caught:
        await sleeper.execute("c", argv, env=env)
    assert len(str(caught.value)) < 300
    assert sleeper.launcher == before
    assert (await sleeper.execute("c", ["true"])).code == 0


async def test_a_request_near_the_limit_arrives_whole(sleeper: Runtime) -> None:
    env = {f"V{number}": "x" * 1000 for number in range(126)}
    script = 'echo ${#V0} ${#V125}; env | grep -c ^V; echo "$0" | wc -c'
    result = await sleeper.execute("c", ["sh", "-c", script, "e" * 3000], env=env)
    assert result.stdout.split() == [b"1000", b"1000", b"126", b"3001"]


async def test_in_a_host_process_it_is_a_host_process(runtime: Runtime) -> None:
    await runtime.create(shell("sleep 1000", image=None))
    await runtime.start("c")
    result = await runtime.execute("c", ["readlink", "/proc/self/ns/mnt"])
    assert result.stdout.decode().strip() == os.readlink("/proc/self/ns/mnt")
