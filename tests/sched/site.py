"""A machine for tests: store, engine, agent and fake manager, with an operator's verbs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hawser.sched.agent import Agent
from hawser.sched.engine import Engine
from hawser.sched.placement import Machine
from hawser.sched.registry import Registry
from hawser.store import MemoryStore, Store

from .fakes import FakeManager, World

MACHINE = "m1"


class Site:
    """One machine; `node()` is the time a node process lives on it."""

    def __init__(self, store: Store | None = None) -> None:
        self.store: Store = store or MemoryStore()
        self.world = World()
        self.units = Registry(self.store)
        self.boot = "boot-1"
        self.agent: Agent | None = None

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Agent]:
        """The node runs inside the block, and is killed at its end."""
        manager = FakeManager(self.world)
        agent = self.agent = Agent(self.store, MACHINE, manager, boot=self.boot)
        manager.changed = agent.wake
        async with asyncio.TaskGroup() as group:
            engine = Engine(self.store, lambda: [Machine(id=MACHINE)])
            tasks = [group.create_task(agent.run()), group.create_task(engine.run())]
            try:
                yield agent
            finally:
                for task in tasks:
                    task.cancel()

    async def start(self, name: str, text: str) -> None:
        await self.units.submit(name, text)
        await self.units.set_desired(name, "launched")

    async def kill(self, name: str, code: int | None = None, signal: int = 0) -> None:
        """The unit's process ends."""
        self.world.end(name, code, signal)
        assert self.agent is not None
        self.agent.wake()

    async def becomes(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a row that has these values, as an agent and not an order made them, and return it."""
        row = await self.eventually(
            lambda: self.units.show(name),
            lambda row: (
                all(row[key] == value for key, value in wanted.items()) and "has not acted yet" not in row["reason"]
            ),
        )
        assert isinstance(row, dict)
        return row

    async def eventually(self, ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool]) -> Any:
        """Ask until the answer is good; AssertionError with the last answer after 5 seconds."""
        deadline = asyncio.get_running_loop().time() + 5
        while not good(answer := await ask()):
            assert asyncio.get_running_loop().time() < deadline, f"still {answer}"
            await asyncio.sleep(0.002)
        return answer


def unit(start: str = "run", **keys: str) -> str:
    """A unit file: `ExecStart=start` and more [Service] keys; a list of commands stands apart by `;`."""
    lines = [f"ExecStart={start}", *(f"{key}={value}" for key, value in keys.items())]
    return "[Service]\n" + "\n".join(lines) + "\n"
