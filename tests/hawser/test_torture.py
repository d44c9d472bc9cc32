"""`kill -9` of the node at random moments under random work, again and again: its word holds, and nothing leaks.

Workers act on things of their own names, and remember of each whether it is there, is not, or may be (its request was
under way). HAWSER_TORTURE=200 makes it two hundred kills; HAWSER_TORTURE_LAUNCHER=0.3 kills the launcher first in three
of ten.
"""

import io
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hawser.faults import Fault
from hawser.netd.drivers.netlink import Netlink
from tests.hawser.conftest import NodeProcess, busybox
from tests.wait import until

pytestmark = pytest.mark.root
SLEEP = ["/bin/sleep", "1000000"]
UNIT = "[Service]\nExecStart=/bin/sleep 1000000\nExecStartPre=/bin/true\nRestart=always\n"
INSIDE = "[X-Container]\nImage=busybox\n[X-Announce]\nService=web\nPort=80\nInterval=0.1\n"
KILLS = int(os.environ.get("HAWSER_TORTURE", "6"))
LAUNCHER = float(os.environ.get("HAWSER_TORTURE_LAUNCHER", "0"))
LONGEST = 0.3


class Gone(Exception):
    """The node died under a request."""


class Worker:
    """Random requests about one name of each kind, until the node dies."""

    def __init__(self, node: NodeProcess, number: int, seed: int) -> None:
        self.node, self.number = node, number
        self.random = random.Random(seed * 1000 + number)
        self.known: dict[str, bool | None] = {}
        self.pids: dict[str, int] = {}
        self.unexpected: list[str] = []

    def work(self) -> None:
        acts = (self.container, self.container, self.network, self.image, self.unit, self.write)
        with suppress(Gone):
            while True:
                self.random.choice(acts)()

    def change(self, what: str, there: bool, request: Callable[[], object]) -> bool:
        """Send a request that makes a thing or removes it; False when it was refused."""
        before, self.known[what] = self.known.get(what, False), None
        try:
            request()
        except Fault as fault:
            if fault.kind == "unavailable" or "closed" in str(fault):
                raise Gone from None
            if fault.kind not in ("conflict", "not-found"):
                self.unexpected.append(f"{what}: {fault}")
            self.known[what] = before
            return False
        except (OSError, ValueError) as error:
            raise Gone from error
        self.known[what] = there
        return True

    def container(self) -> None:
        name = f"c{self.number}"
        client = self.node.client
        if self.known.get(f"containers/{name}"):
            if self.random.random() < 0.4:
                with suppress(Fault, OSError, ValueError):
                    client.post(f"/v1/containers/{name}/exec", {"argv": ["/bin/true"]})
                return
            self.pids.pop(name, None)
            self.change(f"containers/{name}", False, lambda: client.delete(f"/v1/containers/{name}", force=1))
            return
        body = {"image": "busybox", "argv": SLEEP, "name": name, "publish": [f"{7400 + self.number}:80"]}
        if self.change(f"containers/{name}", True, lambda: client.post("/v1/containers", body)):
            with suppress(Fault, OSError, ValueError):
                self.pids[name] = client.get(f"/v1/containers/{name}")["pid"]

    def network(self) -> None:
        name, client = f"n{self.number}", self.node.client
        if self.known.get(f"networks/{name}"):
            self.change(f"networks/{name}", False, lambda: client.delete(f"/v1/networks/default/{name}"))
        else:
            self.change(f"networks/{name}", True, lambda: client.post("/v1/networks", {"name": name}))

    def image(self) -> None:
        name, client = f"i{self.number}", self.node.client
        if self.known.get(f"images/{name}"):
            self.change(f"images/{name}", False, lambda: client.delete(f"/v1/images/{name}"))
        else:
            self.change(f"images/{name}", True, lambda: client.upload("/v1/images", io.BytesIO(TARBALL), name=name))

    def unit(self) -> None:
        name, client = f"u{self.number}.service", self.node.client
        if self.known.get(f"units/{name}"):
            verb = self.random.choice(("start", "stop", "restart", "destroy"))
            self.change(f"units/{name}", verb != "destroy", lambda: client.post(f"/v1/units/{name}/{verb}"))
            return
        text = UNIT + self.random.choice(("", INSIDE))
        if self.change(f"units/{name}", True, lambda: client.put(f"/v1/units/{name}", {"text": text})):
            self.change(f"units/{name}", True, lambda: client.post(f"/v1/units/{name}/start"))

    def write(self) -> None:
        key = f"/k{self.number}/{self.random.randrange(5)}"
        self.change(f"kv{key}", True, lambda: self.node.put_key(key))


