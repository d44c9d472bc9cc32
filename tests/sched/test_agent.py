"""What an operator sees of units on one machine, from submission to destruction, and over crashes of the node."""

import pytest

from .site import MACHINE, Site, unit


async def test_a_started_unit_is_placed_and_runs() -> None:
    site = Site()
    async with site.node():
        await site.start("web.service", unit("run 1"))
        row = await site.becomes("web.service", active="active")
    assert row | {"hash": ""} == {
        "name": "web.service", "desired": "launched", "machine": MACHINE, "load": "loaded",
        "active": "active", "sub": "running", "reason": "", "hash": "", "restarts": 0,
    }  # fmt: skip
    assert site.world.did("start", "web.service") == ["run 1"]
