"""Processes in memory: the contract of `UnitManager` with nothing behind it.

A command's first word says what it does: `run` goes on, `exit N` ends with N, `stubborn` does not end on a signal,
`die N` is killed by N, `broken` cannot be started, `hang` never returns. The `World` outlives its managers, as
processes outlive a node; of a unit in `stuck` the context cannot be removed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hawser.sched.errors import SchedError
from hawser.sched.manager import Process
from hawser.sched.model import Service


class Broken(SchedError):
    """What a manager raises when an image or a network is missing."""

    kind = "not-found"


@dataclass
class World:
    """The processes of a machine and what was done to them, as `verb unit detail`."""

    processes: dict[str, Process] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    stubborn: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    environments: dict[str, Mapping[str, str]] = field(default_factory=dict)
    starts: int = 0

    def end(self, unit: str, code: int | None = None, signal: int = 0) -> None:
        """A process ends by itself, or somebody kills it."""
        old = self.processes[unit]
        self.processes[unit] = Process(
            unit=unit, hash=old.hash, running=False, code=code, signal=signal, started=old.started
        )

    def running(self, unit: str) -> bool:
        return unit in self.processes and self.processes[unit].running

    def did(self, verb: str, unit: str) -> list[str]:
        """The details of everything of one kind done to a unit."""
        head = f"{verb} {unit} "
        return [line.removeprefix(head) for line in self.log if line.startswith(head)]


class FakeManager:
    """A manager of `world`; `changed` is called when a process starts or ends."""

    def __init__(self, world: World, changed: Callable[[], None] = lambda: None) -> None:
        self.world = world
        self.changed = changed

    async def start(self, unit: Service) -> None:
        argv = unit.command.argv
        self.world.log.append(f"start {unit.name} {' '.join(argv)}")
        await asyncio.sleep(0)
        if argv[0] == "broken":
            raise Broken(f"image {argv[1]} does not exist; import it first")
        if argv[0] == "hang":
            await asyncio.Event().wait()
        self.world.starts += 1
        self.world.environments[unit.name] = unit.environment
        process = Process(unit=unit.name, hash=unit.hash, running=True, started=float(self.world.starts))
        self.world.processes[unit.name] = process
        self.world.stubborn.discard(unit.name)
        if argv[0] == "stubborn":
            self.world.stubborn.add(unit.name)
        if argv[0] == "exit":
            self.world.end(unit.name, code=int(argv[1]))
        if argv[0] == "die":
            self.world.end(unit.name, signal=int(argv[1]))
        self.changed()

    async def run(self, unit: Service, argv: Sequence[str], *, host: bool, timeout: float) -> int:
        where = "host" if host or unit.container is None else "container"
        self.world.log.append(f"run {unit.name} {where}: {' '.join(argv)}")
        await asyncio.sleep(0)
        if argv[0] == "broken":
            raise Broken(f"{argv[0]}: no such command")
        if argv[0] == "hang":
            async with asyncio.timeout(timeout):
                await asyncio.Event().wait()
        return int(argv[1]) if argv[0] == "exit" else 0

    async def stop(self, unit: Service, timeout: float) -> None:
        self.world.log.append(f"stop {unit.name} {timeout:g}")
        await asyncio.sleep(0)
        if self.world.running(unit.name):
            self.world.end(unit.name, signal=9 if unit.name in self.world.stubborn else unit.kill_signal)
            self.changed()

    async def clear(self, name: str) -> None:
        self.world.log.append(f"clear {name} ")
        await asyncio.sleep(0)
        if name in self.world.stuck:
            raise Broken(f"mount of {name} is busy")
        self.world.processes.pop(name, None)

    def observe(self) -> Mapping[str, Process]:
        return dict(self.world.processes)