TARBALL = busybox()


@pytest.fixture
def own(rundir: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(rundir)
    node.start()
    node.client.upload("/v1/images", io.BytesIO(TARBALL), name="busybox")
    yield node
    if (node.process is not None and node.process.poll() is None) or node.data.exists():
        node.leave()


def present(node: NodeProcess) -> set[str]:
    client = node.client
    found = {f"containers/{c['name']}" for c in client.get("/v1/containers", all=1)}
    found |= {f"networks/{n['name']}" for n in client.get("/v1/networks")}
    found |= {f"images/{i['name']}" for i in client.get("/v1/images")}
    found |= {f"units/{u['name']}" for u in client.get("/v1/units")}
    return found | {f"kv{key}" for key in node.keys("/k")}


def links() -> set[str]:
    with Netlink() as kernel:
        return {link.name for link in kernel.links()}


def leaked(node: NodeProcess) -> list[str]:
    """What is left of containers, networks and images when there are none."""
    mark = (node.data / "machine-id").read_text()[:8]
    groups = [
        str(path)
        for root in Path("/sys/fs/cgroup").glob("*/hawser/*")
        if root.name == mark
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    ]
    places = [node.data / "containers", node.data / "images" / "incoming", node.directory / "run" / "netns"]
    files = [str(path) for place in places for path in place.glob("*")] + [str(path) for path in node.data.glob("tmp*")]
    return groups + files


def settle(node: NodeProcess, seed: int) -> None:
    """Wait until nothing is pending."""
    with suppress(AssertionError):
        until(lambda: not node.client.get("/v1/plan"))
    assert node.client.get("/v1/plan") == [], seed


def kill_under_work(node: NodeProcess, seed: int) -> list[Worker]:
    chance = random.Random(seed)
    workers = [Worker(node, number, seed) for number in range(4)]
    threads = [threading.Thread(target=worker.work) for worker in workers]
    for thread in threads:
        thread.start()
    threading.Event().wait(chance.uniform(0, LONGEST))
    if chance.random() < LAUNCHER:
        kill_launcher(node)
        threading.Event().wait(chance.uniform(0, LONGEST / 10))
    node.kill(signal.SIGKILL)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return workers


def kill_launcher(node: NodeProcess) -> None:
    """The zygote is the node's one child that lasts."""
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def check_promises(node: NodeProcess, workers: list[Worker]) -> None:
    found = present(node)
    for worker in workers:
        assert worker.unexpected == []
        for what, there in worker.known.items():
            assert there is None or there == (what in found), f"{what}: acknowledged {there}, found {what in found}"
        for name, pid in worker.pids.items():
            assert node.client.get(f"/v1/containers/{name}")["pid"] == pid


def empty(node: NodeProcess) -> None:
    client = node.client
    for unit in client.get("/v1/units"):
        client.post(f"/v1/units/{unit['name']}/destroy")
    until(lambda: not client.get("/v1/units") and not client.get("/v1/plan"), timeout=20, what="no unit")
    for container in client.get("/v1/containers", all=1):
        with suppress(Fault):
            client.delete(f"/v1/containers/{container['id']}", force=1)
    for network in client.get("/v1/networks"):
        client.delete(f"/v1/networks/{network['tenant']}/{network['name']}")
    for image in client.get("/v1/images"):
        if image["name"] != "busybox":
            client.delete(f"/v1/images/{image['name']}")
    node.delete_keys("/k")


def test_killed_at_any_moment_it_keeps_its_word_and_leaks_nothing(own: NodeProcess) -> None:
    before = links()
    first = int(os.environ.get("HAWSER_TORTURE_SEED", "0"))
    for seed in range(first, first + KILLS):
        workers = kill_under_work(own, seed)
        own.start()
        settle(own, seed)
        check_promises(own, workers)
        empty(own)
        settle(own, seed)
        with suppress(AssertionError):
            until(lambda: leaked(own) == [])
        assert leaked(own) == [], seed
        assert links() == before, seed
    own.leave()
    marks = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(own.directory) in line]
    assert marks == []
