"""`client` asks a server of ours over an engine in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.store.embedded.memory import MemoryEngine

from .authority import Authority
from .servers import Client, connected, our_server


@pytest.fixture
async def engine() -> AsyncIterator[MemoryEngine]:
    opened = MemoryEngine()
    yield opened
    await opened.close()


@pytest.fixture
async def client(engine: MemoryEngine) -> AsyncIterator[Client]:
    async with our_server(engine) as address, connected(address) as asking:
        yield asking


@pytest.fixture
def authority(rundir: Path) -> Authority:
    return Authority(rundir)
