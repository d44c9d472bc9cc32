"""All clients of a server together: how many they are, what they take of its memory, and who keeps it waiting."""

import asyncio
import contextlib
from typing import Protocol

from ..limits import Limits

SWEEP = 1.0
"""Seconds between two looks at everybody."""


class Client(Protocol):
    """A connection, whatever it speaks. `held`: bytes of memory that it takes, about."""

    held: int

    def overdue(self, now: float) -> bool:
        """Whether it must go, on the loop's clock; it may also end itself in a more polite way."""
        ...

    def leave(self) -> None:
        """Begin nothing more, and go when what is under way is answered."""
        ...

    def stop(self) -> None:
        """Go, after what was written."""
        ...

    def abort(self) -> None:
        """Go at once."""
        ...


class Crowd:
    """Of one server. `held`: bytes that all take; who takes more than there are calls `relieve`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0
        self._clients = set[Client]()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def full(self) -> bool:
        """There is no room for another one."""
        return len(self._clients) >= self.limits.connections

    def join(self, client: Client) -> None:
        """It is there."""
        self._clients.add(client)
        self._empty.clear()

    def leave(self, client: Client) -> None:
        """It is gone."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def relieve(self) -> None:
        """They take too much: who has most goes."""
        most = max(self._clients, key=lambda client: client.held, default=None)
        if most is not None:
            most.stop()
            most.abort()

    async def watch(self) -> None:
        """Let those go that keep the server waiting, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            shortest = min(self.limits.greeting, self.limits.frame, self.limits.stalled, self.limits.keepalive)
            await asyncio.sleep(min(SWEEP, shortest / 2))
            now = loop.time()
            for client in list(self._clients):
                if client.overdue(now):
                    client.abort()

    async def close(self, grace: float) -> None:
        """Everybody goes: what was asked for is answered for at most `grace` seconds."""
        for end, seconds in (("leave", grace), ("stop", self.limits.flush)):
            for client in list(self._clients):
                getattr(client, end)()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        for client in list(self._clients):
            client.abort()
