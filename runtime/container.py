"""One container as the node sees it: what was asked for, the processes it holds, how it ended."""

import asyncio

from .drivers.processes import Processes
from .drivers.records import Record, Running
from .errors import Conflict, RuntimeFault
from .model import ContainerInfo, Exit, State


class Container:
    """State of one container; owned by the event loop.

    `quiet` is set while no start is under way. `ended` is set when there is nothing to wait for: it ended (`exit`), or
    `fault` says why no end will be seen.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.spec = record.spec
        self.running: Running | None = None
        self.processes: Processes | None = None
        self.exit: Exit | None = None
        self.fault: RuntimeFault | None = None
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.ended = asyncio.Event()
        self._started: float | None = None

    @property
    def words(self) -> str:
        """How messages call it."""
        return f"container {self.spec.name or self.spec.id}"

    @property
    def starting(self) -> bool:
        """Whether a start is under way."""
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

    def begin_start(self) -> None:
        """A start is under way; until it succeeds, an earlier end stays what it was."""
        self.quiet.clear()
        self.fault = None
        if self.exit is None:
            self.ended.clear()

    def fail_start(self, fault: RuntimeFault) -> None:
        """The start came to nothing."""
        self.give_up(fault)
        self.quiet.set()

    def give_up(self, fault: RuntimeFault) -> None:
        """No end will be seen: who waits for one is told why."""
        self.fault = fault
        self.ended.set()

    def adopt(self, running: Running, processes: Processes) -> None:
        """It runs."""
        self.processes = processes
        self.running, self._started, self.exit, self.fault = running, running.started, None, None
        self.ended.clear()

    def finish(self, exit_: Exit) -> None:
        """It ended."""
        self.let_go()
        self.running, self.exit = None, exit_
        self.ended.set()

    def remember(self, running: Running | None) -> None:
        """When a run that is over began."""
        self._started = running.started if running else None

    def let_go(self) -> None:
        """Hold its processes no more."""
        if self.processes:
            self.processes.close()
        self.processes = None

    def send(self, number: int) -> None:
        """Signal the program; nothing when it is just ending. Conflict when it does not run."""
        if self.running is None:
            raise Conflict(f"{self.words} is not running")
        if self.processes:
            self.processes.send(number)

    def hears(self, number: int) -> bool:
        """Whether a signal does anything to its program: PID 1 of a namespace has no default actions
        (pid_namespaces(7)), and waiting for those would only cost time."""
        return self.processes is None or self.spec.image is None or self.processes.hears(number)


def lost(oom: bool, now: float) -> Exit:
    """The end of a program whose shim was killed: it was killed with it, and nobody saw with what result."""
    return Exit(code=137, signal=9, oom=oom, finished=now)
