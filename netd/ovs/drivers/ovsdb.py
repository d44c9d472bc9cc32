"""Our bridges, ports and mirrors in Open vSwitch's database: compared with what is there, changed in one transaction.

Every row of ours carries the mark `hawser-instance` in its external_ids, and its key. Nothing without it is ever
written, with one exception that the schema asks for: the list of bridges in the one row of Open_vSwitch, into which
ours are put and from which they are taken, one by one. The database only says what should be; ovs-vswitchd makes it so
and writes back numbers and errors, which `assigned` waits for.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ...errors import Unavailable
from ..rows import Assigned, OvsRow
from . import marked
from .replica import Replica

T = TypeVar("T")
WAIT = 10.0


class Ovsdb:
    """The database at a socket, from one event loop. `changed` is called on the loop after anything changed in it.

    All calls: Unavailable when the server is not there, NetError, with its words, when it refuses.
    """

    def __init__(self, db: Path, instance: str, *, changed: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._instance, self._tell = instance, changed
        self._moved = asyncio.Event()
        self._closed = False
        self._replica = Replica(db, self._threadsafe)

    async def observe(self) -> dict[str, OvsRow]:
        """Everything with this node's mark."""
        return await self._replica.do(lambda replica: marked.observe(replica.tables, self._instance), self._loop)

    async def apply(self, desired: Mapping[str, OvsRow]) -> int:
        """Have just these, in one transaction; the number of the configuration for `settled`, 0 when nothing changed.

        Invalid: a value that the schema has no place for; Conflict: a name that somebody else's bridge or port has;
        neither leaves anything. Unavailable in the middle: done or not, `observe` tells.
        """
        return await self._replica.do(
            lambda replica: replica.transact(lambda txn, tables: marked.change(txn, tables, self._instance, desired)),
            self._loop,
        )

    async def settled(self, number: int, *, timeout: float = WAIT) -> None:
        """Wait until ovs-vswitchd has made configuration `number`. Unavailable after `timeout` seconds."""
        if await self._until(marked.configuration, lambda current: current >= number, timeout) < number:
            raise Unavailable(f"ovs-vswitchd has not taken up its configuration within {timeout:g} s; does it run?")

    async def assigned(self, *, timeout: float = WAIT) -> Assigned:
        """The numbers of our ports, once each has one or cannot have one, at most after `timeout` seconds."""
        return await self._until(
            lambda tables: marked.assigned(tables, self._instance),
            lambda found: marked.PENDING not in found.errors.values(),
            timeout,
        )

    async def ofports(self, *, timeout: float = WAIT) -> Mapping[str, int]:
        """As `assigned`, those that have one."""
        return (await self.assigned(timeout=timeout)).numbers

    async def close(self) -> None:
        """Let go; nothing is removed."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._replica.close)

    async def _until(self, look: Callable[[Any], T], enough: Callable[[T], bool], timeout: float) -> T:
        deadline = time.monotonic() + timeout
        while True:
            self._moved.clear()
            found = await self._replica.do(lambda replica: look(replica.tables), self._loop)
            left = deadline - time.monotonic()
            if enough(found) or left <= 0:
                return found
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                continue

    def _threadsafe(self) -> None:
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_loop)

    def _on_loop(self) -> None:
        self._moved.set()
        self._tell()
