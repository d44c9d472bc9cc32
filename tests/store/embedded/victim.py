"""A process with a store, for tests that kill it or keep it out.

`python -m tests.store.embedded.victim DIRECTORY [WRITERS [STATEMENT COUNT]]` says `open`, or why not; with WRITERS it
then writes pairs of keys for ever and says the number of each when, and only when, it was acknowledged. With STATEMENT
it kills itself before the COUNTth statement that begins so, after a moment to say what it acknowledged too early. With
-1 WRITERS one does everything else: leases, values outside the keys, compaction, snapshots.
"""

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from hawser.store import PutOp, SqliteStore, StoreError
from hawser.store.embedded.drivers import schema


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def write(store: SqliteStore, numbers: "itertools.count[int]") -> None:
    for number in numbers:
        value = os.urandom(8) * (number % 64)
        await store.txn([], [PutOp(f"left/{number:09}", value), PutOp(f"right/{number:09}", value)])
        say(str(number))


async def do_everything(store: SqliteStore, numbers: "itertools.count[int]") -> None:
    """Lease n holds a key; it ends five rounds later."""
    engine = store.raw
    for number in numbers:
        await engine.lease_grant(600, id=number)
        await store.put(f"held/{number:09}", b"", lease=number)
        await engine.set_meta("last", b"%d" % number)
        if number > 5:
            await store.lease_revoke(number - 5)
        if number % 4 == 0:
            await store.compact(engine.revision - 1)
        if number % 9 == 0:
            async with engine.snapshot() as snapshot:
                await anext(snapshot.chunks)
        say(str(number))


def die_at(writer: sqlite3.Connection, statement: str, count: int) -> None:
    def trace(text: str) -> None:
        nonlocal count
        count -= text.startswith(statement)
        if count == 0:
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    writer.set_trace_callback(trace)


async def main(directory: Path, writers: int, statement: str, count: int) -> None:
    opened = list[sqlite3.Connection]()

    def connect(uri: str) -> sqlite3.Connection:
        opened.append(schema.connect(uri))
        return opened[-1]

    try:
        store = await SqliteStore.open(directory, keep=100, connect=connect)
    except StoreError as error:
        say(f"{error.kind}: {error}")
        return
    say("open")
    if statement:
        die_at(opened[-1], statement, count)
    if writers < 0:
        await do_everything(store, itertools.count(int(store.raw.meta.get("last", b"0")) + 1))
    last = (await store.range("", prefix=True)).revision
    numbers = itertools.count(last)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(writers):
            tasks.create_task(write(store, numbers))
    if not writers:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    where, writers, statement, count = (*sys.argv[1:], *("", "0", "", "0")[len(sys.argv) - 1 :])
    asyncio.run(main(Path(where), int(writers), statement, int(count)))
