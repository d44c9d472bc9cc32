"""Callers that mean no good, or know no better: each gets one clear answer, and the node goes on as before."""

import io
import json
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from hawser.faults import Fault
from tests.hawser.conftest import HAWSER, NodeProcess, busybox
from tests.wait import until

pytestmark = pytest.mark.root
SLEEP = ["/bin/sleep", "1000000"]


def raw(node: NodeProcess, method: str, path: str, body: bytes = b"", head: str = "") -> socket.socket:
    """A request sent by hand."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(node.socket))
    text = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    sock.sendall(text.encode() + body)
    return sock


def answer(node: NodeProcess, method: str, path: str, body: bytes = b"", head: str = "") -> tuple[int, str]:
    """Status and message."""
    with raw(node, method, path, body, head) as sock:
        text = b"".join(iter(lambda: sock.recv(65536), b""))
    document = json.loads(text.partition(b"\r\n\r\n")[2])
    return int(text.split()[1]), document.get("error", {}).get("message", "")


def open_files(node: NodeProcess) -> int:
    assert node.process is not None
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


@pytest.fixture
def sleeper(clean: NodeProcess) -> NodeProcess:
    """The node with a running container `c`."""
    clean.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP, "name": "c"})
    return clean


@pytest.mark.parametrize(
    ("method", "path", "body", "word"),
    [
        ("POST", "/v1/containers", b"garbage", "JSON"),
        ("POST", "/v1/containers", b"\xff\xfe", "JSON"),
        ("POST", "/v1/containers", b'{"image": "busybox", "argv": ["/bin/true"], "colour": 1}', "colour"),
        ("POST", "/v1/containers", b'{"image": "busybox", "argv": "/bin/true"}', "argv"),
        ("POST", "/v1/networks", b'{"a":' * 100_000, "nested"),
        ("POST", "/v1/services", b"[" * 100_000, "array"),
        ("PATCH", "/v1/status", b"", "PATCH"),
        ("GET", "/v1/containers/x/logs?tail=x", b"", "tail"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(
    method: str, path: str, body: bytes, word: str, node: NodeProcess
) -> None:
    status, message = answer(node, method, path, body)
    assert (status, len(message.splitlines())) == (400, 1), message
    assert word in message


def test_a_body_that_is_not_what_its_head_says_is_refused(node: NodeProcess) -> None:
    status, message = answer(node, "POST", "/v1/networks", b"abc", "Content-Encoding: gzip\r\n")
    assert status == 400
    assert "read" in message


@pytest.mark.parametrize(
    "wanted",
    [
        {"labels": {"hawser.unit": "x"}},
        {"labels": {"hawser.step": "x"}},
        {"memory": "1" * 400},
        {"memory": "\uff14M"},
        {"hostname": "a\nb"},
        {"hostname": ".."},
        {"hostname": "a\0"},
        {"cpus": 1e300},
        {"pids": 10**15},
        {"user": "-1"},
        {"workdir": "x"},
        {"argv": ["/bin/true"] * 100_000},
        {"volume": ["/tmp:/a/../../b"]},
        {"addresses": ["10.64.0.9", "10.64.0.10"]},
    ],
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(wanted: dict[str, object], clean: NodeProcess) -> None:
    body = {"image": "busybox", "argv": SLEEP} | wanted
    with pytest.raises(Fault) as failure:
        clean.client.post("/v1/containers", body)
    assert failure.value.kind == "usage", failure.value
    assert len(str(failure.value)) < 1000
    assert clean.client.get("/v1/containers", all=1) == []
    assert clean.client.get("/v1/plan") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/containers/c/logs?follow=1", b""),
        ("GET", "/v1/services/watch", b""),
        ("POST", "/v1/containers/c/wait", b""),
        ("POST", "/v1/containers/c/exec", json.dumps({"argv": ["/bin/sleep", "7777777"]}).encode()),
    ],
)
def test_a_caller_that_goes_away_takes_what_it_waited_for_along(
    method: str, path: str, body: bytes, sleeper: NodeProcess
) -> None:
    before = open_files(sleeper)
    sockets = [raw(sleeper, method, path, body) for _ in range(5)]
    until(lambda: open_files(sleeper) >= before + 5, what="five requests under way")
    for sock in sockets:
        sock.close()
    until(lambda: open_files(sleeper) <= before, what="their end")
    until(lambda: not processes("7777777"), what="no command")
    assert sleeper.client.get("/v1/containers/c")["state"] == "running"


def processes(word: str) -> list[int]:
    """Processes with a word in their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(path.parent.name))
    return found


