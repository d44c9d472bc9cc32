"""The containers a node knows, and the watch over their shims.

A shim's pidfd becomes readable when it ends; the record of the program's end is there by then. If it is not, the shim
was killed: what it looked after is killed too, in a thread, and the end recorded. A container whose records cannot be
read is in `troubles`, with the reason: it may run well, so nothing of it is touched.
"""

import asyncio
import time
from collections.abc import Callable

from .container import Container, lost
from .drivers import processes, procfs
from .drivers.forest import Forest
from .drivers.records import Running, Shelf, Unreadable
from .errors import Unavailable
from .model import Exit

SETTLE = 10.0
STEP = 0.01
UNKNOWN = Running(boot="", shim=0, shim_start=0, pid=0, pid_start=0, started=0.0)


class Watch:
    """Owns the containers by id; everything on the event loop."""

    def __init__(self, shelf: Shelf, forest: Forest, boot: str, on_change: Callable[[str], None]) -> None:
        self.containers: dict[str, Container] = {}
        self.troubles: dict[str, str] = {}
        self._shelf, self._forest, self._boot = shelf, forest, boot
        self._on_change = on_change

    async def load(self) -> None:
        """Learn from the directories what there is; adopt what runs, record what ended unseen."""
        self.troubles.clear()
        names, _ = self._shelf.names()
        for name in names:
            try:
                await self._learn(name)
            except (Unreadable, OSError) as error:
                self.containers.pop(name, None)
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.troubles[name] = f"{reason} ({self._shelf.place(name)})"

    async def _learn(self, name: str) -> None:
        container = Container(self._shelf.record(name))
        running, held = await self._settled(name)
        container.remember(None if running is UNKNOWN else running)
        exit_ = None if held else self._exit(name)
        self.containers[name] = container
        if running and held:
            self.begin(container, running)
        elif exit_:
            container.finish(exit_)
        elif running:
            container.finish(await asyncio.to_thread(self._bury, name, running))

    async def _settled(self, name: str) -> tuple[Running | None, bool]:
        """Its last run, and whether a shim looks after it, when a start that was under way has come to its end."""
        deadline = time.monotonic() + SETTLE
        while self._shelf.held(name):
            running = self._shelf.running(name)
            if running and procfs.start_time(running.shim) == running.shim_start:
                return running, True
            if time.monotonic() > deadline:
                raise Unreadable(f"its shim has not said within {SETTLE:g} s what runs", torn=False)
            await asyncio.sleep(STEP)
        try:
            return self._shelf.running(name), False
        except Unreadable as error:
            if not error.torn:
                raise
            return UNKNOWN, False

    def _exit(self, name: str) -> Exit | None:
        """How it ended; a record torn by a loss of power is none."""
        try:
            return self._shelf.exit(name)
        except Unreadable as error:
            if not error.torn:
                raise
            return None

    def begin(self, container: Container, running: Running) -> None:
        """Watch a run."""
        if self.containers.get(container.spec.id) is not container:
            return  # the node let go while the start was under way
        held = processes.hold(running)
        if held:
            container.adopt(running, held)
            asyncio.get_running_loop().add_reader(held.shim, self._shim_ended, container)
        else:
            self._conclude(container, running)
        self._on_change(container.spec.id)

    def forget(self) -> None:
        """Watch nothing any more."""
        for container in self.containers.values():
            self._unwatch(container)
            container.give_up(Unavailable(f"{container.words}: the node lets go of it; ask again when it is back"))
        self.containers.clear()

    def _unwatch(self, container: Container) -> None:
        if container.processes:
            asyncio.get_running_loop().remove_reader(container.processes.shim)
        container.let_go()

    def _shim_ended(self, container: Container) -> None:
        running = container.running
        self._unwatch(container)
        if running is not None:
            self._conclude(container, running)

    def _conclude(self, container: Container, running: Running) -> None:
        container.remember(running)
        try:
            exit_ = self._shelf.exit(container.spec.id)
        except Unreadable:
            exit_ = None
        if exit_:
            self._finished(container, exit_)
            return
        container.running, container.exit = running, None
        container.ended.clear()
        burial = asyncio.get_running_loop().run_in_executor(None, self._bury, container.spec.id, running)
        burial.add_done_callback(lambda done: self._buried(container, done))

    def _buried(self, container: Container, burial: "asyncio.Future[Exit]") -> None:
        failed = burial.cancelled() or burial.exception() is not None
        self._finished(container, lost(False, time.time()) if failed else burial.result())

    def _finished(self, container: Container, exit_: Exit) -> None:
        container.finish(exit_)
        if self.containers.get(container.spec.id) is container:
            self._on_change(container.spec.id)

    def _bury(self, name: str, running: Running) -> Exit:
        """Kill what a dead shim left, by pid and start time, and by control group; record the end. Blocking."""
        if running.boot == self._boot:
            procfs.kill(running.pid, running.pid_start)
        exit_ = lost(self._forest.oom_kills(name) > 0, time.time())
        self._forest.clear(name)
        try:
            if written := self._exit(name):
                return written
        except Unreadable:
            return exit_  # it may say more when it can be read again
        self._shelf.bury(name, exit_)
        return exit_
