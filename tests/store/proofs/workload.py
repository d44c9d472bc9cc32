"""What clients do to a store under test: a seeded mix of operations on few keys, and watchers that resume.

Clients go on through the store's deaths: an operation without an answer stays in the history as it is; after a refusal
they wait until the store is back. A watcher begins a new session after the last revision that it was told.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from .history import History
from .operations import Call, Client, Delete, Found, Get, Lost, Put, PutAll, Refused, Swap
from .watching import Session, Wanted, revisions_of

Back = Callable[[], Awaitable[None]]


def mixed(dice: random.Random, value: str, keys: Sequence[str], known: Found) -> Call:
    """Any operation on the first of the keys; `known`: what the client read of it last."""
    (key, *others) = keys
    kind = dice.choice(("get", "get", "get", "put", "put", "put-all", "mod", "version", "delete"))
    match kind:
        case "get":
            return Get(key)
        case "put":
            return Put(key, value)
        case "put-all":
            return PutAll((key, *others[:1]), value)
        case "mod":
            return Swap(key, value, "mod", known.mod)
        case "version":
            return Swap(key, value, "version", known.version or 0)
    return Delete(key)


async def work(
    name: str, client: Client, history: History, *, keys: Sequence[str], count: int, seed: int, back: Back
) -> None:
    """Perform `count` operations; `back` waits until a store that refused may be asked again."""
    dice = random.Random(f"{seed}/{name}")
    known = dict[str, Found]()
    for number in range(count):
        shuffled = dice.sample(keys, len(keys))
        call = mixed(dice, f"{name}.{number}", shuffled, known.get(shuffled[0], Found(None)))
        try:
            answer = await history.perform(name, client, call)
        except Refused:
            await back()
            continue
        if isinstance(answer, Found):
            known[shuffled[0]] = answer


class Watcher:
    """One watch that is resumed for ever; `sessions` is its record."""

    def __init__(self, wanted: Wanted, start: int = 1) -> None:
        self.wanted = wanted
        self.sessions = [Session(start, [])]

    def reached(self) -> int:
        """All up to this revision was told."""
        return self.sessions[-1].reached()

    async def run(self, client: Client, back: Back) -> None:
        """Watch until cancelled; `back` waits until a store that went away may be asked again."""
        while True:
            await self._follow(client)
            await back()
            self.sessions.append(Session(self.reached() + 1, []))

    async def until(self, client: Client, revision: int) -> None:
        """Watch until all up to a revision was told, or the store goes away."""
        await self._follow(client, revision)

    async def _follow(self, client: Client, last: int | None = None) -> None:
        session = self.sessions[-1]
        try:
            async with aclosing(client.watch(self.wanted, session.start)) as stream:
                async for message in stream:
                    session.messages.append(message)
                    if last is not None and max(revisions_of(message)) >= last and self.reached() >= last:
                        return
        except Lost:
            return
