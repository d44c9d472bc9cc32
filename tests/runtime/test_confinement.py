"""What a container's root can not do, as first process and through `exec`."""

# ruff: noqa: ASYNC240

import io
import os
import subprocess
from pathlib import Path

import pytest

from hawser.runtime.agent import Runtime
from hawser.runtime.errors import Invalid
from hawser.runtime.images import Images
from hawser.runtime.model import Mount
from tests.runtime.tools import Tar, run, shell, spec, succeeds

pytestmark = pytest.mark.root

# What is refused, and beside it the same applet at something that is allowed: the tool works, so the refusal is one.
ATTEMPTS = {
    "write a sysctl": ("echo 1 > /proc/sys/kernel/panic", "echo 1 > /tmp/panic"),
    "set the core pattern": ("echo /x > /proc/sys/kernel/core_pattern", "cat /proc/sys/kernel/core_pattern"),
    "press a magic key": ("echo h > /proc/sysrq-trigger", "echo h > /dev/null"),
    "change an irq": ("echo 1 > /proc/irq/default_smp_affinity", "cat /proc/irq/default_smp_affinity"),
    "write to sysfs": ("echo 1 > /sys/kernel/mm/ksm/run", "cat /sys/kernel/mm/ksm/run"),
    "read the kernel's keys": ("grep . /proc/keys", "grep . /proc/self/status"),
    "read timers": ("grep . /proc/timer_list", "grep . /proc/uptime"),
    "see the firmware": ("ls /sys/firmware | grep .", "ls /sys/kernel | grep ."),
    "make a device": ("mknod /tmp/disk b 254 0", "mknod /tmp/fifo p"),
    "make a device in /dev": ("mknod /dev/disk b 254 0", "mknod /dev/fifo p"),
    "mount": ("mount -t tmpfs none /tmp", "mount | grep ' / '"),
    "remount proc writable": ("mount -o remount,rw /proc/sys", "mount | grep ' /proc/sys '"),
    "unmount a mask": ("umount /proc/timer_list", "mount | grep ' /proc/timer_list '"),
    "mount a cgroup tree": (
        "mkdir -p /tmp/cg && mount -t cgroup -o memory cgroup /tmp/cg",
        "mkdir -p /tmp/cg && ls /tmp/cg",
    ),
    "name the machine": ("hostname evil", "hostname"),
    "see the host's tree": ("ls /proc/1/root/usr", "ls /proc/1/root/bin"),
    "signal a host process": ("kill -0 {host}", "kill -0 $$"),
    "be root of a user namespace": ("unshare -Ur true", "true"),
    "make a user namespace": ("unshare -U true", "true"),
    "make a mount namespace": ("unshare -m true", "true"),
    "allow user namespaces again": (
        "echo 9 > /proc/sys/user/max_user_namespaces",
        "grep -x 0 /proc/sys/user/max_user_namespaces",
    ),
}


def attempt_of(name: str) -> str:
    """Exit code 7: it was refused, and the control succeeded."""
    bad, good = ATTEMPTS[name]
    bad = bad.format(host=os.getpid())
    return f"({good}) >/dev/null 2>&1 || exit 41; ({bad}) >/dev/null 2>&1 && exit 42; exit 7"


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_refused_to_the_first_process(runtime: Runtime, attempt: str) -> None:
    ended, _ = await run(runtime, shell(attempt_of(attempt)))
    assert ended.code == 7


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_refused_to_exec(runtime: Runtime, attempt: str) -> None:
    await runtime.create(spec("sleep", "1000"))
    await runtime.start("c")
    assert (await runtime.execute("c", ["sh", "-c", attempt_of(attempt)])).code == 7


@pytest.mark.parametrize("attempt", ["be root of a user namespace", "make a mount namespace"])
def test_the_attempts_tools_work_on_the_host(attempt: str) -> None:
    assert subprocess.run(["busybox", "sh", "-c", ATTEMPTS[attempt][0]]).returncode == 0


FACTS = "grep -E '^(Cap|NoNewPrivs|Uid)' /proc/self/status; for n in /proc/self/fd/*; do readlink $n; done; id -u"


async def test_exec_has_exactly_the_rights_of_the_first_process(runtime: Runtime) -> None:
    await runtime.create(shell(f"({FACTS}) > /tmp/facts; touch /tmp/done; sleep 1000"))
    await runtime.start("c")
    await succeeds(runtime, "test -e /tmp/done")
    facts = (await runtime.execute("c", ["cat", "/tmp/facts"])).stdout.decode()
    status = [line for line in facts.splitlines() if "\t" in line]
    result = await runtime.execute("c", ["sh", "-c", FACTS])
    assert [line for line in result.stdout.decode().splitlines() if "\t" in line] == status
    assert "CapEff:\t00000000a80425fb" in status
    assert "CapBnd:\t00000000a80425fb" in status
    assert "CapInh:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


async def test_another_user_has_no_capability_at_all(runtime: Runtime) -> None:
    _, lines = await run(runtime, shell("grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status", user="web"))
    assert [line.split("\t")[1] for line in lines] == ["0" * 16] * 3


