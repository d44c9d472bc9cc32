"""Whatever operators, crashing units and a crashing node do in any order: in the end the machine is as ordered."""

import asyncio
import random

import pytest

from hawser.sched.compile import text_hash
from hawser.sched.errors import SchedError

from .site import Site, unit

NAMES = ("a.service", "b.service", "c.service")
TEXTS = (
    unit("run 1", Restart="always", RestartSec="1ms", StartLimitBurst="0"),
    unit("run 2", ExecStartPre="pre", ExecStop="bye", Restart="on-failure", RestartSec="1ms", StartLimitBurst="0"),
    unit("stubborn", ExecStartPost="post", Restart="always", RestartSec="0", StartLimitBurst="0"),
)


async def act(site: Site, chance: random.Random) -> None:
    """One thing that happens; what makes no sense now is refused, and that is all."""
    name, what = chance.choice(NAMES), chance.randrange(7)
    try:
        if what == 0:
            await site.units.submit(name, chance.choice(TEXTS))
        elif what in (1, 2):
            await site.units.set_desired(name, "launched")
        elif what == 3:
            await site.units.set_desired(name, chance.choice(["loaded", "inactive"]))
        elif what == 4:
            await site.units.restart(name)
        elif what == 5 and chance.random() < 0.4:
            await site.units.destroy(name)
        elif site.world.running(name):
            await site.kill(name, *chance.choice([(1, 0), (None, 9)]))
    except SchedError:
        return


async def turn(site: Site, chance: random.Random) -> None:
    """A node's time: some things happen, then it is killed in the middle of something."""
    async with site.node():
        for _ in range(chance.randrange(1, 12)):
            await act(site, chance)
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(25))
async def test_everything_ends_as_ordered(seed: int) -> None:
    site, chance = Site(), random.Random(seed)
    for name in NAMES:
        await site.start(name, chance.choice(TEXTS))
    for _ in range(6):
        await turn(site, chance)
    async with site.node() as agent:
        await site.eventually(agent.plan, lambda steps: not steps)
        await site.eventually(site.units.listing, lambda rows: all(settled(row) for row in rows))
        await agent.drain()
        rows = {row["name"]: row for row in await site.units.listing()}
        for name in NAMES:
            row = rows.get(name)
            assert site.world.running(name) == (row is not None and row["desired"] == "launched"), (name, row)
            if row is not None and row["desired"] == "launched":
                assert site.world.processes[name].hash == row["hash"] == text_hash(await site.units.text(name))
            if row is None or row["desired"] == "inactive":
                assert name not in site.world.processes


def settled(row: dict[str, object]) -> bool:
    """Whether a unit rests where it was ordered to be."""
    return (row["active"] == "active") == (row["desired"] == "launched") and "has not acted" not in str(row["reason"])
