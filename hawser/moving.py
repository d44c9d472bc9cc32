"""A running machine's store moves: from its own into an etcd, or back, with nothing lost.

While the node goes on everything is copied, and what changes meanwhile is followed. Then the node's parts stop (its
containers do not), what is left is followed, both stores are compared by count and hash, and only then is it written
down which one the machine uses. The node starts again in the same process, on the other store when all went well, on
the old one when not.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

from hawser.store import SqliteStore, TextStore
from hawser.store.background import background
from hawser.store.cluster.drivers.home import Home
from hawser.store.digest import Digest
from hawser.store.migrate import Migration, Progress

from .backing import Backing, Etcd, etcd_store
from .clustering.settle import keep_to, set_aside
from .faults import Fault

ROUNDS = 3


class Move:
    """From `backing` to `target`, or with None to the machine's own store in `data`."""

    def __init__(self, backing: Backing, target: Etcd | None, data: Path, machine: str) -> None:
        self._backing, self._target, self._data, self._machine = backing, target, data, machine
        self._stack = AsyncExitStack()
        self._migration: Migration | None = None
        self._into: TextStore | None = None
        self._told: asyncio.Queue[Progress | None] = asyncio.Queue()
        self.copied = False
        """Whether only the rest is left, which needs a node that has stopped"""
        self.result: asyncio.Future[Digest] = asyncio.get_running_loop().create_future()

    async def copy(self, *, overwrite: bool) -> AsyncGenerator[Progress, None]:
        """Everything, while the node goes on; who stops listening ends it. StoreError (in a group): nothing has changed
        for the machine."""
        async with background(self._copy(overwrite)):
            async for progress in self.rest():
                yield progress

    async def rest(self) -> AsyncGenerator[Progress, None]:
        """What is told until this phase is over."""
        while (progress := await self._told.get()) is not None:
            yield progress

    async def _copy(self, overwrite: bool) -> None:
        try:
            self._into = await self._open()
            self._migration = Migration(self._backing.store.raw, self._into.raw, self._told.put_nowait)
            await self._migration.copy(overwrite=overwrite)
            for _ in range(ROUNDS):  # each is shorter than the last
                await self._migration.follow()
            self.copied = True
        finally:
            self._told.put_nowait(None)

    async def finish(self) -> None:
        """The rest, when nothing of the node writes any more. The result is set, or why there is none."""
        assert self._migration is not None
        try:
            await self._backing.hush()
            await self._migration.follow()
            moved = await self._migration.verify()
            await self._keep()
        except Exception as error:
            self.result.set_exception(error)
        else:
            self.result.set_result(moved)
        finally:
            self._told.put_nowait(None)
            await self._stack.aclose()

    async def give_up(self) -> None:
        """Let go of the target."""
        await self._stack.aclose()

    async def _open(self) -> TextStore:
        if self._target is not None:
            return (await self._stack.enter_async_context(etcd_store(self._target))).store
        store = await SqliteStore.open(self._data / "store")
        self._stack.push_async_callback(store.close)
        return store

    async def _keep(self) -> None:
        """From now on the machine uses the target."""
        home = Home(self._data / "cluster")
        if self._target is None:
            home.forget()
            return
        assert self._into is not None
        await keep_to(home, None, self._into, self._machine, self._target)
        set_aside(self._data)


def check(target: Etcd | None, clustered: bool, uses_etcd: bool) -> None:
    """Fault when a machine cannot move there."""
    if clustered:
        raise Fault("this machine's store is its cluster's; leave that first: hawser node leave", "conflict")
    if (target is None) != uses_etcd:
        where = (
            "its own store already"
            if target is None
            else "an etcd already; move it back first: hawser kv migrate --to sqlite"
        )
        raise Fault(f"this machine uses {where}", "conflict")
