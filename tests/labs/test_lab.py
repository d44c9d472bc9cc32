"""Labs in the kernel: they work, they see only themselves, and nothing of them stays."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.labs import Lab, labs, linear, remove, single, tree
from hawser.labs.drivers.rtnl import Batch, Rtnl
from hawser.labs.errors import Conflict, Exists, LabError, NotFound, Unavailable
from hawser.labs.model import Topology
from hawser.labs.render import FIRST_BRIDGE, Cable
from hawser.labs.report import Report
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from tests.wait import until

pytestmark = pytest.mark.root


@pytest.fixture
def lab(rundir: Path) -> Iterator[Lab]:
    made = Lab(linear(2, 2), name="t", run=rundir)
    made.up()
    yield made
    made.down()


def mounts(rundir: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(rundir) in line]


def nothing_left(rundir: Path) -> bool:
    return not mounts(rundir) and not list(rundir.rglob("*"))


def cut(lab: Lab, port: str) -> None:
    """Take a switch's port out."""
    fabric = lab.home.space("fabric")
    subprocess.run(["nsenter", f"--net={fabric}", "ip", "link", "set", port, "down"], check=True)


def test_every_host_reaches_every_other_at_the_first_ping(lab: Lab) -> None:
    report = lab.pingall()
    assert (report.sent, report.received) == (12, 12)
    assert lab.host("h1s1").run("ping -c1 -W1 10.0.0.4").returncode == 0


def test_a_host_sees_its_own_network_only(lab: Lab) -> None:
    names = [line.split()[0] for line in lab.host("h2s1").cmd("ip -br link").splitlines()]
    assert [name.partition("@")[0] for name in names] == ["lo", "h2s1-eth0"]
    assert str(lab.host("h2s1").address) in lab.host("h2s1").cmd("ip -br address")


def test_nothing_of_a_lab_is_in_the_callers_namespace(rundir: Path) -> None:
    before = socket.if_nameindex()
    with Lab(single(2), run=rundir):
        assert socket.if_nameindex() == before
    assert socket.if_nameindex() == before


def test_commands_have_output_and_exit_codes(lab: Lab) -> None:
    host = lab.host("h1s2")
    assert host.cmd("echo out; echo err >&2") == "out\nerr\n"
    assert host.run(["sh", "-c", "exit 9"]).returncode == 9
    with pytest.raises(subprocess.TimeoutExpired):
        host.run("sleep 60", timeout=0.05)
    with pytest.raises(FileNotFoundError):
        host.popen(["no-such-program"])
    with pytest.raises(NotFound, match="no host h9"):
        lab.host("h9")


def test_hosts_talk_over_tcp(lab: Lab) -> None:
    code = "import socket; s = socket.create_server(('', 80)); print(flush=True); s.accept()[0].sendall(b'hi')"
    server = lab.host("h1s1").popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    client = f"import socket; print(socket.create_connection(('{lab.host('h1s1').ip}', 80)).recv(9))"
    assert lab.host("h2s2").run([sys.executable, "-c", client]).stdout == "b'hi'\n"
    assert server.wait(5) == 0
    server.stdout.close()


def test_pingall_finds_a_cut_host(lab: Lab) -> None:
    cut(lab, "s1-eth1")
    report = lab.pingall(timeout=0.1)
    assert report.lost == {pair for pair in pairs(report) if "h1s1" in pair}


def test_pingall_finds_a_cut_trunk_in_a_large_lab(rundir: Path) -> None:
    with Lab(linear(2, 12), run=rundir) as large:
        assert large.pingall().loss == 0
        cut(large, "s2-eth13")
        report = large.pingall(timeout=0.2)
        assert report.lost == {(a, b) for a, b in pairs(report) if a[-2:] != b[-2:]}
        assert "PERMANENT" not in large.host("h1s1").cmd("ip neigh")


