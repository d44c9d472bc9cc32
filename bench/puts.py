"""Durable puts, and how soon a watcher knows: the SQLite engine in process, beside the bare database and disk."""

import asyncio
import os
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from hawser.store import SqliteStore

from .disk import directory as place
from .row import Row

WRITERS, EACH, VALUE = 64, 1500, bytes(256)
RATE, SECONDS = 2000, 3.0


def rows() -> list[Row]:
    """Measured on the disk of the current directory, never on tmpfs."""
    with place("puts") as directory:
        database, disk = _bare_database(directory / "bare.db", WRITERS), _bare_disk(directory / "bare.log")
        alone = _bare_database(directory / "alone.db", 1)
        return asyncio.run(_measure(directory, database, disk, alone))


async def _measure(directory: Path, database: float, disk: float, alone: float) -> list[Row]:
    store = await SqliteStore.open(directory / "store")
    try:
        idle = await _delays(store, _steady)
        single = await _one_writer(store)
        busy = await _delays(store, _saturating)
        rate = await _many_writers(store)
    finally:
        await store.close()
    return [
        Row(
            what=f"durable puts, in process, {WRITERS} writers",
            ours=rate,
            unit="/s",
            need="≥ 30,000/s",
            ok=rate >= 30_000,
            peer=database,
            peer_name=f"bare SQLite, batches of {WRITERS}",
            note=f"append + fdatasync of as many rows: {disk:,.0f}/s",
        ),
        Row(
            what="durable puts, in process, 1 writer",
            ours=single,
            unit="/s",
            need="reported",
            ok=True,
            peer=alone,
            peer_name="bare SQLite, batches of 1",
        ),
        _delay_row(f"put to watcher p99 at {RATE:,} puts/s", idle, 10.0),
        _delay_row(f"put to watcher p99 while {WRITERS} writers run", busy, None),
    ]


def _delay_row(what: str, delays: list[float], bound: float | None) -> Row:
    """`bound` in milliseconds; None where the figure is only reported."""
    p99 = statistics.quantiles(delays, n=100)[98] * 1e3
    median = statistics.median(delays)
    note = f"p50 {median * 1e3:.2f} ms, worst {max(delays) * 1e3:.1f} ms of {len(delays):,}"
    need = f"< {bound:g} ms" if bound else "reported"
    return Row(what=what, ours=p99, unit="ms", need=need, ok=bound is None or p99 < bound, note=note)


async def _many_writers(store: SqliteStore) -> float:
    """Puts a second of all writers together, the median of three; the peers' is their best."""
    return statistics.median([WRITERS * EACH / await _timed_writers(store) for _ in range(3)])


async def in_process(directory: Path) -> float:
    """Puts a second of many writers into a store of their own."""
    store = await SqliteStore.open(directory)
    try:
        return await _many_writers(store)
    finally:
        await store.close()


async def _timed_writers(store: SqliteStore) -> float:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(_write(store, writer))
    return time.perf_counter() - began


async def _write(store: SqliteStore, writer: int) -> None:
    for number in range(EACH):
        await store.put(f"/bench/{writer}/{number % 100}", VALUE)


async def _one_writer(store: SqliteStore) -> float:
    began = time.perf_counter()
    for number in range(EACH):
        await store.put(f"/bench/one/{number % 100}", VALUE)
    return EACH / (time.perf_counter() - began)


async def _delays(store: SqliteStore, load: Callable[[SqliteStore], Awaitable[None]]) -> list[float]:
    """From the call of a put to a watcher that has its event, in seconds; one watcher among eight."""
    delays = list[float]()

    async def read(prefix: str) -> None:
        async with store.watch(prefix, prefix=True) as batches:
            async for batch in batches:
                now = time.perf_counter()
                for event in batch.events:
                    if event.kv.value == b"end":
                        return
                    if prefix == "/stamp/":
                        delays.append(now - float(event.kv.value[:24]))

    async with asyncio.TaskGroup() as tasks:
        for prefix in ("/stamp/", *(f"/other/{number}/" for number in range(7))):
            tasks.create_task(read(prefix))
        await asyncio.sleep(0)
        await load(store)
        for prefix in ("/stamp/", *(f"/other/{number}/" for number in range(7))):
            await store.put(f"{prefix}end", b"end")
    return delays


async def _steady(store: SqliteStore) -> None:
    """RATE puts a second, in bursts each millisecond, for SECONDS."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    async with asyncio.TaskGroup() as tasks:
        while (now := loop.time()) < began + SECONDS:
            while sent < (now - began) * RATE:
                tasks.create_task(_stamp(store, sent))
                sent += 1
            await asyncio.sleep(0.001)


async def _saturating(store: SqliteStore) -> None:
    """All writers at full speed, one of which is timed."""
    async with asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(_write(store, writer)) for writer in range(WRITERS - 1)]
        number = 0
        while not all(writer.done() for writer in writers):
            await _stamp(store, number)
            number += 1


async def _stamp(store: SqliteStore, number: int) -> None:
    await store.put(f"/stamp/{number % 100}", f"{time.perf_counter():<24.9f}".encode() + VALUE)


def _bare_database(file: Path, batch: int) -> float:
    """Rows a second into a bare table, each batch one transaction with its fsync; the best of three."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE log(revision INTEGER PRIMARY KEY, key TEXT, value BLOB)")
    count, best = 32_000 if batch > 1 else EACH, 0.0
    for _ in range(3):
        began = time.perf_counter()
        for start in range(0, count, batch):
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "INSERT INTO log(key, value) VALUES(?,?)",
                [(f"/bench/{number}", VALUE) for number in range(start, start + batch)],
            )
            database.execute("COMMIT")
        best = max(best, count / (time.perf_counter() - began))
    database.close()
    return best


def _bare_disk(file: Path) -> float:
    """Rows a second appended to a file, with one fdatasync for as many as there are writers."""
    rounds, block = 500, (VALUE + bytes(64)) * WRITERS
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(rounds):
            os.write(descriptor, block)
            os.fdatasync(descriptor)
        return rounds * WRITERS / (time.perf_counter() - began)
    finally:
        os.close(descriptor)
