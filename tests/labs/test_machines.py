"""Hosts as machines: processes that live, hang and die, files of their own, disks that fill up."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.labs import Lab, Process, labs, remove, single
from hawser.labs.errors import Exists, Invalid, NotFound, Unavailable
from tests.wait import auntil, until

pytestmark = pytest.mark.root
ECHO = """
import os, socket, sys
server = socket.create_server(("", 80))
print("listening in", os.getcwd(), os.environ["WHO"], flush=True)
while True:
    peer, _ = server.accept()
    peer.sendall(peer.recv(99))
"""


@pytest.fixture
def lab(rundir: Path) -> Iterator[Lab]:
    with Lab(single(3), name="t", run=rundir) as made:
        yield made


def mounts(rundir: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(rundir) in line]


def state(process: Process) -> str:
    """R, S, T (stopped), Z, or X when there is none."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def server(lab: Lab, host: str = "h1", name: str = "echo") -> Process:
    process = lab.host(host).start([sys.executable, "-c", ECHO], name=name, env={"WHO": host})
    until(lambda: "listening" in process.output(), what="the server")
    return process


def ask(lab: Lab, host: str, timeout: float = 2.0) -> bytes:
    client = lab.host("h3").inside(lambda: socket.socket())
    with client:
        client.settimeout(timeout)
        client.connect((lab.host(host).ip, 80))
        client.sendall(b"hello")
        return client.recv(99)


def test_a_process_has_its_network_log_environment_and_directory(lab: Lab) -> None:
    process = server(lab)
    assert process.log == lab.host("h1").path / "echo.log"
    assert process.output() == f"listening in {lab.host('h1').path} h1\n"
    assert ask(lab, "h1") == b"hello"
    with pytest.raises(ConnectionRefusedError):
        ask(lab, "h2")
    assert process.running
    assert process.returncode is None


def test_terminate_kill_and_the_return_code(lab: Lab) -> None:
    one, two = lab.host("h1").start("sleep 1000"), lab.host("h1").start("sleep 1000")
    one.terminate()
    two.kill()
    assert (one.wait(), two.wait()) == (-signal.SIGTERM, -signal.SIGKILL)
    assert (one.running, one.returncode) == (False, -signal.SIGTERM)
    one.kill()
    done = lab.host("h2").start(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.wait(), done.output()) == (3, "out\nerr\n")


def test_what_a_process_has_started_dies_with_it(lab: Lab) -> None:
    process = lab.host("h1").start(["sh", "-c", "sleep 1000 & echo $!; wait"])
    until(lambda: process.output().endswith("\n"), what="the child")
    child = int(process.output())
    process.kill()
    process.wait()
    until(lambda: not os.path.exists(f"/proc/{child}/exe"), what="the child's end")


def test_stop_kills_what_does_not_listen(lab: Lab) -> None:
    deaf = lab.host("h1").start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"])
    until(lambda: "deaf" in deaf.output(), what="the trap")
    assert deaf.stop(0.05) == -signal.SIGKILL
    paused = lab.host("h1").start("sleep 1000")
    paused.pause()
    assert paused.stop() == -signal.SIGTERM


def test_a_paused_process_holds_its_connections_and_answers_when_resumed(lab: Lab) -> None:
    process = server(lab)
    process.pause()
    until(lambda: state(process) == "T", what="the pause")
    with pytest.raises(TimeoutError):
        ask(lab, "h1", timeout=0.1)
    assert process.running
    process.resume()
    assert ask(lab, "h1") == b"hello"


def test_waiting_too_long_says_for_what(lab: Lab) -> None:
    process = lab.host("h1").start(["sh", "-c", "echo busy; exec sleep 1000"], name="worker")
    until(lambda: "busy" in process.output(), what="the process")
    with pytest.raises(Unavailable, match=r"worker on h1, process \d+, running> has not ended after 0.05 s; .*busy"):
        process.wait(0.05)


def test_a_program_that_cannot_be_run_is_the_callers_error(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError):
        lab.host("h1").start("no-such-program")
    with pytest.raises(FileNotFoundError):
        lab.host("h1").start("true", cwd="/no/such/directory")


def test_a_log_goes_on_when_a_process_is_started_again(lab: Lab, rundir: Path) -> None:
    for word in ("one", "two"):
        lab.host("h1").start(["echo", word]).wait()
    assert (lab.host("h1").path / "echo.log").read_text() == "one\ntwo\n"
    log = rundir / "elsewhere"
    lab.host("h1").start(["echo", "three"], log=log, cwd="/").wait()
    assert log.read_text() == "three\n"
    log.unlink()