def test_pingall_counts_a_host_without_its_interface(lab: Lab) -> None:
    lab.host("h2s2").cmd("ip link delete h2s2-eth0")
    report = lab.pingall(timeout=0.1)
    assert report.lost == {pair for pair in pairs(report) if "h2s2" in pair}


def pairs(report: Report) -> set[tuple[str, str]]:
    return {(a, b) for a in report.hosts for b in report.hosts if a != b}


def test_ipv6_works_without_being_asked_for(lab: Lab) -> None:
    address = lab.host("h1s2").cmd("ip -6 -br address show h1s2-eth0").split()[2].partition("/")[0]
    assert address.startswith("fe80:")
    reach = lambda: lab.host("h1s1").run(f"ping -6 -c1 -W1 {address}%h1s1-eth0").returncode == 0  # noqa: E731
    until(reach, what="the link-local address")


@pytest.mark.parametrize("shape", [single(1), tree(2, 3), linear(1, 3)])
def test_down_leaves_nothing(shape: Topology, rundir: Path) -> None:
    lab = Lab(shape, name="x", run=rundir)
    lab.up()
    assert mounts(rundir)
    inodes = lab.home.inodes()
    assert len(inodes) == len(shape.hosts) + 1
    lab.down()
    assert nothing_left(rundir)
    lab.down()


def test_the_links_are_gone_when_down_returns(rundir: Path, instance: str) -> None:
    lab = Lab(tree(2, 2), name="x", run=rundir)
    lab.up()
    fabric = os.open(lab.home.space("fabric"), os.O_RDONLY)
    batch = Batch()
    here = os.open(netns.SELF, os.O_RDONLY)
    probe = Cable(name=f"w{instance}", index=5000, peer="probe", peer_index=5001, bridge=FIRST_BRIDGE)
    batch.cable(probe, fabric, here)
    with Rtnl() as rtnl:
        rtnl.do(batch)
    os.close(fabric)
    os.close(here)
    lab.down()
    assert f"w{instance}" not in {name for _, name in socket.if_nameindex()}


def test_what_is_left_is_said_and_by_whom(rundir: Path) -> None:
    lab = Lab(tree(2, 2), name="x", run=rundir)
    lab.up()
    fabric = os.open(lab.home.space("fabric"), os.O_RDONLY)
    with pytest.raises(Unavailable, match=rf"lab x: link h.-eth0 and .*after 0.1 s; process {os.getpid()} holds"):
        lab.down(timeout=0.1)
    os.close(fabric)
    assert nothing_left(rundir)


def test_down_ends_processes_whoever_started_them(rundir: Path) -> None:
    lab = Lab(single(2), name="x", run=rundir)
    lab.up()
    own = lab.host("h1").popen(["sh", "-c", "trap '' TERM; sleep 1000 & wait"])
    foreign = subprocess.Popen(["nsenter", f"--net={lab.home.space('h2')}", "sleep", "1000"])
    bystander = subprocess.Popen(["sleep", "1000"])
    until(lambda: "sleep" in Path(f"/proc/{foreign.pid}/cmdline").read_text().split("\0")[0], what="nsenter")
    lab.down()
    assert own.wait(5) == foreign.wait(5) == -signal.SIGKILL
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert nothing_left(rundir)


def test_a_name_is_taken_once(lab: Lab, rundir: Path) -> None:
    with pytest.raises(Exists, match="lab t exists"):
        Lab(single(2), name="t", run=rundir).up()
    assert lab.pingall().loss == 0


def test_two_labs_do_not_meet(lab: Lab, rundir: Path) -> None:
    with Lab(single(2), name="u", run=rundir) as other:
        assert other.pingall().loss == lab.pingall().loss == 0
        assert [entry.name for entry in labs(run=rundir)] == ["t", "u"]
    assert lab.pingall().loss == 0


