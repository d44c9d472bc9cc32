"""The fake manager keeps the laws that the real one keeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hawser.sched.manager import UnitManager

from .fakes import FakeManager, World
from .manager_contract import ManagerContract, ManagerSite


class TestFakeManager(ManagerContract):
    @pytest.fixture
    def site(self) -> ManagerSite:
        world = World()

        @asynccontextmanager
        async def manager() -> AsyncIterator[UnitManager]:
            yield FakeManager(world)

        return ManagerSite(
            open=manager,
            runs="run",
            stubborn="stubborn",
            ends="exit 3",
            cannot="broken image",
            zero=["exit", "0"],
            three=["exit", "3"],
            forever=["hang"],
        )
