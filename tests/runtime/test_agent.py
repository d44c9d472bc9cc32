"""The life of a container: created, started, ended, removed."""

# ruff: noqa: ASYNC221

import asyncio
import os
import signal
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.errors import Conflict, Denied, Invalid, NotFound, NotRunnable, Unavailable
from hawser.runtime.images import Images
from hawser.runtime.model import Limits, Mount, State
from tests.runtime.tools import exists, run, shell, spec, state
from tests.wait import auntil, until

pytestmark = pytest.mark.root


async def test_created_running_exited_removed(runtime: Runtime, rundir: Path) -> None:
    made = await runtime.create(spec("sleep", "1000"))
    assert (made.state, made.pid, made.exit) == (State.CREATED, None, None)
    started = await runtime.start("c")
    assert started.state is State.RUNNING
    assert started.pid is not None
    assert exists(started.pid)
    assert started.started is not None
    assert started.started >= made.created
    await runtime.kill("c", signal.SIGKILL)
    ended = await runtime.wait("c")
    assert (ended.code, ended.signal, ended.oom) == (137, 9, False)
    assert runtime.get("c").state is State.EXITED
    await runtime.remove("c")
    assert runtime.containers() == ()
    assert os.listdir(rundir / "data" / "containers") == []
    assert await runtime.plan() == ()


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [("exit 0", 0, 0), ("exit 3", 3, 0), ("exit 255", 255, 0), ("trap 'exit 7' TERM; kill -TERM $$", 7, 0)],
)
async def test_exit_codes(runtime: Runtime, script: str, code: int, number: int) -> None:
    ended, _ = await run(runtime, shell(script))
    assert (ended.code, ended.signal) == (code, number)


async def test_a_program_killed_by_a_signal_has_128_more(runtime: Runtime) -> None:
    ended, _ = await run(runtime, shell("kill -SEGV $$", image=None))
    assert (ended.code, ended.signal) == (139, 11)


async def test_output_goes_to_the_log_by_stream(runtime: Runtime) -> None:
    await run(runtime, shell("echo out; echo err >&2; printf unfinished"))
    lines = sorted([(line.stream, line.text) async for line in runtime.logs("c")])
    assert lines == [("stderr", "err"), ("stdout", "out"), ("stdout", "unfinished")]


async def test_stop_lets_the_program_end_itself(runtime: Runtime) -> None:
    await runtime.create(shell("trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.01; done"))
    await runtime.start("c")
    async for line in runtime.logs("c", follow=True):
        if line.text == "up":
            break
    assert (await runtime.stop("c")).code == 4
    assert [line.text async for line in runtime.logs("c")] == ["up", "bye"]


async def test_stop_kills_what_does_not_end(runtime: Runtime) -> None:
    await runtime.create(shell("trap 'echo no' TERM; echo up; while :; do sleep 0.01; done"))
    await runtime.start("c")
    async for line in runtime.logs("c", follow=True):
        if line.text == "up":
            break
    ended = await runtime.stop("c", timeout=0.1)
    assert (ended.code, ended.signal) == (137, 9)
    assert "no" in [line.text async for line in runtime.logs("c")]


async def test_stop_does_not_wait_for_a_program_that_cannot_hear(runtime: Runtime) -> None:
    await runtime.create(spec("sleep", "1000"))
    await runtime.start("c")
    async with asyncio.timeout(3):
        assert (await runtime.stop("c", timeout=60)).signal == 9


async def test_a_container_starts_again_with_its_files(runtime: Runtime) -> None:
    ended, _ = await run(runtime, shell("test -e /tmp/mark && exit 5; touch /tmp/mark"))
    assert ended.code == 0
    await runtime.start("c")
    assert (await runtime.wait("c")).code == 5


async def test_wait_started_before_the_start_sees_the_end(runtime: Runtime) -> None:
    await runtime.create(spec("true"))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(runtime.wait("c"))
        await runtime.start("c")
    assert waiting.result().code == 0


async def test_a_restart_that_fails_keeps_the_end_there_was(runtime: Runtime, rundir: Path) -> None:
    ended, _ = await run(runtime, shell("exit 5"))
    started = runtime.get("c").started
    (rundir / "data/containers/c/upper/bin").mkdir()
    (rundir / "data/containers/c/upper/bin/sh").write_text("no program")
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(_refused(runtime, "c"))
        await asyncio.sleep(0)
        waiting = group.create_task(runtime.wait("c"))
    assert "cannot execute" in starting.result()
    assert waiting.result() == ended == await runtime.wait("c") == runtime.get("c").exit
    assert runtime.get("c").started == started
    assert (rundir / "data/containers/c/exit.json").exists()


