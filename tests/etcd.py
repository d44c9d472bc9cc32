"""The real etcd: one member on loopback, with a short election, so that what waits for one waits little.

What is tried on it differs from test to test and is said in `options`; the rest is here, once.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.wait import until

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="needs Debian's etcd-server")
NO_FSYNC = "--unsafe-no-fsync"
PORTS = iter(range(12_000 + os.getpid() % 1000 * 20, 32_768))


def free_port() -> int:
    """A port of the loopback that no outgoing connection is given meanwhile (ip_local_port_range begins at 32768)."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")


def argv(data: Path, client: str, peer: str, *options: str) -> list[str]:
    """The command line of a cluster of one, which elects itself at once."""
    command = ["etcd", "--data-dir", str(data), "--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}", "--heartbeat-interval", "10", "--election-timeout", "100"]
    return [*command, *options]


@dataclass
class Member:
    """One member; it can be ended and started again with what it kept."""

    directory: Path
    options: tuple[str, ...] = ()
    scheme: str = "http"
    port: int = field(default_factory=free_port)
    peer: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        peer = f"http://127.0.0.1:{self.peer}"
        command = argv(self.directory / "data", self.url, peer, NO_FSYNC, *self.options)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens, timeout=20, what="etcd listens")

    def _listens(self) -> bool:
        if self.scheme == "http":
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=1) as answer:
                    return b"true" in answer.read()
            except OSError:
                return False
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def member(*options: str, scheme: str = "http") -> Iterator[Member]:
    """A member that runs, and its end."""
    with tempfile.TemporaryDirectory(prefix="hw-etcd-") as directory:
        made = Member(Path(directory), options, scheme)
        try:
            made.start()
            yield made
        finally:
            made.kill()
