"""One container as the node sees it: what was asked for, the processes it holds pidfds of, how it ended."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from .drivers import procfs
from .drivers.records import Record, Running
from .errors import Conflict
from .model import ContainerInfo, Exit, State


class Container:
    """State of one container; owned by the event loop."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.spec = record.spec
        self.running: Running | None = None
        self.exit: Exit | None = None
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.removing = False
        self.shim = -1
        self.pidfd = -1
        self.ended = asyncio.Event()
        self._started: float | None = None

    @property
    def starting(self) -> bool:
        """Whether a start is under way; `quiet` is set when none is."""
        return not self.quiet.is_set()

    @property
    def state(self) -> State:
        """Created, running or exited."""
        if self.running is not None:
            return State.RUNNING
        return State.EXITED if self.exit else State.CREATED

    def info(self) -> ContainerInfo:
        """As others see it."""
        return ContainerInfo(
            spec=self.spec,
            state=self.state,
            created=self.record.created,
            pid=self.running.pid if self.running else None,
            started=self.running.started if self.running else self._started,
            exit=self.exit,
        )

    def adopt(self, running: Running) -> bool:
        """Hold the processes of a run; False when its shim is gone."""
        shim = procfs.hold(running.shim, running.shim_start)
        if shim is None:
            return False
        # the program may have ended already; its shim then writes how
        program = procfs.hold(running.pid, running.pid_start)
        self.shim, self.pidfd = shim, -1 if program is None else program
        self.running, self._started, self.exit = running, running.started, None
        self.ended.clear()
        return True

    def finish(self, exit_: Exit) -> None:
        """It ended."""
        self.let_go()
        self.running, self.exit = None, exit_
        self.ended.set()

    def remember(self, running: Running | None) -> None:
        """When a run that is over began."""
        self._started = running.started if running else None

    def let_go(self) -> None:
        """Close the pidfds."""
        for fd in (self.shim, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.shim = self.pidfd = -1

    def send(self, number: int) -> None:
        """Signal the program; nothing when it is just ending. Conflict when it does not run."""
        if self.running is None:
            raise Conflict(f"container {self.spec.name or self.spec.id} is not running")
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def hears(self, number: int) -> bool:
        """Whether its program has a disposition of its own for a signal (it handles it, holds it back, or ignores it).
        PID 1 of a namespace has no default actions (pid_namespaces(7)): waiting for those would only cost time."""
        if self.running is None or self.spec.image is None:
            return True
        try:
            status = Path(f"/proc/{self.running.pid}/status").read_text()
        except OSError:
            return True
        masks = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
        own = int(masks["SigCgt"], 16) | int(masks["SigBlk"], 16) | int(masks["SigIgn"], 16)
        return bool(own >> (number - 1) & 1)


def lost(oom: bool) -> Exit:
    """The end of a program whose shim was killed: it was killed with it, and nobody saw with what result."""
    return Exit(code=137, signal=9, oom=oom, finished=time.time())
