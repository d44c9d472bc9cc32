"""Anything that can have an interface, attached from the command line: programs, namespaces, processes."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hawser.demo import probes
from hawser.faults import Fault
from hawser.netd.drivers import netns
from tests.hawser.conftest import HAWSER, NodeProcess
from tests.wait import until

pytestmark = pytest.mark.root

SLEEP = ("/bin/sleep", "1000000")
READY = "echo ready; exec sleep 1000000"


@pytest.fixture
def blue(clean: NodeProcess) -> Iterator[NodeProcess]:
    """The node with tenant blue's network web, nothing on it."""
    made = clean.hawser("net", "create", "-t", "blue", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "web")
    assert made.code == 0, made.err
    yield clean
    if not (clean.process and clean.process.poll() is None):
        clean.start()
    for one in attached(clean):
        with suppress(Fault):  # it has just ended by itself
            clean.client.delete(f"/v1/attachments/{one['sandbox']}/{one['ifname']}")


def attached(node: NodeProcess) -> list[Any]:
    found: list[Any] = node.client.get("/v1/attachments", owner="attach")
    return found


def kept(node: NodeProcess) -> list[str]:
    """The namespaces that the node keeps."""
    directory = node.directory / "run" / "netns"
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


@contextmanager
def program(node: NodeProcess, script: str, *options: str) -> "Iterator[subprocess.Popen[str]]":
    """`hawser net attach --exec` of a shell script that says when it is ready."""
    command = [HAWSER, "net", "attach", "-t", "blue", "-n", "web", *options, "--exec", "--", "sh", "-c", script]
    environment = os.environ | {"HAWSER_SOCKET": str(node.socket)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def namespace(path: Path) -> Iterator[Path]:
    netns.create_here(path, netns.lo_up)
    try:
        yield path
    finally:
        netns.remove(path)


def run(node: NodeProcess, script: str, *options: str) -> Any:
    return node.hawser("net", "attach", "-t", "blue", "-n", "web", *options, "--exec", "--", "sh", "-c", script)


def gone(node: NodeProcess) -> bool:
    return attached(node) == [] and kept(node) == []


def test_a_program_is_on_the_network_and_ends_as_it_ends(blue: NodeProcess) -> None:
    outcome = run(
        blue, "ip -br -4 addr show eth0; cat /etc/resolv.conf; ip route; echo err >&2; exit 3", "--ip", "10.7.0.9"
    )
    assert outcome.code == 3
    assert outcome.err == "err\n"
    assert "10.7.0.9/24" in outcome.out
    assert "default via 10.7.0.1 dev eth0" in outcome.out
    assert "nameserver 10.7.0.1\nnameserver fd07::1\nsearch blue.mesh.internal\n" in outcome.out
    assert "nameserver 10.7.0.1" not in Path("/etc/resolv.conf").read_text(), "the host keeps its own"
    until(lambda: gone(blue), timeout=5, what="nothing left of it")
    assert blue.client.get("/v1/plan") == []


def test_a_program_that_cannot_be_run_attaches_nothing(blue: NodeProcess) -> None:
    arguments = ("net", "attach", "-t", "blue", "-n", "web", "--exec", "--")
    missing = blue.hawser(*arguments, "no-such-program")
    assert (missing.code, len(missing.err.splitlines())) == (127, 1)
    assert blue.hawser(*arguments, "/etc/passwd").code == 126
    assert attached(blue) == []


def test_a_program_speaks_with_containers_both_ways(blue: NodeProcess) -> None:
    httpd = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")
    blue.hawser("run", "-d", "-t", "blue", "--net", "web", "--name", "page", "busybox", *httpd)
    fetched = run(blue, "busybox wget -q -O - http://page/")
    assert (fetched.code, fetched.out) == (0, "ahoy\n")
    with program(blue, "echo ready; exec busybox httpd -f -p 80 -h /etc", "--name", "files"):
        fetch = ("exec", "page", "/bin/wget", "-q", "-O", "-", "http://files/hostname")
        until(lambda: blue.hawser(*fetch).code == 0, what="the program, by its name")


def test_signals_are_the_program_s_own(blue: NodeProcess) -> None:
    with program(blue, "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 5
    until(lambda: gone(blue), timeout=5, what="nothing left of it")


def test_a_program_that_is_killed_is_detached(blue: NodeProcess) -> None:
    with program(blue, READY, "--name", "p") as process:
        assert [one["sandbox"] for one in attached(blue)] == ["p"]
        process.kill()
        process.wait()
        until(lambda: gone(blue), timeout=5, what="nothing left of it")


def test_an_address_is_free_as_soon_as_its_program_has_ended(blue: NodeProcess) -> None:
    for _ in range(5):
        assert run(blue, "true", "--ip", "10.7.0.9", "--name", "p").code == 0


def test_what_a_program_leaves_running_stays_attached(blue: NodeProcess) -> None:
    pids = blue.directory / "pid"
    outcome = run(blue, f"setsid sleep 1000000 >/dev/null 2>&1 & echo $! > {pids}")
    assert outcome.code == 0
    left = int(pids.read_text())
    assert len(attached(blue)) == 1
    os.kill(left, signal.SIGKILL)
    until(lambda: gone(blue), timeout=5, what="nothing left of it")


def test_many_programs_come_and_go_at_once(blue: NodeProcess) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(program(blue, READY, "--name", f"p{number}")) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            passing = list(pool.map(lambda number: run(blue, f"exit {number}"), range(8)))
        assert [outcome.code for outcome in passing] == list(range(8))
        for process in running:
            process.kill()
    until(lambda: gone(blue), timeout=10, what="nothing left of them")
    assert blue.client.get("/v1/plan") == []


def test_without_a_node_a_program_does_not_run(blue: NodeProcess) -> None:
    blue.kill()
    refused = run(blue, "echo ran")
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (5, "", 1)


def test_an_attachment_outlives_the_node(blue: NodeProcess) -> None:
    with program(blue, READY, "--name", "p") as process:
        before = attached(blue)
        blue.kill()
        blue.start()
        assert attached(blue) == before
        assert probes.reaches(Path(f"/proc/{process.pid}/ns/net"), "10.7.0.1", 53)
        assert blue.client.get("/v1/plan") == []
        process.kill()
        process.wait()
        until(lambda: gone(blue), timeout=5, what="nothing left of it")


def test_a_program_that_ends_while_no_node_runs_is_collected(blue: NodeProcess) -> None:
    with program(blue, READY) as process:
        blue.kill()
        process.kill()
        process.wait()
        blue.start()
        until(lambda: gone(blue), timeout=5, what="nothing left of it")
    assert blue.client.get("/v1/plan") == []


def test_a_namespace_has_interfaces_until_they_are_detached(blue: NodeProcess, rundir: Path) -> None:
    assert blue.hawser("net", "create", "-t", "blue", "db").code == 0
    with namespace(rundir / "ns") as path:
        first = blue.hawser("net", "attach", "-t", "blue", "-n", "web", "--netns", str(path), "--name", "box")
        assert first.code == 0, first.err
        assert first.out.split()[:2] == ["box", "eth0"]
        second = blue.hawser("net", "attach", "-t", "blue", "-n", "db", "--netns", str(path))
        assert second.out.split()[:2] == ["box", "eth1"]
        rows = json.loads(blue.hawser("net", "attachments", "--json").out)
        assert [(row["sandbox"], row["ifname"], row["source"]) for row in rows] == [
            ("box", "eth0", str(path)),
            ("box", "eth1", str(path)),
        ]
        assert blue.hawser("net", "detach", "box", "eth0").code == 0
        assert [one["ifname"] for one in attached(blue)] == ["eth1"]
        assert blue.hawser("net", "detach", "box").code == 0
        assert gone(blue)
        assert blue.hawser("net", "detach", "box").code == 2


def test_a_namespace_that_is_removed_is_let_go(blue: NodeProcess, rundir: Path) -> None:
    with namespace(rundir / "ns") as path:
        assert blue.hawser("net", "attach", "-t", "blue", "-n", "web", "--netns", str(path)).code == 0
    until(lambda: gone(blue), timeout=40, what="nothing left of it")


def test_a_process_is_attached_with_all_that_is_asked_for(blue: NodeProcess) -> None:
    blue.hawser("net", "port", "create", "-t", "blue", "--network", "web", "--ip", "10.7.0.50", "kept")
    with subprocess.Popen(["unshare", "--net", "sh", "-c", READY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wanted = ("--pid", str(process.pid), "--mac", "02:00:00:00:00:77", "--ifname", "lan0", "-l", "app=x")
        made = blue.hawser("net", "attach", "-t", "blue", "-n", "web", *wanted, "-p", "8077:80", "--ingress", "10mbit")
        assert made.code == 0, made.err
        assert made.out.split()[1::3] == ["lan0", "02:00:00:00:00:77"]
        again = blue.hawser("net", "attach", "-t", "blue", "--reserved", "kept", "--pid", str(process.pid))
        assert again.code == 0, again.err
        assert "10.7.0.50/24" in again.out
        rows = {one["ifname"]: one for one in attached(blue)}
        assert rows.keys() == {"eth0", "lan0"}
        lan = rows["lan0"]
        assert (lan["labels"], lan["publish"]) == ({"app": "x"}, ["8077:80/tcp"])
        process.kill()
    until(lambda: gone(blue), timeout=5, what="nothing left of it")
    assert blue.hawser("net", "port", "rm", "-t", "blue", "kept").code == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("-n", "web", "--pid", "self"), 2),
        (("-n", "web", "--netns", "/proc/self/ns/net"), 2),
        (("-n", "web", "--netns", "/etc/passwd"), 2),
        (("-n", "web", "--netns", "relative"), 2),
        (("-n", "nosuch", "--netns", "{ns}"), 3),
        (("-n", "web", "--netns", "{ns}", "--pid", "1"), 2),
        (("--netns", "{ns}"), 2),
        (("-n", "web", "--netns", "{ns}", "--ifname", "lo"), 2),
        (("-n", "web", "--netns", "{ns}", "--ip", "10.9.0.1"), 2),
        (("-n", "web", "--netns", "{ns}", "--name", "Not A Name"), 2),
        (("-n", "web", "--netns", "{ns}", "--ingress", "fast"), 2),
        (("-n", "web", "--netns", "{ns}", "--label", "hawser.x=1"), 2),
        (("-n", "web", "--netns", "{container}"), 4),
        (("-n", "web", "--netns", "{tenant}"), 4),
        (("-n", "web", "--pid", "4194304"), 3),
        (("-n", "web", "--exec"), 2),
        (("c",), 2),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    blue: NodeProcess, rundir: Path, options: tuple[str, ...], code: int
) -> None:
    if any("{" in option for option in options):
        blue.hawser("run", "-d", "-t", "blue", "--net", "web", "--name", "c", "busybox", *SLEEP)
    with namespace(rundir / "ns") as path:
        run_ = blue.directory / "run"
        container = next(iter(kept(blue)), "")
        places = {"ns": path, "container": run_ / "netns" / container, "tenant": run_ / "tenants" / "blue"}
        outcome = blue.hawser("net", "attach", "-t", "blue", *(option.format_map(places) for option in options))
        assert (outcome.code, len(outcome.err.splitlines())) == (code, 1), outcome
    assert attached(blue) == []
    assert blue.client.get("/v1/plan") == []
