"""The embedded engine as it grows: a million keys, a thousand watchers, leases that end."""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from hawser.store import EventKind, Op, PutOp
from hawser.store.embedded.drivers.sqlite import SqliteEngine
from hawser.store.kv import Watch

from . import disk
from .row import Row

KEYS, BATCH, PAGE, READS = 1_000_000, 128, 1000, 200
PUTS, TTL, HELD = 300, 2.0, 1000
VALUE = bytes(64)


def rows() -> list[Row]:
    """Measured on the disk of the current directory, never on tmpfs."""
    with disk.directory("store") as directory:
        few = asyncio.run(_small(directory / "few"))
        asyncio.run(_fill(directory / "many"))
        return [*few, *_large(directory / "many")]


async def _small(directory: Path) -> list[Row]:
    store = await SqliteEngine.open(directory)
    try:
        one = await _fan_out(store, 1)
        many = await _fan_out(store, 1000)
        late = [await _expiry(store) for _ in range(3)]
    finally:
        await store.close()
    return [_delay(1, one, 10), _delay(1000, many, 50), _lease(late)]


def _delay(watchers: int, delays: list[float], most: float) -> Row:
    cuts = statistics.quantiles(delays, n=100)
    note = f"p50 {cuts[49] * 1e3:.2f} ms; every watcher is told every event"
    what = f"put to watch event, in process, {watchers:,} watchers: p99"
    return Row(what=what, ours=cuts[98] * 1e3, unit="ms", need=f"< {most} ms", ok=cuts[98] * 1e3 < most, note=note)


def _lease(late: list[tuple[float, int]]) -> Row:
    worst = max(seconds for seconds, _ in late)
    whole = all(keys == HELD for _, keys in late)
    note = f"{HELD:,} keys, {'all' if whole else 'NOT all'} in one revision; worst of {len(late)}"
    what = "lease expiry after its time to live"
    return Row(what=what, ours=worst, unit="s", need="< 1 s, one revision", ok=0 <= worst < 1 and whole, note=note)


async def _fan_out(store: SqliteEngine, watchers: int) -> list[float]:
    """Seconds from the call of a put to the moment each watcher has the event."""
    delays, began = list[float](), 0.0
    told = asyncio.Semaphore(0)

    async def follow(watch: Watch[bytes]) -> None:
        for _ in range(PUTS):
            await anext(watch)
            delays.append(time.perf_counter() - began)
            told.release()

    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(store.watch(b"fan/", prefix=True)) for _ in range(watchers)]
        async with asyncio.TaskGroup() as tasks:
            for watch in watches:
                tasks.create_task(follow(watch))
            for number in range(PUTS):
                began = time.perf_counter()
                await store.put(b"fan/%d" % number, VALUE)
                for _ in range(watchers):
                    await told.acquire()
    return delays


async def _expiry(store: SqliteEngine) -> tuple[float, int]:
    """Seconds between the end of a lease's time and the event, and the keys that went in its revision."""
    lease = await store.lease_grant(TTL)
    for number in range(HELD):
        await store.put(b"held/%d" % number, VALUE, lease=lease.id)
    async with store.watch(b"held/", prefix=True, skips=(EventKind.PUT,)) as watch:
        await store.lease_keepalive(lease.id)
        began = time.perf_counter()
        batch = await anext(watch)
        return time.perf_counter() - began - TTL, len(batch.events)


async def _fill(directory: Path) -> None:
    store = await SqliteEngine.open(directory)
    numbers = list(range(KEYS))
    random.Random(7).shuffle(numbers)

    async def fill(part: list[int]) -> None:
        for at in range(0, len(part), BATCH):
            ops: list[Op[bytes]] = [PutOp(_key(number), VALUE) for number in part[at : at + BATCH]]
            await store.txn([], ops)

    async with asyncio.TaskGroup() as tasks:
        for writer in range(8):
            tasks.create_task(fill(numbers[writer::8]))
    await store.close()


def _large(directory: Path) -> list[Row]:
    # in a process of its own, which has not grown by then
    answer = subprocess.run([sys.executable, "-m", "bench.store", str(directory)], stdout=subprocess.PIPE, check=True)
    read = json.loads(answer.stdout)
    return [
        Row(what=f"start with {KEYS:,} keys", ours=read["start"], unit="s", need="< 10 s", ok=read["start"] < 10),
        Row(
            what=f"range of {PAGE:,} of {KEYS:,} keys, worst of {READS}",
            ours=read["worst"],
            unit="ms",
            need="< 5 ms",
            ok=read["worst"] < 5,
            note=f"p50 {read['median']:.2f} ms",
        ),
        Row(
            what=f"memory a key, {KEYS:,} keys",
            ours=read["memory"],
            unit="bytes",
            need="reported",
            ok=True,
            note=f"keys of {len(_key(0))} and values of {len(VALUE)} bytes",
        ),
    ]


async def _reopened(directory: Path) -> dict[str, float]:
    """Seconds to start, milliseconds a range takes, bytes a key."""
    base, began = _resident(), time.perf_counter()
    store = await SqliteEngine.open(directory)
    started, memory = time.perf_counter() - began, (_resident() - base) / KEYS
    reads = list[float]()
    for number in random.Random(8).sample(range(KEYS), READS):
        began = time.perf_counter()
        await store.range(_key(number), end=b"\0", limit=PAGE)
        reads.append((time.perf_counter() - began) * 1e3)
    await store.close()
    return {"start": started, "memory": memory, "worst": max(reads), "median": statistics.median(reads)}


def _key(number: int) -> bytes:
    return b"/bench/%07d" % number


def _resident() -> int:
    """This process's memory, in bytes (proc(5))."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_reopened(Path(sys.argv[1])))))
