"""A netd agent on a store in memory, in the tests' own namespace."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.store import MemoryStore, Store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@pytest.fixture
async def net(store: Store, instance: str, rundir: Path) -> AsyncIterator[NetAgent]:
    """An open agent; everything it made is removed afterwards."""
    agent = NetAgent(store, instance, rundir)
    await agent.open()
    yield agent
    await agent.teardown()
    await agent.close()
