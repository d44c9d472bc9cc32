"""The containers a node knows, and the watch over their shims.

A shim's pidfd becomes readable when it ends; the record of the program's end is there by then. If it is not, the shim
was killed: what it looked after is killed too, in a thread, and the end recorded.
"""

import asyncio
import time
from collections.abc import Callable

from .container import Container, lost
from .drivers.forest import Forest
from .drivers.procfs import kill
from .drivers.records import Running, Shelf
from .model import Exit

SETTLE = 10.0
STEP = 0.01


class Watch:
    """Owns the containers by id; everything on the event loop."""

    def __init__(self, shelf: Shelf, forest: Forest, boot: str, on_change: Callable[[str], None]) -> None:
        self.containers: dict[str, Container] = {}
        self._shelf, self._forest, self._boot = shelf, forest, boot
        self._on_change = on_change

    async def load(self) -> None:
        """Learn from the directories what there is; adopt what runs, record what ended unseen."""
        names, _ = self._shelf.names()
        for name in names:
            record = self._shelf.record(name)
            if record is None or record.spec.id != name:
                continue
            container = self.containers[name] = Container(record)
            running = await self._settled(name)
            container.remember(running)
            if running and self._shelf.held(name):
                self.begin(container, running)
            elif exit_ := self._shelf.exit(name):
                container.finish(exit_)
            elif running:
                container.finish(await asyncio.to_thread(self._bury, name, running))

    async def _settled(self, name: str) -> Running | None:
        """Which processes it is, when a start that was under way has come to its end."""
        deadline = time.monotonic() + SETTLE
        while (running := self._shelf.running(name)) is None and self._shelf.held(name):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(STEP)
        return running

    def begin(self, container: Container, running: Running) -> None:
        """Watch a run."""
        loop = asyncio.get_running_loop()
        if container.adopt(running):
            loop.add_reader(container.shim, self._shim_ended, container)
        else:
            self._conclude(container, running)
        self._on_change(container.spec.id)

    def forget(self) -> None:
        """Watch nothing any more."""
        for container in self.containers.values():
            self._unwatch(container)
            container.ended.set()
        self.containers.clear()

    def _unwatch(self, container: Container) -> None:
        if container.shim >= 0:
            asyncio.get_running_loop().remove_reader(container.shim)
        container.let_go()

    def _shim_ended(self, container: Container) -> None:
        running = container.running
        self._unwatch(container)
        if running is not None:
            self._conclude(container, running)

    def _conclude(self, container: Container, running: Running) -> None:
        name = container.spec.id
        container.remember(running)
        if exit_ := self._shelf.exit(name):
            self._finished(container, exit_)
            return
        container.running = running
        loop = asyncio.get_running_loop()
        burial = loop.run_in_executor(None, self._bury, name, running)
        burial.add_done_callback(lambda done: self._finished(container, done.result()))

    def _finished(self, container: Container, exit_: Exit) -> None:
        container.finish(exit_)
        self._on_change(container.spec.id)

    def _bury(self, name: str, running: Running) -> Exit:
        """Kill what a dead shim left, by pid and start time, and by control group; record the end. Blocking."""
        if running.boot == self._boot:
            kill(running.pid, running.pid_start)
        exit_ = lost(self._forest.oom_kills(name) > 0)
        self._forest.clear(name)
        self._shelf.bury(name, exit_)
        return exit_
