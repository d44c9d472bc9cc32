"""The two servers that every verb is tried on, `hawser kv serve` and the real etcd, and the command line, in this
process or in one of its own."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from hawser.cli import run
from tests.etcd import NO_FSYNC, argv, free_port
from tests.wait import until

HAWSER = str(Path(sys.executable).parent / "hawser")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def kv(*arguments: str, stdin: bytes = b"") -> Outcome:
    """`hawser kv …` in this process: the same command line, a tenth of the time."""
    given, out, err = (io.TextIOWrapper(io.BytesIO(data)) for data in (stdin, b"", b""))
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = given, out, err
    try:
        code = run(["kv", *arguments])
        out.flush()
        err.flush()
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    return Outcome(code, _written(out.buffer), _written(err.buffer).decode())


def _written(buffer: BinaryIO) -> bytes:
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


@dataclass
class Server:
    """A server in a directory of its own."""

    kind: str
    directory: Path
    extra: tuple[str, ...] = ()
    port: int = 0
    scheme: str = "http"
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = self.port or free_port()
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self._answers, timeout=20, what=self.kind)

    @contextmanager
    def started(self) -> Iterator[None]:
        """Until the end of the block. Skips the test when there is no etcd."""
        if self.kind == "etcd" and shutil.which("etcd") is None:
            pytest.skip("no etcd on this machine; apt-get install etcd-server")
        self.start()
        try:
            yield
        finally:
            if self.process and self.process.poll() is None:
                self.stop()

    def _command(self) -> list[str]:
        data = str(self.directory / "data")
        if self.kind == "hawser":
            return [HAWSER, "kv", "serve", "--data-dir", data, "--listen", f"127.0.0.1:{self.port}", *self.extra]
        return argv(Path(data), self.url, f"http://127.0.0.1:{free_port()}", NO_FSYNC, "--logger", "zap", *self.extra)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text(errors="replace")[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        return self.scheme == "https" or self.kv("get", "x").code in (0, 3)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def kv(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        return kv("--endpoints", self.url, *arguments, stdin=stdin)

    def ok(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        """The same, and it must work."""
        outcome = self.kv(*arguments, stdin=stdin)
        assert outcome.code == 0, (arguments, outcome)
        return outcome

    @contextmanager
    def running(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
        """`hawser kv …` as a process, killed at the end if it is still there."""
        with popen([HAWSER, "kv", "--endpoints", self.url, *arguments], stdin=stdin) as process:
            yield process


@contextmanager
def popen(
    command: list[str], *, stdin: int = subprocess.DEVNULL, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, killed at the end if it is still there."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, env=dict(environment or os.environ)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints, without its end."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
