"""The agent's loop: it runs when woken, when a retry is due, and now and then; a wake is never lost."""

import asyncio

import pytest

from hawser.store.loop import reconcile_loop
from tests.wait import auntil


class Once:
    """A reconcile that counts and answers what it was told to."""

    def __init__(self, *again: float | None) -> None:
        self.calls: list[float] = []
        self.again = list(again)
        self.during = asyncio.Event()

    async def __call__(self) -> float | None:
        self.calls.append(asyncio.get_running_loop().time())
        self.during.set()
        await asyncio.sleep(0)
        return self.again.pop(0) if self.again else None


async def run(once: Once, wake: asyncio.Event, interval: float, calls: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(reconcile_loop(once, wake, interval))
        await auntil(lambda: len(once.calls) >= calls)
        loop.cancel()


async def test_it_begins_at_once_and_comes_back_by_itself() -> None:
    once = Once()
    await run(once, asyncio.Event(), 0.02, calls=3)
    assert once.calls[1] - once.calls[0] >= 0.02
    assert once.calls[2] - once.calls[1] >= 0.02


async def test_it_returns_when_the_retry_is_due_but_never_later_than_the_interval() -> None:
    once = Once(0.03, 1000.0)
    await run(once, asyncio.Event(), 0.1, calls=3)
    assert 0.03 <= once.calls[1] - once.calls[0] < 0.1
    assert once.calls[2] - once.calls[1] >= 0.1


async def test_a_wake_runs_it_now() -> None:
    once, wake = Once(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(reconcile_loop(once, wake, 1000.0))
        await auntil(lambda: len(once.calls) == 1)
        wake.set()
        await auntil(lambda: len(once.calls) == 2)
        loop.cancel()


async def test_a_wake_during_a_run_is_not_lost() -> None:
    once, wake = Once(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(reconcile_loop(once, wake, 1000.0))
        await once.during.wait()
        wake.set()
        await auntil(lambda: len(once.calls) == 2)
        loop.cancel()


async def test_a_retry_that_is_overdue_leaves_room_for_others() -> None:
    once, others = Once(*[0.0] * 100), 0

    async def beside() -> None:
        nonlocal others
        while len(once.calls) < 50:
            others += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(reconcile_loop(once, asyncio.Event(), 1000.0))
        await tasks.create_task(beside())
        loop.cancel()
    assert others >= 50


async def test_what_once_cannot_handle_ends_the_loop() -> None:
    async def broken() -> float | None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await reconcile_loop(broken, asyncio.Event(), 1.0)