def test_a_change_whose_caller_goes_away_is_brought_to_its_end(clean: NodeProcess) -> None:
    body = json.dumps({"image": "busybox", "argv": SLEEP, "name": "c", "publish": ["7301:80"]}).encode()
    with raw(clean, "POST", "/v1/containers", body):
        until(lambda: clean.client.get("/v1/networks"), what="its beginning")
    until(lambda: [c["name"] for c in clean.client.get("/v1/containers")] == ["c"], what="its end")
    assert clean.client.get("/v1/plan") == []


def test_half_an_image_is_no_image(clean: NodeProcess) -> None:
    before = open_files(clean)
    head = "POST /v1/images?name=half HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n"
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(clean.socket))
    sock.sendall(head.encode() + b"a" * 0x10000 + b"\r\n")
    until(lambda: open_files(clean) >= before + 2, what="the spool")
    sock.close()
    until(lambda: open_files(clean) <= before, what="no spool")
    assert [image["name"] for image in clean.client.get("/v1/images")] == ["busybox"]
    assert "ERROR hawser" not in clean.log()


def test_a_container_goes_with_directories_deeper_than_any_recursion(clean: NodeProcess) -> None:
    deep = "i=0; while [ $i -lt 1500 ]; do mkdir d; cd d; i=$((i+1)); done; echo done; exec sleep 1000000"
    clean.client.post("/v1/containers", {"image": "busybox", "argv": ["/bin/sh", "-c", deep], "name": "c"})
    until(lambda: "done" in clean.hawser("logs", "c").out, timeout=20, what="the directories")
    clean.client.delete("/v1/containers/c", force=1)
    assert list((clean.data / "containers").iterdir()) == []


def command(node: NodeProcess, line: str) -> tuple[int, str]:
    """The exit code and the errors of a command line as a shell runs it."""
    environment = os.environ | {"HAWSER_SOCKET": str(node.socket), "PYTHONUNBUFFERED": ""}
    text = f"{HAWSER} {line}"
    answer = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=20)
    return answer.returncode, answer.stderr


@pytest.mark.parametrize("line", ["ps", "ps --json", "net ls", "kv get --prefix /"])
def test_output_that_cannot_be_written_is_one_line_and_a_reader_that_went_is_none(
    line: str, sleeper: NodeProcess
) -> None:
    sleeper.put_key("/x")
    code, errors = command(sleeper, f"{line} > /dev/full")
    assert (code, len(errors.splitlines())) == (1, 1), errors
    assert "No space left" in errors
    assert command(sleeper, f"{line} > >(exec true)")[1] == ""


@pytest.mark.parametrize(
    "said", [b"", b"garbage\n", b"HTTP/1.0 abc\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n{", b"HTTP/1.0 500 X\r\n\r\n[]"]
)
@pytest.mark.parametrize("line", ["ps", "net ls", "logs c"])
def test_what_is_no_node_is_told_from_one(said: bytes, line: str, rundir: Path) -> None:
    node = NodeProcess(rundir)
    node.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(node.socket))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        code, errors = command(node, line)
        thread.join()
    assert (code in (1, 5), len(errors.splitlines())) == (True, 1), errors
    assert "unexpected" not in errors


