"""A step that is over is broken off once, and may clean up behind itself."""

import asyncio

from hawser.sched.actions import Actions
from hawser.sched.held import Held

from .fakes import FakeManager, World


class Stubborn:
    """A step under way that takes its time to end."""

    def __init__(self) -> None:
        self.asked = 0

    def cancel(self) -> bool:
        self.asked += 1
        return True

    def cancelling(self) -> int:
        return self.asked


async def test_a_step_that_is_over_is_cancelled_once_however_often_it_is_looked_at() -> None:
    work = Stubborn()
    held = Held("u.service", "hash", None, clear=True, task=work, working=7)
    async with asyncio.TaskGroup() as group:
        actions = Actions(FakeManager(World()), group, lambda: None)
        for _ in range(3):
            actions.tend(held, may_clear=True)
    assert work.asked == 1
