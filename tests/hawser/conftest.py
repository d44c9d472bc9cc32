"""A real node process for the tests that need one: private directories, the tests' own network namespace."""

import base64
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hawser.client import Client
from hawser.faults import Fault
from tests.wait import until

HAWSER = str(Path(sys.executable).parent / "hawser")


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class NodeProcess:
    """A node in a directory of its own; may be killed and started again."""

    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "hawser.sock"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def client(self) -> Client:
        return Client(str(self.socket))

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self.answers, timeout=20, what="the node")

    def command(self) -> list[str]:
        return [HAWSER, "node", "up", "--data", str(self.data), "--run", str(self.directory / "run")]

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            self.client.get("/v1/status")
        except Fault:
            return False
        return True

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)

    def leave(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()
        assert self.process is not None
        self.client.post("/v1/leave")
        assert self.process.wait(30) == 0, self.log()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def hawser(self, *arguments: str, stdin: bytes | None = None) -> Outcome:
        """The command line, as a user has it."""
        environment = os.environ | {"HAWSER_SOCKET": str(self.socket)}
        answer = subprocess.run(
            [HAWSER, *arguments], env=environment, input=stdin, capture_output=True, timeout=60, check=False
        )
        return Outcome(answer.returncode, answer.stdout.decode(), answer.stderr.decode())

    def put_key(self, key: str) -> int:
        """Set a key of the node's store, as any client of etcd does; the revision."""
        return int(self._kv("put", key=key)["header"]["revision"])

    def keys(self, prefix: str) -> set[str]:
        found = self._kv("range", key=prefix, range_end=f"{prefix}\U0010ffff").get("kvs", ())
        return {base64.b64decode(entry["key"]).decode() for entry in found}

    def delete_keys(self, prefix: str) -> None:
        self._kv("deleterange", key=prefix, range_end=f"{prefix}\U0010ffff")

    def _kv(self, call: str, **fields: str) -> dict[str, Any]:
        body = {name: base64.b64encode(text.encode()).decode() for name, text in fields.items()}
        answer: dict[str, Any] = Client(str(self.directory / "run" / "kv.sock")).post(f"/v3/kv/{call}", body)
        return answer

    def state(self, unit: str) -> str:
        return str(self.client.get(f"/v1/units/{unit}")["active"])


def busybox() -> bytes:
    """A root file system tarball with busybox and what it is called by."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in (
            "sh",
            "sleep",
            "cat",
            "httpd",
            "wget",
            "nc",
            "true",
            "id",
            "nslookup",
            "kill",
            "mkdir",
            "yes",
            "head",
        ):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("www/index.html", "ahoy\n")):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return target.getvalue()


@pytest.fixture(scope="module")
def module_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import shutil
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="hw-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def node(module_dir: Path) -> Iterator[NodeProcess]:
    """A running node with the image `busybox`, shared by a module's tests; everything is gone afterwards."""
    node = NodeProcess(module_dir)
    node.start()
    node.client.upload("/v1/images", io.BytesIO(busybox()), name="busybox")
    yield node
    node.leave()


@pytest.fixture
def clean(node: NodeProcess) -> Iterator[NodeProcess]:
    """The shared node, emptied after the test."""
    yield node
    if not (node.process and node.process.poll() is None):
        node.start()
    for unit in node.client.get("/v1/units"):
        node.client.post(f"/v1/units/{unit['name']}/destroy")
    until(lambda: not node.client.get("/v1/units"), what="an empty node")
    _empty(node.client)


def _empty(client: Client) -> None:
    until(lambda: client.get("/v1/plan") == [], what="an end of everything pending")
    for record in client.get("/v1/services"):
        client.delete(f"/v1/services/{record['tenant']}/{record['service']}/{record['id']}")
    for container in client.get("/v1/containers", all=1):
        client.delete(f"/v1/containers/{container['id']}", force=1)
    for network in client.get("/v1/networks"):
        client.delete(f"/v1/networks/{network['tenant']}/{network['name']}")
