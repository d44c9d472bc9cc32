"""The embedded engine through etcd's protocol, and the real etcd beside it, by what clients see while the server is
killed and comes back: both pass one proof.
"""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hawser.store.etcd.client import EtcdStore, connect
from tests.etcd import argv, free_port, needs_etcd

from .load import loaded
from .victims import Victim, alive, kill_at_times, module

KILLS = 6
DEADLINE = 5.0


def embedded(directory: Path, port: int) -> Victim:
    return module("speaking", directory, f"127.0.0.1:{port}")


def etcd(directory: Path, port: int) -> Victim:
    return Victim(argv(directory, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("server", [embedded, pytest.param(etcd, marks=needs_etcd)])
async def test_killed_again_and_again_it_is_linearizable_and_its_watches_lose_and_repeat_nothing(
    server: Callable[[Path, int], Victim], seed: int, rundir: Path
) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"

    def client(seed: str) -> AbstractAsyncContextManager[EtcdStore]:
        return connect(url, timeout=DEADLINE, transport="grpc", chance=random.Random(seed).random)

    async with (
        alive(server(rundir / "store", port)) as served,
        client("truth") as truth,
        loaded([client] * 6, [client] * 2, truth, seed=seed) as load,
    ):
        await kill_at_times(served, load.history, KILLS, random.Random(seed))
        await load.more(20)
    assert load.problems == []
    assert sum(operation.answer is None for operation in load.history.operations()) > KILLS
    assert [len(watcher.sessions) for watcher in load.watchers] == [1] * len(load.watchers)
