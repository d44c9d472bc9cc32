"""A host of a lab that is up, used as a machine: commands, processes, files of its own, a crash."""

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hawser.netd.drivers import netns

from .. import units
from ..errors import Invalid
from ..model import NAME, Host
from . import process as _process
from . import processes
from .home import Home
from .process import Process

T = TypeVar("T")


class Node:
    """A host; its processes see its links only. The file system is the machine's, with a directory for the host."""

    def __init__(self, home: Home, host: Host, started: list[Process] | None = None) -> None:
        self._home = home
        self._space = home.space(host.name)
        self._started = started if started is not None else []
        self.name = host.name
        self.address = host.address
        self.ip = str(host.address.ip)
        self.mac = host.mac

    def cmd(self, command: str | Sequence[str], *, timeout: float | None = None) -> str:
        """What a command prints, both streams, as Mininet's `cmd`; a string goes through the shell."""
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        done = self._finish(argv, timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return str(done.stdout)

    def run(self, command: str | Sequence[str], *, timeout: float | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end: exit code and both streams apart. subprocess.TimeoutExpired after `timeout` s."""
        argv = shlex.split(command) if isinstance(command, str) else list(command)
        return self._finish(argv, timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def popen(self, argv: str | Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process inside; `options` are subprocess.Popen's. It ends with the lab at the latest."""
        words = shlex.split(argv) if isinstance(argv, str) and not options.get("shell") else argv
        return processes.popen(self._space, words, options)

    def start(
        self,
        argv: str | Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        log: Path | str | None = None,
    ) -> Process:
        """Start a long-lived process. It ends with the lab at the latest.

        `name`: for its log and errors, the program's by default; `env`: added to this process's own; `cwd`: the
        host's directory by default; `log`: a file that both streams are appended to, `<name>.log` in that directory by
        default. OSErrors of the program and the paths pass through.
        """
        words = shlex.split(argv) if isinstance(argv, str) else list(argv)
        title = name or Path(words[0]).name
        where = Path(log) if log else self.path / f"{title}.log"
        made = _process.start(self._space, self.name, words, title, where, env or {}, Path(cwd) if cwd else self.path)
        self._started.append(made)
        return made

    def inside(self, act: Callable[[], T]) -> T:
        """Run `act` in the host's network: a socket made there stays there. For short work only; blocks."""
        return netns.inside(self._space, act)

    @property
    def path(self) -> Path:
        """The host's own directory, on the file system of the lab's; removed with the lab."""
        return self._home.host(self.name)

    def disk(self, name: str = "disk", *, size: int | str) -> Path:
        """A file system of its own that is full at `size` (bytes, or "8m"), at `path/name`; gone with the lab. It is
        in memory (tmpfs(5)): it survives a crash of the host's processes. Exists, Invalid."""
        if not NAME.fullmatch(name):
            raise Invalid(f"disk {name!r}: take letters, digits, '_' and '.', a letter first, at most 15")
        capacity = units.size(size)
        if capacity < 4096:
            raise Invalid(f"disk {name} of {capacity} bytes; at least 4096")
        return self._home.disk(self.name, name, capacity)

    def crash(self) -> None:
        """Kill everything on the host at once (SIGKILL), as a loss of power does; links and files stay."""
        _process.end(process for process in self._started if process.host == self.name)
        processes.end({self._space.stat().st_ino})

    def _finish(self, argv: Sequence[str], timeout: float | None, **options: Any) -> "subprocess.CompletedProcess[str]":
        process = self.popen(argv, stdin=subprocess.DEVNULL, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(argv, process.returncode, out, err)
