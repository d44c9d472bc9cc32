"""The engines under one name: `make` opens a store of the kind; every test of the contract runs on each."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hawser.store import MemoryStore, SqliteStore, Store

Make = Callable[[int], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Open a new store that keeps `ring` revisions in memory; closed and removed afterwards."""
    async with AsyncExitStack() as stack:

        async def opened(ring: int) -> Store:
            store: Store
            if request.param == "memory":
                store = MemoryStore(ring=ring)
            else:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="hw-store-"))
                store = await SqliteStore.open(Path(directory), ring=ring)
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
async def store(make: Make) -> Store:
    return await make(10_000)
