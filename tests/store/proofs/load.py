"""A load on a store in etcd's protocol: clients, watches that resume, and what is wrong in the end.

The clients are believed when they say that nothing was done: only an outcome that they call unknown is one, and that of
a change refused for want of space, which etcd may have made before it noticed. The truth
is read in another way than watches go: the keys at every revision.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from hawser.store import NoSpace, RangeResult, Store, StoreError
from hawser.store.etcd.client import EtcdStore, OutcomeUnknown
from hawser.store.text import TextStore
from tests.wait import auntil

from . import linearizable, logged, watching
from .clients import StoreClient
from .history import History
from .operations import Answer, Call, Lost, Refused
from .watching import Change, Log, Wanted
from .workload import Watcher, work

KEYS = ["a", "b", "c", "d"]
WATCHES = [Wanted(), Wanted("b", "c"), Wanted("c", deletes=False), Wanted(puts=False)]
ROUND = 20
AT_ONCE = 64

Connect = Callable[[str], AbstractAsyncContextManager[EtcdStore]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that ended with an error, and the seconds that it took."""

    error: StoreError
    seconds: float


class EtcdClient(StoreClient):
    """A `Client` through etcd's protocol."""

    def __init__(self, raw: EtcdStore) -> None:
        super().__init__(TextStore(raw))
        self.answered = 0
        self.failures = list[Failure]()

    async def perform(self, call: Call) -> Answer:
        began = time.monotonic()
        try:
            answer = await self._perform(call)
        except StoreError as error:
            self.failures.append(Failure(error, time.monotonic() - began))
            kind = Lost if isinstance(error, OutcomeUnknown | NoSpace) else Refused
            raise kind(str(error)) from error
        self.answered += 1
        return answer


class Load:
    """What runs on the store, until it is finished."""

    def __init__(self, clients: Sequence[EtcdClient], watchers: Sequence[Watcher]) -> None:
        self.history = History()
        self.clients, self.watchers = clients, watchers
        self.over = False
        self.problems: list[str] | None = None
        """All that was wrong; None before it is finished."""

    @property
    def failures(self) -> list[Failure]:
        return [failure for client in self.clients for failure in client.failures]

    def answered(self) -> int:
        return sum(client.answered for client in self.clients)

    async def more(self, answers: int = 40, *, by: "Sequence[EtcdClient] | None" = None) -> None:
        """Wait for so many more answers to each client, or to each of some."""
        enough = {client: client.answered + answers for client in by or self.clients}
        what = f"{answers} answers to each"
        await auntil(lambda: all(client.answered >= most for client, most in enough.items()), timeout=20, what=what)


@asynccontextmanager
async def loaded(
    connects: Sequence[Connect], watching_by: Connect, truth: EtcdStore, *, seed: int
) -> AsyncIterator[Load]:
    """One client by each of `connects`, and watches, within the block; then `truth` is asked what happened and
    `problems` is filled in. The store must be well when the block ends."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        clients = [
            EtcdClient(await stack.enter_async_context(connect(f"{seed}/{number}")))
            for number, connect in enumerate(connects)
        ]
        readers = [
            EtcdClient(await stack.enter_async_context(watching_by(f"{seed}/watch/{number}"))) for number in range(2)
        ]
        load = Load(clients, [Watcher(wanted) for wanted in WATCHES])
        following = [
            tasks.create_task(watcher.run(readers[number % 2], _at_once))
            for number, watcher in enumerate(load.watchers)
        ]
        async with asyncio.TaskGroup() as workers:
            for number, client in enumerate(clients):
                workers.create_task(_toil(load, f"c{number}", client, seed))
            yield load
            load.over = True
        log, last = await told(TextStore(truth))
        await auntil(lambda: all(_heard(watcher, log) for watcher in load.watchers), timeout=20, what="the watches")
        for task in following:
            task.cancel()
        load.problems = problems(load, log, last)


async def _toil(load: Load, name: str, client: EtcdClient, seed: int) -> None:
    turn = 0
    while not load.over:
        turn += 1
        await work(f"{name}.{turn}", client, load.history, keys=KEYS, count=ROUND, seed=seed, back=_at_once)


async def _at_once() -> None:
    """The client itself waits until it may ask again."""


def _heard(watcher: Watcher, log: Log) -> bool:
    last = max((change.revision for change in log.changes if watcher.wanted.includes(change)), default=0)
    return watcher.reached() >= last


async def told(store: Store) -> tuple[Log, int]:
    """What happened from the beginning on, from the keys at every revision; and the last one."""
    last = (await store.range("", prefix=True)).revision
    changes, there = list[Change](), set[str]()
    for first in range(2, last + 1, AT_ONCE):
        some = range(first, min(first + AT_ONCE, last + 1))
        for revision, found in zip(some, await asyncio.gather(*(_at(store, each) for each in some)), strict=True):
            put = [each for each in found.kvs if each.mod_revision == revision]
            now = {each.key for each in found.kvs}
            changes += [Change(revision, each.key, each.value.decode()) for each in put]
            changes += [Change(revision, key, None) for key in sorted(there - now)]
            there = now
    return Log(changes), last


async def _at(store: Store, revision: int) -> RangeResult:
    return await store.range("", prefix=True, revision=revision)


def problems(load: Load, log: Log, last: int) -> list[str]:
    """All that is wrong."""
    operations = load.history.operations()
    return [
        *linearizable.check(operations).problems,
        *logged.check(operations, log),
        *(line for one in load.watchers for line in watching.check(one.sessions, log, one.wanted, until=last)),
    ]