async def test_nothing_of_the_hosts_descriptors_is_inside(runtime: Runtime) -> None:
    _, lines = await run(runtime, shell("ls /proc/1/fd; readlink /proc/1/fd/0"))
    assert lines[-1] == "/dev/null"
    assert set(lines[:-1]) <= {"0", "1", "2"}


async def test_exec_sees_no_host_descriptor_while_it_enters(runtime: Runtime) -> None:
    await runtime.create(spec("sleep", "1000"))
    await runtime.start("c")
    result = await runtime.execute("c", ["sh", "-c", "ls /proc/$$/fd; true"])
    assert set(result.stdout.decode().split()) <= {"0", "1", "2", "10"}


async def test_a_working_directory_through_a_descriptor_is_refused(runtime: Runtime) -> None:
    for number in range(3, 24):
        await runtime.create(shell("pwd; ls ..", id=f"c{number}", cwd=f"/proc/self/fd/{number}"))
        with pytest.raises(Invalid, match="working directory"):
            await runtime.start(f"c{number}")


async def test_the_hosts_tree_is_gone(runtime: Runtime) -> None:
    _, lines = await run(runtime, shell("cat /proc/self/mounts; ls /"))
    assert not any(line.startswith("/dev/vda") for line in lines)
    assert {"bin", "dev", "etc", "home", "proc", "sys", "tmp"} == {line for line in lines if " " not in line}


async def test_root_inside_is_nobody_outside(runtime: Runtime, rundir: Path) -> None:
    await runtime.create(spec("sleep", "1000"))
    started = await runtime.start("c")
    status = Path(f"/proc/{started.pid}/status").read_text()
    assert "Uid:\t100000\t100000\t100000\t100000" in status
    secret = rundir / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    await runtime.create(shell("cat /secret", id="d", mounts=(Mount(source=str(secret), target="/secret"),)))
    await runtime.start("d")
    assert (await runtime.wait("d")).code != 0


async def test_the_programs_binary_is_the_images(runtime: Runtime) -> None:
    _, lines = await run(runtime, shell("readlink /proc/1/exe"))
    assert lines == ["/bin/busybox"]


async def test_the_hosts_python_cannot_be_written_through_exec(runtime: Runtime) -> None:
    """CVE-2019-5736: a program that is the launcher itself, by way of /proc/self/exe."""
    await runtime.create(shell("printf '#!/proc/self/exe\\n' > /tmp/trap; chmod 755 /tmp/trap; sleep 1000"))
    await runtime.start("c")
    before = os.stat(os.path.realpath("/proc/self/exe"))
    await succeeds(runtime, "test -x /tmp/trap")
    probe = ["sh", "-c", "for p in /proc/[0-9]*; do echo x > $p/exe; done 2>/dev/null; exit 0"]
    with pytest.raises(Exception, match=r"cannot execute|not found"):
        await runtime.execute("c", ["/tmp/trap"])
    await runtime.execute("c", probe)
    after = os.stat(os.path.realpath("/proc/self/exe"))
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
async def test_an_image_with_a_link_in_place_of_a_mount_is_refused(
    runtime: Runtime, images: Images, box: bytes, name: str
) -> None:
    tar = Tar()
    tar.folder("bin")
    tar.file("bin/true", Path("/bin/busybox").read_bytes(), mode=0o755)
    tar.link(name, "/tmp")
    images.import_tar(io.BytesIO(tar.bytes()), f"link-{name}")
    await runtime.create(spec("true", image=f"link-{name}"))
    with pytest.raises(Invalid, match="a link or a file stands where a directory is needed"):
        await runtime.start("c")
    await runtime.remove("c")
    images.remove(f"link-{name}")


async def test_a_mount_through_a_link_of_the_image_is_refused(runtime: Runtime, rundir: Path) -> None:
    await runtime.create(shell("ln -s /etc /tmp/way"))
    await runtime.start("c")
    await runtime.wait("c")
    (rundir / "v").mkdir()
    os.symlink("/etc", rundir / "v" / "out")
    inner = Mount(source=str(rundir / "v"), target="/v/out/hawser-made")
    await runtime.create(spec("true", id="d", mounts=(Mount(source=str(rundir / "v"), target="/v"), inner)))
    with pytest.raises(Invalid, match="a link or a file"):
        await runtime.start("d")
    assert not os.path.exists("/etc/hawser-made")


async def test_a_passwd_that_blocks_does_not_hold_the_start(runtime: Runtime, images: Images) -> None:
    tar = Tar()
    tar.folder("bin")
    tar.file("bin/true", Path("/bin/busybox").read_bytes(), mode=0o755)
    tar.add("etc/passwd", b"6")
    images.import_tar(tar.stream(), "fifo")
    ended, _ = await run(runtime, spec("true", image="fifo"))
    assert ended.code == 0
    await runtime.remove("c")
    images.remove("fifo")


async def test_ports_below_1024_are_open_to_the_container(runtime: Runtime) -> None:
    ended, lines = await run(runtime, shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net"))
    assert (ended.code, lines) == (0, ["0", "lo"])
