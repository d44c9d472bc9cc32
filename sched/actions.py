"""Doing what a life asks for: one task a unit, each through the manager.

A task whose step is over is cancelled, and ends before the next of its unit begins.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace

from . import lifecycle
from .drivers import host
from .held import Held
from .lifecycle import Action, Command, Done, Kill, Launch
from .manager import UnitManager
from .model import Service, arguments, prepare

CLEARING = -1
# the life's own deadline comes first and tells the reason; this one is for a manager that is left alone
MARGIN = 1.0
log = logging.getLogger(__name__)


class Actions:
    """Starts tasks in `group`; `ended` is called after each."""

    def __init__(self, manager: UnitManager, group: asyncio.TaskGroup, ended: Callable[[], None]) -> None:
        self._manager = manager
        self._group = group
        self._ended = ended

    def tend(self, held: Held, may_clear: bool) -> None:
        """Begin what the unit's life asks for, or break off what it asks for no more."""
        step = CLEARING if held.clear else held.life.step
        action = lifecycle.action(held.service, held.life) if held.service is not None and not held.clear else None
        if held.task is not None:
            # once: what it does to clean up behind itself is not to be broken off as well
            if held.working not in (step, CLEARING) and not held.task.cancelling():
                held.task.cancel()
            return
        if held.clear:
            if may_clear and held.cleared is None:
                held.working = CLEARING
                self._begin(held, self._clear(held))
        elif action is not None and held.service is not None and held.working != step:
            held.working = step
            self._begin(held, self._act(held, held.service, action, step))

    def _begin(self, held: Held, work: Coroutine[None, None, None]) -> None:
        held.task = task = self._group.create_task(work, name=f"unit {held.name}")
        # not in the coroutine: one cancelled before its first step never runs
        task.add_done_callback(lambda _: self._finish(held))

    async def _clear(self, held: Held) -> None:
        try:
            await self._manager.clear(held.name)
            held.cleared = ""
        except Exception as error:
            held.cleared = reason(held.name, error)

    async def _act(self, held: Held, service: Service, action: Action, step: int) -> None:
        try:
            held.done = Done(step, await self._do(service, action))
        except Exception as error:
            held.done = Done(step, error=reason(held.name, error))

    def _finish(self, held: Held) -> None:
        held.task = None
        self._ended()

    async def _do(self, service: Service, action: Action) -> int:
        match action:
            case Kill(timeout):
                await self._manager.stop(service, timeout)
                return 0
            case Launch(index):
                files = await host.read_environment(service.environment_files)
                await self._manager.start(prepare(service, index, files))
                return 0
            case Command(command, timeout):
                files = await host.read_environment(service.environment_files)
                unit = replace(service, environment={**service.environment, **files}, environment_files=())
                made = arguments(command, unit.environment)
                return await self._manager.run(unit, made.argv, host=made.host, timeout=timeout + MARGIN)


def reason(name: str, error: Exception) -> str:
    """One line; an error nobody foresaw (it has no kind) is also logged with its traceback."""
    if not isinstance(getattr(error, "kind", None), str):
        log.error("unit %s: %r", name, error, exc_info=error)
        return f"unforeseen {type(error).__name__}: {error}".splitlines()[0]
    return (str(error).splitlines() or [type(error).__name__])[0]