def test_another_process_finds_the_lab(lab: Lab, rundir: Path) -> None:
    again = Lab.find("t", run=rundir)
    assert again.topology == lab.topology
    assert again.pingall().loss == 0
    with pytest.raises(NotFound):
        Lab.find("nobody", run=rundir)


def test_a_lab_being_worked_on_is_left_alone(lab: Lab, rundir: Path) -> None:
    descriptor = lab.home.lock()
    with pytest.raises(Conflict, match="by another process"):
        remove("t", run=rundir)
    os.close(descriptor)


def test_a_failed_up_leaves_nothing(rundir: Path) -> None:
    lab = Lab(single(2), name="x", run=rundir)
    wrong = Topology(hosts=lab.topology.hosts, switches=("s1",), links=lab.topology.links * 2)
    with pytest.raises(LabError, match="create link h1-eth0 - s1-eth1: File exists"):
        Lab(wrong, name="x", run=rundir).up()
    assert nothing_left(rundir)


CRASH = """
import sys, os, signal
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.labs import Lab, tree
import hawser.labs.drivers.home as home
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if event in ("os.mkdir", "open", "os.rename", "ctypes.dlsym", "socket.bind"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
lab = Lab(tree(2, 2), name="x", run=sys.argv[1])
sys.addaudithook(count)
lab.up()
"""


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 29, 35, 50])
def test_after_kill_at_any_moment_of_up_a_lab_is_seen_and_removed(after: int, rundir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(rundir), str(after)], timeout=20)
    assert done.returncode in (-signal.SIGKILL, 0)
    found = labs(run=rundir)
    if done.returncode == 0:
        assert [entry.state for entry in found] == ["up"]
    for entry in found:
        assert done.returncode == 0 or entry.state == "partial"
        remove(entry.name, run=rundir)
    (rundir / "labs").rmdir() if (rundir / "labs").exists() else None
    assert nothing_left(rundir)


def test_what_a_restart_of_the_machine_leaves_is_partial_and_removed(lab: Lab, rundir: Path) -> None:
    subprocess.run(["umount", "--lazy", str(lab.home.spaces)], check=True)
    assert [entry.state for entry in labs(run=rundir)] == ["partial"]
    with pytest.raises(Conflict, match="lab t is not up"):
        Lab.find("t", run=rundir)
    remove("t", run=rundir)
    assert nothing_left(rundir)


def test_a_lab_is_not_removed_from_inside(lab: Lab, rundir: Path) -> None:
    code = "import sys; from hawser.labs import remove; remove('t', run=sys.argv[1])"
    done = lab.host("h1s1").run([sys.executable, "-c", code, str(rundir)])
    assert "runs inside the lab" in done.stderr
    assert lab.pingall().loss == 0


def test_foreign_things_are_untouched(rundir: Path, instance: str) -> None:
    foreign = rundir / "foreign"
    netns.create(foreign)
    sleeper = subprocess.Popen(["nsenter", f"--net={foreign}", "sleep", "1000"])
    batch = Batch()
    batch.bridge(f"h1-eth0{instance[:4]}", 0, "06:00:00:00:00:01")
    with Rtnl() as rtnl:
        rtnl.do(batch)
    before = socket.if_nameindex()
    with Lab(single(2), run=rundir):
        pass
    assert socket.if_nameindex() == before
    assert sleeper.poll() is None
    assert netns.alive(foreign)
    sleeper.kill()
    sleeper.wait()
    netns.remove(foreign)
    with Netlink() as kernel:
        kernel.do([netlink.delete_link(f"h1-eth0{instance[:4]}")])


def test_the_first_frame_of_a_new_lab_arrives(rundir: Path) -> None:
    for _ in range(10):
        with Lab(single(2), run=rundir) as lab:
            assert lab.pingall(timeout=0.5).loss == 0


async def test_async_with(rundir: Path) -> None:
    async with Lab(single(2), run=rundir) as lab:
        assert lab.pingall().loss == 0
    assert nothing_left(rundir)
