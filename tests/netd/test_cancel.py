"""A caller that goes away in the middle: nothing was made, or everything was removed, wherever it happens."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hawser.netd import model
from hawser.netd.agent import NetAgent
from hawser.netd.drivers.thread import complete
from hawser.netd.parse import parse_publish
from hawser.store import MemoryStore, Store

from .fake import FakeWorld


class Interrupt:
    """Cancels its victim at the nth point it passes."""

    def __init__(self) -> None:
        self.left = 0
        self.victim: asyncio.Task[Any] | None = None

    def point(self) -> None:
        if self.left == 0 and self.victim is not None:
            self.victim.cancel()
        self.left -= 1


class InterruptedStore:
    """A point before and after every call; what was begun arrives, whether its caller is still there or not."""

    def __init__(self, real: Store, interrupt: Interrupt) -> None:
        self._real, self._interrupt = real, interrupt

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)

        async def late(*args: Any, **kwargs: Any) -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            return await real(*args, **kwargs)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._interrupt.point()
            result = await asyncio.shield(late(*args, **kwargs))
            self._interrupt.point()
            await asyncio.sleep(0)
            return result

        return call


class InterruptedKernel:
    """A point before and after every call, passed on the loop while the kernel's thread waits."""

    def __init__(self, real: FakeWorld, interrupt: Interrupt) -> None:
        self._real, self._interrupt, self._loop = real, interrupt, asyncio.get_running_loop()

    def _point(self) -> None:
        passed = threading.Event()
        self._loop.call_soon_threadsafe(self._interrupt.point)
        self._loop.call_soon_threadsafe(passed.set)
        assert passed.wait(5)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name == "close":
            return real

        def call(*args: Any) -> Any:
            self._point()
            result = real(*args)
            self._point()
            return result

        return call


class Stage:
    """An agent whose store and kernel interrupt, and what can be seen of it."""

    def __init__(self, instance: str, rundir: Path) -> None:
        self.interrupt = Interrupt()
        self.store = MemoryStore()
        self.kernel = FakeWorld(instance, rundir)
        kernel = InterruptedKernel(self.kernel, self.interrupt)
        store: Any = InterruptedStore(self.store, self.interrupt)
        self.net = NetAgent(store, instance, rundir, kernel=lambda *_: kernel)

    async def seen(self) -> tuple[dict[str, bytes], dict[str, Any], tuple[Any, ...]]:
        kvs = (await self.store.range(model.ROOT, prefix=True)).kvs
        return {entry.key: entry.value for entry in kvs}, dict(self.kernel.things), self.net.attachments()

    async def cancelled_at(self, point: int, verb: Callable[[], Awaitable[object]]) -> bool:
        """Run a verb; whether it was cancelled at that point (it has not so many, else)."""

        async def run() -> None:
            await verb()

        async with asyncio.TaskGroup() as group:
            self.interrupt.left = point
            self.interrupt.victim = group.create_task(run())
            await asyncio.wait([self.interrupt.victim])
            cancelled, self.interrupt.victim = self.interrupt.victim.cancelled(), None
        return cancelled


@pytest.fixture
async def stage(instance: str, rundir: Path) -> AsyncIterator[Stage]:
    stage = Stage(instance, rundir)
    await stage.net.open()
    await stage.net.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24", "fd00::/64"]})
    await stage.net.make_sandbox("a")
    await stage.net.attach("a", tenant="t", network="n")  # once, so that the tenant has its number here
    await stage.net.detach("a", "eth0")
    yield stage
    await stage.net.close()
    await stage.store.close()


def attach(net: NetAgent) -> Awaitable[object]:
    return net.attach("a", tenant="t", network="n", publish=[parse_publish("80:80"), parse_publish("[fd00::9]:81:81")])


MAKE: dict[str, tuple[Callable[[NetAgent], Awaitable[object]], int]] = {
    "attach": (attach, 20),
    "create_network": (lambda net: net.create_network({"tenant": "t", "name": "m"}), 6),
    "make_sandbox": (lambda net: net.make_sandbox("b"), 4),
}
REMOVE: dict[str, tuple[str, Callable[[NetAgent], Awaitable[object]], int]] = {
    "detach": ("attach", lambda net: net.detach("a", "eth0"), 10),
    "remove_sandbox": ("make_sandbox", lambda net: net.remove_sandbox("b"), 4),
    "remove_network": ("create_network", lambda net: net.remove_network("t", "m"), 6),
}


@pytest.mark.parametrize("verb", MAKE)
async def test_cancelled_anywhere_a_making_has_made_nothing(stage: Stage, verb: str) -> None:
    act, least = MAKE[verb]
    before, point = await stage.seen(), 0
    while await stage.cancelled_at(point, lambda: act(stage.net)):
        assert await stage.seen() == before, point
        assert await stage.net.plan() == (), point
        point += 1
    assert await stage.seen() != before
    assert point >= least


@pytest.mark.parametrize("verb", REMOVE)
async def test_cancelled_anywhere_a_removal_has_removed_everything(stage: Stage, verb: str) -> None:
    make, act, least = REMOVE[verb]
    before, point, cancelled = await stage.seen(), 0, True
    while cancelled:
        await MAKE[make][0](stage.net)
        cancelled = await stage.cancelled_at(point, lambda: act(stage.net))
        assert await stage.seen() == before, point
        assert await stage.net.plan() == (), point
        point += 1
    assert point >= least


async def test_a_caller_that_waits_for_its_turn_and_goes_away_has_done_nothing(stage: Stage) -> None:
    before = await stage.seen()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(stage.net.make_sandbox("b"))
        second = group.create_task(stage.net.make_sandbox("c"))
        await asyncio.sleep(0)
        second.cancel()
        await first
    await stage.net.remove_sandbox("b")
    assert await stage.seen() == before


async def test_two_cancellations_do_not_cut_the_undoing() -> None:
    trace: list[str] = []

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def work() -> None:
        await turns(20)
        trace.append("made")

    async def undo() -> None:
        await turns(20)
        trace.append("undone")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(complete(work(), undo))
        for _ in range(10):
            await turns(4)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert trace == ["made", "undone"]


async def test_what_fails_is_not_undone_twice() -> None:
    async def work() -> None:
        raise KeyError("x")

    async def undo() -> None:
        raise AssertionError

    with pytest.raises(KeyError):
        await complete(work(), undo)
