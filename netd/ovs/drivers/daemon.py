"""One of Open vSwitch's daemons as a process that outlives us (`store.cluster.drivers.outliving`), and its log."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from hawser.store.cluster.drivers.outliving import Process, adopt, spawn

from ...errors import NetError, Unavailable

LOG_MAX = 1 << 20
STEP, READY = 0.01, 30.0
# as many files as we may have: one or more for each port; 1024, the usual soft limit, ends at some hundreds
ALL_FILES = ("/bin/sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh")


class Daemon:
    """A program, its record at `<directory>/<name>.process` and its log beside it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._record = directory / f"{name}.process"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Its process id, 0 when it does not run."""
        return self._process.pid if self._process and self._process.alive() else 0

    def alive(self) -> bool:
        """Whether it runs: found again, if we were not the ones who started it."""
        if self._process is None:
            self._process = adopt(self._record)
        return self._process is not None and self._process.alive()

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it. NetError."""
        self.close()
        try:
            if self.log.exists() and self.log.stat().st_size > LOG_MAX:
                self.log.replace(self.log.with_suffix(".log.1"))
            self._process = spawn((*ALL_FILES, *argv), self._record, self.log, env)
        except OSError as error:
            raise NetError(f"start {self.name}: {error.strerror}") from error

    async def ready(self, answers: Callable[[], Awaitable[object]]) -> None:
        """Wait until it answers. Unavailable with its last words, when it ends or takes more than 30 s."""
        deadline = asyncio.get_running_loop().time() + READY
        while True:
            try:
                await answers()
            except NetError as error:
                if not self.alive():
                    raise Unavailable(f"{self.name} {self._end()}: {self._last_words()}") from None
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"{self.name} runs and does not answer within {READY:g} s: {error}") from None
                await asyncio.sleep(STEP)
            else:
                return

    async def ended(self) -> str:
        """Wait for its end, however long; how it ended, in words."""
        if (fd := self.watch()) is not None:
            await readable(fd)
        return self._end()

    def watch(self) -> int | None:
        """A file descriptor that can be read when it ends, for the caller to close; None when it has ended."""
        return os.dup(self._process.fd) if self._process is not None and self._process.alive() else None

    async def end(self, *, timeout: float = 5.0) -> None:
        """End it: SIGTERM, and SIGKILL after `timeout` seconds."""
        if self.alive() and self._process:
            self._process.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(timeout):
                    await self.ended()
            except TimeoutError:
                self._process.signal(signal.SIGKILL)
                await self.ended()
        self.close()
        self._record.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go; it runs on."""
        if self._process is not None:
            self._process.reap()
            self._process.close()
            self._process = None

    def _end(self) -> str:
        return self._process.reap() if self._process else "ended"

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else f"it said nothing; see {self.log}"


async def readable(*fds: int) -> None:
    """Wait until one of `fds`, which are closed then, can be read; a pidfd can when its process has ended
    (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for fd in fds:
        loop.add_reader(fd, done.set)
    try:
        await done.wait()
    finally:
        for fd in fds:
            loop.remove_reader(fd)
            os.close(fd)