def test_a_listing_that_follows_says_when_the_node_went_away(rundir: Path) -> None:
    node = NodeProcess(rundir)
    node.start()
    environment = os.environ | {"HAWSER_SOCKET": str(node.socket)}
    watch = subprocess.Popen([HAWSER, "svc", "watch"], env=environment, stdout=-1, stderr=-1, text=True)
    node.hawser("svc", "announce", "--address", "127.0.0.1", "web", "80")
    assert watch.stdout is not None
    assert watch.stdout.readline()
    node.kill()
    _, errors = watch.communicate(timeout=20)
    assert (watch.returncode, len(errors.splitlines())) == (5, 1), errors
    node.leave()


def test_output_of_exec_that_is_cut_is_said_to_be(sleeper: NodeProcess) -> None:
    outcome = sleeper.hawser("exec", "c", "/bin/sh", "-c", "yes | head -c 2000000")
    assert (outcome.code, len(outcome.out), len(outcome.err.splitlines())) == (0, 1 << 20, 1)
    assert sleeper.hawser("exec", "c", "/bin/sh", "-c", "yes | head -c 1048576").err == ""


def test_a_node_may_have_more_files_than_the_usual_limit(node: NodeProcess) -> None:
    assert node.process is not None
    limits = Path(f"/proc/{node.process.pid}/limits").read_text()
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert soft == hard or int(soft) >= 1 << 16


def test_a_socket_whose_path_is_too_long_is_one_line(rundir: Path) -> None:
    command = [HAWSER, "node", "up", "--data", str(rundir / "data"), "--run", str(rundir / ("r" * 100))]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
    assert "107 bytes" in answer.stderr
    assert not (rundir / "data").exists()


def test_what_is_no_socket_is_not_taken_for_one(rundir: Path) -> None:
    (rundir / "file").write_text("precious")
    command = [HAWSER, "--socket", str(rundir / "file"), "node", "up", "--data", str(rundir), "--run", str(rundir)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (4, 1), answer.stderr
    assert (rundir / "file").read_text() == "precious"


def test_a_socket_where_another_node_answers_is_not_taken_over(node: NodeProcess, rundir: Path) -> None:
    directories = ["--data", str(rundir / "data"), "--run", str(rundir / "run")]
    command = [HAWSER, "--socket", str(node.socket), "node", "up", *directories]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (4, 1), answer.stderr
    assert node.client.get("/v1/status")["machine"]


def test_units_destroyed_at_any_moment_leave_nothing(clean: NodeProcess) -> None:
    text = "[Service]\nExecStartPre=/bin/sleep 7777778\nExecStart=/bin/sleep 7777778\nTimeoutStopSec=1\n"
    for number in range(20):
        inside = "[X-Container]\nImage=busybox\n" if number % 2 else ""
        clean.client.put(f"/v1/units/u{number}.service", {"text": text + inside})
        clean.client.post(f"/v1/units/u{number}.service/start")
        if number % 4 < 2:
            until(lambda: clean.client.get("/v1/containers"), what="a command")
        clean.client.post(f"/v1/units/u{number}.service/destroy")
    kinds = ("/v1/units", "/v1/containers?all=1", "/v1/plan")
    until(lambda: not any(clean.client.get(kind) for kind in kinds), timeout=20, what="an end of everything")
    assert list((clean.data / "containers").iterdir()) == []
    until(lambda: not processes("7777778"), what="no process")


def test_a_node_without_descriptors_says_so_and_goes_on(rundir: Path) -> None:
    node = NodeProcess(rundir)
    limited = f"ulimit -n 56; exec {' '.join(node.command())}"
    with (rundir / "log").open("ab") as log:
        node.process = subprocess.Popen(["bash", "-c", limited], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    until(node.answers, timeout=20, what="the node")
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    failure = None
    for number in range(40):
        try:
            node.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP, "name": f"c{number}"})
        except Fault as fault:
            failure = fault
            break
    assert failure is not None
    assert failure.kind == "unavailable", failure
    for container in node.client.get("/v1/containers", all=1):
        node.client.delete(f"/v1/containers/{container['id']}", force=1)
    assert node.client.get("/v1/plan") == []
    node.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP})
    node.leave()
