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

from hawser.store import Compacted, KeyValue, NoSpace, Store, StoreError
from hawser.store.etcd.client import EtcdStore, OutcomeUnknown
from hawser.store.text import TextStore
from tests.wait import auntil

from . import linearizable, logged, watching
from .clients import StoreClient
from .history import History
from .operations import Answer, Call, Client, Lost, Refused
from .watching import Change, Log, Session, Wanted
from .workload import Back, Watcher, work

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

    async def revision(self) -> int:
        """The store's."""
        return (await self._store.range("", prefix=True, limit=1)).revision


class Lister(Watcher):
    """A watcher that lists the keys and begins anew when it is too late."""

    async def run(self, client: Client, back: Back) -> None:
        assert isinstance(client, EtcdClient)
        while True:
            try:
                await super().run(client, back)
            except Compacted:
                self.sessions.append(Session(await client.revision() + 1, [], anew=True))


class Truth:
    """What happened, from the keys at every revision."""

    def __init__(self, store: Store) -> None:
        self.changes = list[Change]()
        self.last = 1
        self._store, self._there = store, set[str]()

    async def read(self) -> None:
        """All up to now."""
        last = (await self._store.range("", prefix=True)).revision
        for first in range(self.last + 1, last + 1, AT_ONCE):
            some = range(first, min(first + AT_ONCE, last + 1))
            found = await asyncio.gather(*(self._store.range("", prefix=True, revision=each) for each in some))
            for revision, kvs in zip(some, (each.kvs for each in found), strict=True):
                self._add(revision, kvs)
        self.last = last

    async def compact(self) -> None:
        """Read all up to now, then let the store forget it."""
        await self.read()
        await self._store.compact(self.last)

    def _add(self, revision: int, kvs: Sequence[KeyValue]) -> None:
        now = {each.key for each in kvs}
        put = (each for each in kvs if each.mod_revision == revision)
        self.changes += (Change(revision, each.key, each.value.decode()) for each in put)
        self.changes += (Change(revision, key, None) for key in sorted(self._there - now))
        self._there = now


class Load:
    """What runs on the store, until it is finished."""

    def __init__(self, clients: Sequence[EtcdClient], truth: EtcdStore) -> None:
        self.history = History()
        self.clients, self.watchers = clients, [Lister(wanted) for wanted in WATCHES]
        self.truth = Truth(TextStore(truth))
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
    connects: Sequence[Connect], reads: Sequence[Connect], truth: EtcdStore, *, seed: int
) -> AsyncIterator[Load]:
    """One client by each of `connects`, and watches by `reads` in turn, within the block; then `truth` is asked what
    happened and `problems` is filled in. The store must be well when the block ends."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        clients = [
            EtcdClient(await stack.enter_async_context(connect(f"{seed}/{number}")))
            for number, connect in enumerate(connects)
        ]
        readers = [
            EtcdClient(await stack.enter_async_context(connect(f"{seed}/watch/{number}")))
            for number, connect in enumerate(reads)
        ]
        load = Load(clients, truth)
        following = [
            tasks.create_task(watcher.run(readers[number % len(readers)], _at_once))
            for number, watcher in enumerate(load.watchers)
        ]
        async with asyncio.TaskGroup() as workers:
            for number, client in enumerate(clients):
                workers.create_task(_toil(load, f"c{number}", client, seed))
            yield load
            load.over = True
        await load.truth.read()
        log, last = Log(load.truth.changes), load.truth.last
        await auntil(lambda: all(_heard(watcher, log) for watcher in load.watchers), timeout=20, what="the watches")
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        await load.truth.read()  # what was given up may have been done just now
        load.problems = _problems(load, last)


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


def _problems(load: Load, last: int) -> list[str]:
    operations, log = load.history.operations(), Log(load.truth.changes)
    return [
        *linearizable.check(operations).problems,
        *logged.check(operations, log),
        *(line for one in load.watchers for line in watching.check(one.sessions, log, one.wanted, until=last)),
    ]