def test_a_crash_takes_everything_on_one_host_and_nothing_elsewhere(lab: Lab) -> None:
    mine, other = server(lab, "h1"), server(lab, "h2")
    loose = lab.host("h1").popen(["setsid", "sleep", "1000"])
    lab.host("h1").crash()
    assert mine.returncode == -signal.SIGKILL
    assert loose.wait(1) == -signal.SIGKILL
    assert other.running
    assert ask(lab, "h2") == b"hello"
    server(lab, "h1", name="again")
    assert ask(lab, "h1") == b"hello"


def test_a_small_disk_is_full_and_only_it(lab: Lab) -> None:
    host = lab.host("h1")
    disk = host.disk(size="1m")
    assert disk == host.path / "disk"
    done = host.run(["dd", "if=/dev/zero", f"of={disk}/big", "bs=64k", "count=32"])
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    with pytest.raises(OSError) as caught, open(disk / "more", "wb", buffering=0) as file:
        file.write(bytes(4096))
    assert caught.value.errno == errno.ENOSPC
    (host.path / "beside").write_bytes(bytes(1 << 21))
    (disk / "big").unlink()
    (disk / "more").write_bytes(bytes(4096))


def test_disks_are_taken_once_and_named_plainly(lab: Lab) -> None:
    lab.host("h1").disk("a", size=1 << 20)
    lab.host("h2").disk("a", size=1 << 20)
    with pytest.raises(Exists, match="exists"):
        lab.host("h1").disk("a", size=1 << 20)
    for name, size in (("../x", 1 << 20), ("", 1 << 20), ("b", 1), ("b", "much")):
        with pytest.raises(Invalid):
            lab.host("h1").disk(name, size=size)


def test_down_leaves_no_process_no_mount_and_no_file(rundir: Path) -> None:
    before = mounts(rundir)
    with Lab(single(3), name="t", run=rundir) as lab:
        lab.attach()
        processes = [server(lab, host) for host in ("h1", "h2")]
        processes[1].pause()
        disk = lab.host("h1").disk("nested", size="1m")
        (disk / "inner").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(disk / "inner")], check=True)
        (disk / "inner" / "file").touch()
        busy = lab.host("h1").start("sleep 1000", cwd=disk)
        gone = lab.host("h1").start("unshare --net sleep 1000")
        until(lambda: "sleep" in Path(f"/proc/{gone.pid}/cmdline").read_text().split("\0")[0], what="unshare")
        lab.partition(["h1"], ["h2", "h3"])
        lab.impair("h3", rate="1mbit")
        spaces = lab.home.inodes()
    assert [process.returncode for process in (*processes, busy, gone)] == [-signal.SIGKILL] * 4
    assert mounts(rundir) == before
    assert not list(rundir.rglob("*"))
    assert [name for _, name in socket.if_nameindex() if name == "here-eth0"] == []
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and space(pid) in spaces]
    with pytest.raises(NotFound, match="there is no lab t"):
        _ = lab.host("h1").path


def space(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0


CRASH = """
import os, signal, sys
from hawser.labs import Lab, single
lab = Lab(single(2), name="x", run=sys.argv[1])
lab.up()
lab.host("h1").start("sleep 1000", cwd=lab.host("h1").disk(size="1m"))
lab.cut("h1")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_test_leaves_is_removed_by_name(rundir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(rundir)], timeout=20)
    assert done.returncode == -signal.SIGKILL
    assert [entry.state for entry in labs(run=rundir)] == ["up"]
    remove("x", run=rundir)
    assert not mounts(rundir)
    assert not list(rundir.rglob("*"))


async def test_from_asyncio_nothing_blocks_but_wait(lab: Lab) -> None:
    process = lab.host("h1").start([sys.executable, "-c", ECHO], env={"WHO": "h1"}, name="echo")
    await auntil(lambda: "listening" in process.output())
    here = lab.attach()
    reader, writer = await asyncio.open_connection(lab.host("h1").ip, 80)
    assert writer.get_extra_info("sockname")[0] == here.ip
    writer.write(b"hi")
    assert await asyncio.wait_for(reader.read(9), 2) == b"hi"
    writer.close()
    process.kill()
    await auntil(lambda: not process.running)
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