async def test_a_wait_for_a_container_that_does_not_start_ends(runtime: Runtime) -> None:
    await runtime.create(spec("nope"))
    waiting = asyncio.get_running_loop().create_task(runtime.wait("c"))
    await asyncio.sleep(0)
    await _refused(runtime, "c")
    with pytest.raises(NotRunnable):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(NotRunnable):
        await runtime.wait("c")


async def _refused(runtime: Runtime, id: str) -> str:
    with pytest.raises(NotRunnable) as caught:
        await runtime.start(id)
    return str(caught.value)


async def test_every_change_is_told(rundir: Path, instance: str, images: Images) -> None:
    told: list[str] = []
    runtime = Runtime(rundir / "data", rundir / "run", instance, images, on_change=told.append)
    await runtime.open()
    try:
        await run(runtime, spec("true", id="a"))
        await auntil(lambda: told == ["a", "a"], what="a start and an end")
    finally:
        await runtime.teardown()


async def test_many_at_once(runtime: Runtime) -> None:
    async def one(index: int) -> int:
        ended, lines = await run(runtime, shell(f"echo {index}; exit {index}", id=f"c{index}"))
        assert lines == [str(index)]
        return ended.code

    assert await asyncio.gather(*(one(index) for index in range(12))) == list(range(12))


async def test_environment_user_directory_hostname(runtime: Runtime) -> None:
    wanted = shell(
        "id -u; id -G; echo $HOME $COLOUR; pwd; hostname",
        user="web",
        env={"COLOUR": "blue"},
        cwd="/tmp",
        hostname="box.example",
    )
    _, lines = await run(runtime, wanted)
    assert lines == ["1000", "1000 40", "/home blue", "/tmp", "box.example"]


async def test_resolver_hosts_and_mounts(runtime: Runtime, rundir: Path) -> None:
    (rundir / "shared").mkdir()
    (rundir / "shared" / "note").write_text("hello\n")
    (rundir / "shared").chmod(0o777)
    writable = Mount(source=str(rundir / "shared"), target="/data/deep")
    fixed = Mount(source=str(rundir / "shared"), target="/fixed", read_only=True)
    script = (
        "cat /etc/resolv.conf /etc/hosts /data/deep/note; touch /data/deep/new; touch /fixed/x 2>/dev/null || echo ro"
    )
    wanted = shell(script, dns="nameserver 10.0.0.1\n", hosts="10.0.0.2 db\n", mounts=(writable, fixed))
    _, lines = await run(runtime, wanted)
    assert lines == ["nameserver 10.0.0.1", "10.0.0.2 db", "hello", "ro"]
    assert sorted(os.listdir(rundir / "shared")) == ["new", "note"]


async def test_a_read_only_root(runtime: Runtime) -> None:
    ended, _ = await run(runtime, shell("touch /x || exit 9", read_only=True))
    assert ended.code == 9


async def test_the_image_is_never_written(runtime: Runtime, images: Images) -> None:
    await run(runtime, shell("echo changed > /etc/passwd; echo new > /etc/new"))
    layer = images.layer_path(images.get("box"))
    assert not (layer / "etc/new").exists()
    assert "web" in (layer / "etc/passwd").read_text()


async def test_conflicts_and_unknown_ids(runtime: Runtime) -> None:
    await runtime.create(spec("sleep", "1000"))
    with pytest.raises(Conflict, match="exists already"):
        await runtime.create(spec("true"))
    with pytest.raises(Conflict, match="not running"):
        await runtime.kill("c", 15)
    with pytest.raises(Conflict, match="not running"):
        await runtime.execute("c", ["true"])
    await runtime.start("c")
    with pytest.raises(Conflict, match="running"):
        await runtime.start("c")
    with pytest.raises(Conflict, match="stop it first"):
        await runtime.remove("c")
    with pytest.raises(Invalid, match="signal 999"):
        await runtime.kill("c", 999)
    for call in (runtime.start, runtime.stop, runtime.wait, runtime.remove):
        with pytest.raises(NotFound, match="nobody does not exist"):
            await call("nobody")
    await runtime.remove("c", force=True)


@pytest.mark.parametrize(
    ("wanted", "kind", "word"),
    [
        (spec("true", image="absent"), NotFound, "image absent does not exist"),
        (spec(), Invalid, "no command"),
        (spec("true", mounts=(Mount(source="/absent", target="/a"),)), Invalid, "mount source /absent"),
        (spec("true", limits=Limits(memory=1)), Invalid, "at least 4 MiB"),
    ],
)
async def test_bad_requests_make_nothing(
    runtime: Runtime, rundir: Path, wanted: object, kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word):
        await runtime.create(wanted)  # type: ignore[arg-type]
    assert os.listdir(rundir / "data" / "containers") == []


