"""The engines beneath the text: byte keys, and what only an engine can do."""

from typing import cast

import pytest

from hawser.store import TextStore
from hawser.store.embedded.engine import Engine

from ..conftest import Make


@pytest.fixture
async def engine(make: Make) -> Engine:
    return cast(Engine, cast(TextStore, await make(10_000)).raw)
