"""The embedded engine by what its clients see, while it is killed and comes back: linearizable, its watches keep their
guarantees, and its log is what was said of it.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest

from hawser.store import MemoryStore, SqliteStore, Store
from tests.wait import auntil

from . import linearizable, logged, watching
from .clients import StoreClient
from .history import History, load
from .operations import Answer, Call, Found, Get, Operation, Put
from .served import SocketClient
from .victims import Victim, alive, kill_at_times, module
from .watching import Batch, Log, Message, Wanted
from .workload import Watcher, work

CLIENTS = [f"c{number}" for number in range(8)]
KEYS = ["a", "b", "c", "d"]
WATCHES = [Wanted(), Wanted("b", "c"), Wanted("c", deletes=False), Wanted(puts=False)]


def served_store(directory: Path) -> Victim:
    return module("served", directory / "store", directory / "socket")


async def told(store: Store, last: int) -> Log:
    """The store's own log up to a revision: a watch of everything, read without haste."""
    reader = Watcher(Wanted())
    await reader.until(StoreClient(store), last)
    batches = [message for message in reader.sessions[0].messages if isinstance(message, Batch)]
    return Log([event.change for batch in batches for event in batch.events])


def problems(operations: Sequence[Operation], log: Log, watchers: Sequence[Watcher], last: int) -> list[str]:
    """All that is wrong."""
    return [
        *linearizable.check(operations).problems,
        *logged.check(operations, log),
        *(line for one in watchers for line in watching.check(one.sessions, log, one.wanted, until=last)),
    ]


async def now(client: StoreClient | SocketClient) -> int:
    """The store's revision."""
    found = await client.perform(Get("a"))
    assert isinstance(found, Found)
    assert found.revision is not None
    return found.revision


def _reached(watchers: Sequence[Watcher], revision: int) -> bool:
    return all(watcher.reached() >= revision for watcher in watchers)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_again_and_again_it_is_linearizable_and_its_watches_lose_and_repeat_nothing(
    seed: int, rundir: Path
) -> None:
    history, watchers = History(rundir / "history"), [Watcher(wanted) for wanted in WATCHES]
    async with alive(served_store(rundir)) as served:
        clients = [SocketClient(rundir / "socket") for _ in range(len(CLIENTS) + len(watchers))]
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(watcher.run(client, served.back))
                for watcher, client in zip(watchers, clients[len(CLIENTS) :], strict=True)
            ]
            async with asyncio.TaskGroup() as workers:
                workers.create_task(kill_at_times(served, history, 4, random.Random(seed)))
                for name, client in zip(CLIENTS, clients, strict=False):
                    workers.create_task(work(name, client, history, keys=KEYS, count=400, seed=seed, back=served.back))
            last = await now(clients[0])
            await auntil(partial(_reached, watchers, last), timeout=30, what="the watches")
            for task in following:
                task.cancel()
        for client in clients:
            client.close()
    history.close()
    store = await SqliteStore.open(rundir / "store", keep=None)
    log = await told(store, last)
    await store.close()
    assert problems(load(rundir / "history"), log, watchers, last) == []
    assert sum(operation.answer is None for operation in history.operations()) > 4
    assert all(len(watcher.sessions) > 4 for watcher in watchers)


async def in_process(client: StoreClient, store: Store) -> list[str]:
    """All that is wrong with a store of this process, as such a client shows it."""
    history, watchers = History(), [Watcher(wanted) for wanted in WATCHES]

    async def back() -> None:
        raise AssertionError("the store refused")

    async with asyncio.TaskGroup() as tasks:
        for name in CLIENTS:
            tasks.create_task(work(name, client, history, keys=KEYS, count=50, seed=1, back=back))
    last = await now(StoreClient(store))
    async with asyncio.TaskGroup() as tasks:
        for watcher in watchers:
            tasks.create_task(watcher.until(client, last))
    return problems(history.operations(), await told(store, last), watchers, last)


async def test_every_engine_is_linearizable_for_clients_in_its_process(store: Store) -> None:
    assert await in_process(StoreClient(store), store) == []


class Caching(StoreClient):
    """A client with a fault: every tenth read is the answer to the one of the same key before it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._answers = dict[Call, Answer]()
        self._count = 0

    async def perform(self, call: Call) -> Answer:
        self._count += 1
        if self._count % 10 or call not in self._answers:
            self._answers[call] = await super().perform(call)
        return self._answers[call]


class Retrying(StoreClient):
    """A client with a fault: now and then it puts again what was put already."""

    async def perform(self, call: Call) -> Answer:
        if isinstance(call, Put) and call.value.endswith("7"):
            await super().perform(call)
        return await super().perform(call)


class Skipping(StoreClient):
    """A client with a fault: its watches lose a message."""

    async def watch(self, wanted: Wanted, start: int) -> AsyncGenerator[Message, None]:
        count = 0
        async with aclosing(super().watch(wanted, start)) as messages:
            async for message in messages:
                count += 1
                if count != 3:
                    yield message


@pytest.mark.parametrize(
    ("faulty", "words"),
    [(Caching, "no order explains"), (Retrying, "2 times, it was asked for 1"), (Skipping, "never told")],
)
async def test_a_fault_between_a_client_and_the_store_is_found(faulty: type[StoreClient], words: str) -> None:
    store = MemoryStore()
    found = await in_process(faulty(store), store)
    await store.close()
    assert any(words in problem for problem in found)


async def test_a_disk_that_loses_what_was_acknowledged_is_found(rundir: Path) -> None:
    history, disk, copy = History(), rundir / "store", rundir / "copy"
    async with alive(served_store(rundir)) as served:
        for life in range(3):
            async with asyncio.TaskGroup() as tasks:
                clients = [SocketClient(rundir / "socket") for _ in CLIENTS]
                for name, client in zip(CLIENTS, clients, strict=True):
                    name = f"{name}.{life}"
                    tasks.create_task(work(name, client, history, keys=KEYS, count=20, seed=1, back=served.back))
            for client in clients:
                client.close()
            await served.kill()
            if life == 0:
                shutil.copytree(disk, copy)
            if life == 1:
                shutil.rmtree(disk)
                copy.rename(disk)
            await served.start()
    found = "\n".join(linearizable.check(history.operations()).problems)
    assert "the revision went back" in found
    assert "no order explains" in found
