"""A long-lived process of a host: started with a log, watched, signalled, ended.

It leads a process group of its own, so a signal reaches what it has started as well, unless that has gone into a
session of its own. The number of a group cannot be taken by anybody else before the leader is waited for, which only
this object does.
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import Unavailable
from .processes import popen

TAIL = 3  # lines of the log in an error


class Process:
    """Made by `Node.start`. No call but `wait` and `stop` blocks, and those only for their time."""

    def __init__(self, host: str, name: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.host = host
        self.name = name
        self.log = log
        self.pid = process.pid
        self._process = process

    def __repr__(self) -> str:
        return f"<{self.name} on {self.host}, process {self.pid}, {self._state()}>"

    @property
    def running(self) -> bool:
        """Whether it has not ended; a paused one has not."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the signal that ended it; None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float = 10.0) -> int:
        """Its return code; Unavailable when it has not ended after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self!r} has not ended after {timeout:g} s; its log ends: {self._tail()}") from None

    def signal(self, number: int) -> None:
        """Send a signal to it and its group; nothing when it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now (SIGKILL), as a crash does; `wait` for it."""
        self.signal(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): it holds its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def stop(self, timeout: float = 5.0) -> int:
        """Terminate it, and kill it after `timeout` seconds; its return code."""
        self.resume()
        self.terminate()
        with suppress(Unavailable):
            return self.wait(timeout)
        self.kill()
        return self.wait()

    def output(self) -> str:
        """What is in its log: both streams, of earlier starts under this name too."""
        return self.log.read_text(errors="replace")

    def _state(self) -> str:
        return "running" if self.running else f"ended with {self.returncode}"

    def _tail(self) -> str:
        return " / ".join(self.output().splitlines()[-TAIL:]) if self.log.exists() else "(there is none)"


def start(
    space: Path, host: str, argv: Sequence[str], name: str, log: Path, env: Mapping[str, str], cwd: Path
) -> Process:
    """Start it inside a namespace; OSErrors of the program and the paths pass through."""
    with open(log, "ab") as file:
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": file,
            "stderr": subprocess.STDOUT,
            "env": {**os.environ, **env},
            "cwd": cwd,
            "start_new_session": True,
        }
        return Process(host, name, log, popen(space, argv, options))


def end(started: Iterable[Process]) -> None:
    """Kill them all, wherever they have gone, and wait for them."""
    every = tuple(started)
    for process in every:
        process.kill()
    for process in every:
        process.wait()
