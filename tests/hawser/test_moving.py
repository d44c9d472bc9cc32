"""A move that its caller gives up ends with the caller: nothing of it goes on, and the target is let go."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from hawser.backing import Backing, Etcd
from hawser.moving import Move
from hawser.store import MemoryStore, SqliteStore


async def test_who_stops_listening_ends_the_copy(rundir: Path) -> None:
    store = MemoryStore()
    for number in range(300):
        await store.put(f"{number:03}", b"")
    others = asyncio.all_tasks()
    move = Move(Backing(store=store, where=Etcd(endpoints=())), None, rundir, "m")
    async with aclosing(move.copy(overwrite=False)) as told:
        assert (await anext(told)).done < 300
    assert asyncio.all_tasks() - others == set()
    await move.give_up()
    target = await SqliteStore.open(rundir / "store")
    assert (await target.range("", prefix=True)).count < 300
    await target.close()
