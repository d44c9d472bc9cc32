"""A running machine's store moves into a real etcd and back: nothing is lost, nothing stops."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hawser.faults import Fault
from tests.etcd import member, needs_etcd
from tests.hawser.conftest import HAWSER, NodeProcess
from tests.wait import until

pytestmark = [pytest.mark.root, needs_etcd]
SLEEP = ["/bin/sleep", "1000"]
UNIT = "[Service]\nExecStart=/bin/sleep 1000\n"


@pytest.fixture
def etcd() -> Iterator[str]:
    with member() as running:
        yield running.url


def move(node: NodeProcess, **target: Any) -> list[dict[str, object]]:
    told = list(node.client.lines("POST", "/v1/store/migrate", target))
    until(lambda: store_of(node) in (target.get("endpoints") or [own(node)]), timeout=20, what="the node on its store")
    return told


def store_of(node: NodeProcess) -> str | None:
    """The store the node says it uses; None in the moment in which it starts itself anew."""
    assert node.process is not None
    assert node.process.poll() is None, node.log()
    try:
        return str(node.client.get("/v1/status")["store"])
    except Fault:
        return None


def own(node: NodeProcess) -> str:
    return f"unix://{node.directory}/run/kv.sock"


def test_there_and_back_with_all_that_runs(clean: NodeProcess, etcd: str) -> None:
    clean.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP, "name": "c"})
    clean.client.put("/v1/units/u.service", {"text": UNIT})
    clean.client.post("/v1/units/u.service/start")
    until(lambda: clean.state("u.service") == "active", what="the unit")
    before = (clean.client.get("/v1/containers/c")["pid"], clean.client.get("/v1/networks"), pid_of(clean, "u.service"))

    told = move(clean, endpoints=[etcd])
    assert {line.get("phase") for line in told[:-1]} >= {"copy", "verify"}
    assert set(told[-1]) == {"moved", "sha256"}
    status = clean.client.get("/v1/status")
    assert status["store"] == etcd
    assert not (clean.data / "store").exists()
    after = (clean.client.get("/v1/containers/c")["pid"], clean.client.get("/v1/networks"), pid_of(clean, "u.service"))
    assert after == before
    until(lambda: clean.client.get("/v1/plan") == [], what="an empty plan")

    with pytest.raises(Fault, match="uses an etcd already"):
        move(clean, endpoints=[etcd])
    clean.kill()
    clean.start()
    assert clean.client.get("/v1/status")["store"] == etcd, "a restart needs no option"

    move(clean)
    assert clean.client.get("/v1/status")["store"].startswith("unix://")
    assert (clean.client.get("/v1/containers/c")["pid"], clean.client.get("/v1/networks")) == before[:2]
    assert clean.state("u.service") == "active"
    assert pid_of(clean, "u.service") == before[2]


def test_what_cannot_be_reached_changes_nothing(clean: NodeProcess) -> None:
    before = clean.client.get("/v1/status")["store"]
    with pytest.raises(Fault, match=r"does not answer at http://127\.0\.0\.1:1 "):
        move(clean, endpoints=["http://127.0.0.1:1"])
    assert clean.client.get("/v1/status")["store"] == before
    clean.client.post("/v1/containers", {"image": "busybox", "argv": SLEEP, "name": "c"})


def test_a_node_that_moves_is_not_left_and_ends_when_it_is_told_to(clean: NodeProcess) -> None:
    before = clean.client.get("/v1/status")["store"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        target = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [HAWSER, "kv", "migrate", "--to", target]
        with subprocess.Popen(command, env=os.environ | {"HAWSER_SOCKET": str(clean.socket)}, stderr=-1) as asking:
            silent.accept()
            for again in (lambda: clean.client.post("/v1/leave"), lambda: move(clean, endpoints=[target])):
                with pytest.raises(Fault, match="is being moved"):
                    again()
            clean.kill(signal.SIGTERM)
            assert clean.process is not None
            assert clean.process.returncode == 0
            asking.communicate(timeout=20)
    clean.start()
    assert clean.client.get("/v1/status")["store"] == before


def pid_of(node: NodeProcess, unit: str) -> object:
    return node.client.get(f"/v1/units/{unit}").get("pid")
