"""Servers in processes of their own, to be killed at any moment and started again with what their disk has."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tests.wait import auntil

from .history import History

ROOT = Path(__file__).parents[3]


class Victim:
    """A server. `open_line` is what it says when it answers; b"": nothing, its clients find out."""

    def __init__(self, command: Sequence[object], *, open_line: bytes = b"") -> None:
        self.up = asyncio.Event()
        self._command, self._open_line = [str(word) for word in command], open_line
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE if self._open_line else asyncio.subprocess.DEVNULL
        quiet = None if self._open_line else asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, cwd=ROOT, stdout=pipe, stderr=quiet)
        if self._process.stdout is not None:
            assert await self._process.stdout.readline() == self._open_line
        self.up.set()

    async def kill(self) -> None:
        if self._process is None:
            return
        self.up.clear()
        self._process.send_signal(signal.SIGKILL)
        assert await self._process.wait() == -signal.SIGKILL
        self._process = None

    async def back(self) -> None:
        await self.up.wait()


def module(name: str, *words: object) -> Victim:
    """A module of the proofs that says `open`."""
    return Victim([sys.executable, "-m", f"tests.store.proofs.{name}", *words], open_line=b"open\n")


@asynccontextmanager
async def alive(served: Victim) -> AsyncIterator[Victim]:
    """Started, and dead afterwards."""
    try:
        await served.start()
        yield served
    finally:
        await served.kill()


async def kill_at_times(served: Victim, history: History, kills: int, dice: random.Random) -> None:
    """Kill it each time that so much more was said, with what is then under way."""
    for _ in range(kills):
        enough = len(history.lines) + dice.randrange(100, 500)
        await auntil(partial(_longer, history, enough), timeout=30, what="work")
        await served.kill()
        await served.start()


def _longer(history: History, lines: int) -> bool:
    return len(history.lines) >= lines
