"""Questions from machine to machine through the store, for what only the machine itself can see.

A question is a key beneath the asked machine's own prefix, an answer one beneath the question's; both hang on the
asker's lease, so that nothing is left when it goes. A machine that does not answer in time is named. Whoever can write
to the store can ask: answers only tell what that machine's own records allow.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from hawser.store import KeyValue, Store, StoreError, WatchBatch
from hawser.store.follow import follow
from hawser.store.session import open_session

from ...errors import NetError

ROOT = "/hawser/watch"
ASKED, TOLD = f"{ROOT}/asked/", f"{ROOT}/told/"
AT_ONCE, GRACE = 8, 10.0
Answerer = Callable[[Mapping[str, Any]], Awaitable[object]]
log = logging.getLogger(__name__)


class Asking:
    """One machine's: it answers by `answerers`, by the kind of question, while `run` runs."""

    def __init__(self, store: Store, machine: str, answerers: Mapping[str, Answerer]) -> None:
        self._store, self._machine, self.answerers = store, machine, dict(answerers)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._seen: set[str] = set()

    async def ask(
        self, machines: Collection[str], kind: str, question: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """Answers by machine, within `timeout` seconds, or the NetError why there is none."""
        found: dict[str, Any] = {machine: NetError("its node does not answer") for machine in machines}
        if machines:
            try:
                await self._ask(found, kind, question, timeout)
            except StoreError as error:
                why = NetError(f"the store is away: {error}")
                found = {machine: why if isinstance(there, NetError) else there for machine, there in found.items()}
        return found

    async def _ask(self, found: dict[str, Any], kind: str, question: Mapping[str, Any], timeout: float) -> None:
        name, left = os.urandom(8).hex(), set(found)
        async with open_session(self._store, timeout + GRACE) as session:
            value = json.dumps({"kind": kind, "question": question, "lease": session.lease}).encode()
            prefix = f"{TOLD}{name}/"
            begun = 0
            for machine in found:
                revision = await self._store.put(f"{ASKED}{machine}/{name}", value, lease=session.lease)
                begun = begun or revision
            try:
                async with (
                    asyncio.timeout(timeout),
                    self._store.watch(prefix, prefix=True, from_revision=begun) as batches,
                ):
                    async for batch in batches:
                        for event in batch.events:
                            machine = event.kv.key.removeprefix(prefix)
                            if event.kv.value and machine in left:
                                found[machine] = _read(event.kv.value)
                                left.remove(machine)
                        if not left:
                            break
            except TimeoutError:
                pass

    async def run(self) -> None:
        """Answer, until cancelled."""
        prefix = f"{ASKED}{self._machine}/"
        async with asyncio.TaskGroup() as group:

            def begin(entry: KeyValue) -> None:
                if entry.key not in self._seen:
                    self._seen.add(entry.key)
                    group.create_task(self._answer(entry.key.removeprefix(prefix), entry.value))

            def reset(entries: Sequence[KeyValue], revision: int) -> None:
                self._seen &= {entry.key for entry in entries}
                for entry in entries:
                    begin(entry)

            def changed(batch: WatchBatch) -> None:
                for event in batch.events:
                    if event.kv.value:
                        begin(event.kv)
                    else:
                        self._seen.discard(event.kv.key)

            await follow(self._store, prefix, reset, changed)

    async def _answer(self, name: str, value: bytes) -> None:
        try:
            asked = json.loads(value)
            answerer, lease = self.answerers[asked["kind"]], int(asked["lease"])
            async with self._room:
                told: dict[str, object] = {"answer": await answerer(asked["question"])}
        except (NetError, StoreError) as error:
            told = {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
            log.warning("a question that cannot be answered: %s", error)
            return
        try:
            await self._store.put(f"{TOLD}{name}/{self._machine}", json.dumps(told).encode(), lease=lease)
        except StoreError as error:  # who asked has gone
            log.info("an answer came too late: %s", error)


def _read(value: bytes) -> Any:
    try:
        told = json.loads(value)
        return NetError(str(told["error"])) if "error" in told else told["answer"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return NetError("its answer cannot be read")