@pytest.mark.parametrize(
    ("wanted", "code", "word"),
    [
        (spec("nope"), 127, "command not found: nope"),
        (spec("/bin/nope"), 127, "command not found: /bin/nope"),
        (spec("/bin/notes"), 126, "/bin/notes"),
        (spec("/etc"), 126, "cannot execute /etc"),
        (spec("orphan"), 126, "the interpreter"),
        (spec("nope", image=None), 127, "command not found: nope"),
    ],
)
async def test_a_program_that_cannot_run_is_told_exactly(
    runtime: Runtime, wanted: object, code: int, word: str
) -> None:
    await runtime.create(wanted)  # type: ignore[arg-type]
    with pytest.raises(NotRunnable, match=word) as caught:
        await runtime.start("c")
    assert caught.value.exit_code == code
    assert runtime.get("c").state is State.CREATED
    assert await runtime.plan() == ()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"user": "nobody-here"}, "no user nobody-here"),
        ({"user": "0:nogroup-here"}, "no group nogroup-here"),
        ({"user": "70000"}, "not below 65536"),
        ({"cwd": "/absent"}, "working directory /absent"),
        ({"netns": "/absent"}, "network namespace: No such file"),
    ],
)
async def test_what_only_the_start_can_know(runtime: Runtime, fields: dict[str, str], word: str) -> None:
    await runtime.create(spec("true", **fields))
    with pytest.raises(Invalid, match=word):
        await runtime.start("c")
    assert runtime.get("c").state is State.CREATED
    assert await runtime.plan() == ()


async def test_without_root_it_says_so(rundir: Path, instance: str, images: Images) -> None:
    runtime = Runtime(rundir / "data", rundir / "run", instance, images)
    os.seteuid(65534)
    try:
        with pytest.raises(Denied, match="run the node as root"):
            await runtime.open()
    finally:
        os.seteuid(0)
    assert os.listdir(rundir) == []


async def test_a_full_disk_makes_nothing(rundir: Path, instance: str, images: Images) -> None:
    data = rundir / "data"
    data.mkdir()
    os.system(f"mount -t tmpfs -o size=128k tmpfs {data}")
    runtime = Runtime(data, rundir / "run", instance, images)
    try:
        await runtime.open()
        (data / "fill").write_bytes(b"x" * os.statvfs(data).f_bavail * os.statvfs(data).f_bsize)
        with pytest.raises(Unavailable, match="No space left"):
            await runtime.create(spec("true"))
        assert os.listdir(data / "containers") == []
        (data / "fill").unlink()
        assert (await run(runtime, spec("true")))[0].code == 0
    finally:
        await runtime.teardown()
        os.system(f"umount {data}")


async def test_the_end_is_recorded_on_a_full_disk(rundir: Path, instance: str, images: Images) -> None:
    data = rundir / "data"
    data.mkdir()
    os.system(f"mount -t tmpfs -o size=256k tmpfs {data}")
    runtime = Runtime(data, rundir / "run", instance, images)
    try:
        await runtime.open()
        await runtime.create(shell("trap 'exit 6' TERM; echo up; while :; do sleep 0.01; done"))
        await runtime.start("c")
        until(lambda: (data / "containers/c/log").stat().st_size > 0, what="the program's first line")
        until(lambda: (data / "containers/c/exit.new").exists(), what="room for the record")
        os.system(f"dd if=/dev/zero of={data}/fill bs=4k 2>/dev/null")
        assert (await runtime.stop("c")).code == 6
        assert state(data)["pid"] > 0
    finally:
        await runtime.teardown()
        os.system(f"umount {data}")


async def test_a_disk_full_before_the_start(rundir: Path, instance: str, images: Images) -> None:
    """The blocks of the records are there since the container was made: it runs, and survives the node."""
    data = rundir / "data"
    data.mkdir()
    os.system(f"mount -t tmpfs -o size=256k tmpfs {data}")
    runtime = Runtime(data, rundir / "run", instance, images)
    again = Runtime(data, rundir / "run", instance, images)
    try:
        await runtime.open()
        await runtime.create(spec("sleep", "1000"))
        await runtime.create(spec("true", id="late"))
        os.unlink(data / "containers/late/state.new")
        os.system(f"dd if=/dev/zero of={data}/fill bs=4k 2>/dev/null")
        started = await runtime.start("c")
        with pytest.raises(Unavailable, match="No space left"):
            await runtime.start("late")
        assert runtime.get("late").state is State.CREATED
        await runtime.close()
        await again.open()
        assert again.get("c") == started
        assert exists(started.pid or 0)
        assert (await again.stop("c")).signal == 9
        assert (data / "containers/c/exit.json").exists()
    finally:
        await again.teardown()
        os.system(f"umount {data}")
