"""`kill -9` of the node at any moment: no acknowledged write lost, no container stopped, nothing leaked."""

import io
import random
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.demo import probes
from hawser.faults import Fault
from hawser.netd.drivers.netlink import Netlink
from tests.hawser.conftest import NodeProcess, busybox
from tests.wait import until

pytestmark = pytest.mark.root
HTTPD = ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]


@pytest.fixture
def own(rundir: Path) -> Iterator[NodeProcess]:
    """A node that a test may kill as it likes."""
    node = NodeProcess(rundir)
    node.start()
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    yield node
    if (node.process is not None and node.process.poll() is None) or node.data.exists():
        node.leave()


def links() -> set[str]:
    with Netlink() as kernel:
        return {link.name for link in kernel.links()}


def mine(node: NodeProcess) -> list[Path]:
    """The node's control groups."""
    mark = (node.data / "machine-id").read_text()[:8]
    return [path for path in Path("/sys/fs/cgroup").glob("*/hawser/*") if path.name == mark]


def containers(branch: Path) -> list[Path]:
    """The groups of containers; the launcher's own spare ones begin with a dot."""
    return [path for path in branch.iterdir() if path.is_dir() and re.fullmatch("[0-9a-f]{12}", path.name)]


def mounts(node: NodeProcess) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(node.directory) in line]


def test_containers_and_their_traffic_go_on_without_the_node(own: NodeProcess) -> None:
    own.client.post("/v1/containers", {"image": "busybox", "argv": HTTPD, "name": "web", "publish": ["8090:80"]})
    until(lambda: probes.http(None, "127.0.0.1", 8090), what="the page")
    pid = own.client.get("/v1/containers/web")["pid"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        own.kill(number)
        assert probes.http(None, "127.0.0.1", 8090) == "ahoy\n"
        own.start()
        assert own.client.get("/v1/containers/web")["pid"] == pid
        assert own.client.get("/v1/plan") == []


def test_a_container_that_ended_meanwhile_is_known_as_ended(own: NodeProcess, tmp_path: Path) -> None:
    body = {"image": "busybox", "name": "c", "argv": ["/bin/sh", "-c", "read x < /p/fifo; exit 7"]}
    import os

    os.mkfifo(tmp_path / "fifo")
    tmp_path.chmod(0o755)
    (tmp_path / "fifo").chmod(0o666)
    own.client.post("/v1/containers", body | {"volume": [f"{tmp_path}:/p"]})
    own.kill()
    (tmp_path / "fifo").write_text("go\n")
    own.start()
    until(lambda: own.client.get("/v1/containers/c")["state"] == "exited", what="its end")
    assert own.client.get("/v1/containers/c")["exit"]["code"] == 7


def test_every_acknowledged_write_survives(own: NodeProcess) -> None:
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            try:
                own.put_key(f"/k/{number}")
            except (Fault, OSError):
                return
            acknowledged.append(number)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    until(lambda: len(acknowledged) > 50, what="some writes")
    own.kill()
    stop.set()
    thread.join()
    own.start()
    assert {f"/k/{number}" for number in acknowledged} <= own.keys("/k/")


@pytest.mark.parametrize("seed", range(6))
def test_killed_in_the_middle_of_anything_it_repairs_itself(own: NodeProcess, seed: int) -> None:
    before = links()
    moment = random.Random(seed).uniform(0, 0.12)
    done = threading.Event()

    def act() -> None:
        try:
            for number in range(40):
                name = f"n{number}"
                own.client.post("/v1/networks", {"name": name})
                body = {"image": "busybox", "argv": HTTPD, "name": f"c{number}", "network": name}
                own.client.post("/v1/containers", body | {"publish": [f"{8200 + number}:80"]})
                own.client.delete(f"/v1/containers/c{number}", force=1)
                own.client.delete(f"/v1/networks/default/{name}")
        except (Fault, OSError):
            done.set()

    thread = threading.Thread(target=act)
    thread.start()
    done.wait(moment)
    own.kill()
    thread.join()
    own.start()
    assert own.client.get("/v1/plan") == []
    for container in own.client.get("/v1/containers", all=1):
        own.client.delete(f"/v1/containers/{container['id']}", force=1)
    for network in own.client.get("/v1/networks"):
        own.client.delete(f"/v1/networks/{network['tenant']}/{network['name']}")
    assert links() == before
    until(lambda: not [group for branch in mine(own) for group in containers(branch)], what="no control group")
    assert list((own.directory / "run" / "netns").glob("*")) == []
    own.leave()
    assert mounts(own) == []
    assert mine(own) == []


def test_leave_removes_everything_it_made(own: NodeProcess) -> None:
    before = links()
    for number in range(3):
        body = {"image": "busybox", "argv": HTTPD, "name": f"c{number}", "publish": [f"{8300 + number}:80"]}
        own.client.post("/v1/containers", body)
    text = "[Service]\nExecStart=/bin/sleep 1000000\nRestart=always\n"
    own.client.put("/v1/units/s.service", {"text": text})
    own.client.post("/v1/units/s.service/start")
    until(lambda: own.state("s.service") == "active", what="the unit")
    pids = [own.client.get(f"/v1/containers/{c['id']}")["pid"] for c in own.client.get("/v1/containers")]
    assert len(pids) == 4
    own.leave()
    assert links() == before
    assert mine(own) == []
    assert mounts(own) == []
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not own.socket.exists()
