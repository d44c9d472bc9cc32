"""A machine with 1,000 recorded ports and an empty kernel: everything made by the opening of the agent, then one more.

The records are made by an agent whose kernel does nothing; then another opens on them with the real one, and the plan
after it must be empty. A container is its sandbox and its attachment.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hawser.netd.agent import NetAgent
from hawser.netd.model import Address, Publish, Subnet
from hawser.netd.specs import Spec
from hawser.store import SqliteStore

from ..row import Row
from . import apart

PORTS, MORE, ROUNDS = 1000, 20, 3


class Nothing:
    """A kernel that holds nothing and does nothing."""

    def observe(self) -> dict[str, Spec]:
        return {}

    def uplink_mtu(self, address: Address | None = None) -> int:
        return 1500

    def used_subnets(self) -> list[Subnet]:
        return []

    def check_free(self, publish: Publish) -> None:
        pass

    def datapath(self) -> str:
        return ""

    def nothing(self, *_: object) -> None:
        pass

    apply = prepare = add_rules = join_switch = at_switch = close = nothing


def rows() -> list[Row]:
    """Seconds of the opening, milliseconds of one more."""
    opened, more = list[float](), list[float]()
    before = apart.namespaces()
    for _ in range(ROUNDS):
        answer = apart.run("bench.net.cold")
        opened.append(answer["open"])
        more += answer["more"]
        apart.settle(before)
    return [
        Row(
            what=f"{PORTS:,} ports, cold: compile and program",
            ours=median(opened),
            unit="s",
            need="< 10 s",
            ok=median(opened) < 10,
            note=f"{min(opened):.2f}-{max(opened):.2f}; sandboxes included, the plan after it empty",
        ),
        Row(
            what=f"one more beside {PORTS:,}, p50",
            ours=median(more) * 1000,
            unit="ms",
            need="< 20 ms",
            ok=median(more) < 0.02,
            note=f"{min(more) * 1000:.1f}-{max(more) * 1000:.1f} of {len(more)}; sandbox and attachment",
        ),
    ]


async def measure(directory: Path, _: Sequence[str]) -> Any:
    """One opening, and `MORE` containers."""
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    store = await SqliteStore.open(directory / "store")
    await _record(store, directory)
    agent = NetAgent(store, "bench", directory)
    began = time.perf_counter()
    await agent.open()
    opened = time.perf_counter() - began
    if steps := await agent.plan():
        raise RuntimeError(f"{len(steps)} steps left, the first {steps[0]}; failing: {agent.statuses()[:1]}")
    more = []
    for number in range(MORE):
        began = time.perf_counter()
        await _box(agent, PORTS + number)
        more.append(time.perf_counter() - began)
    await agent.close()
    await store.close()
    return {"open": opened, "more": more}


async def _record(store: SqliteStore, directory: Path) -> None:
    agent = NetAgent(store, "bench", directory, kernel=lambda instance, rundir: Nothing())
    await agent.open()
    await agent.create_network({"tenant": "t", "name": "n", "subnets": ["10.98.0.0/16", "fd98::/64"]})
    for number in range(PORTS):
        await _box(agent, number)
    await agent.close()


async def _box(agent: NetAgent, number: int) -> None:
    await agent.make_sandbox(f"s{number}")
    await agent.attach(f"s{number}", tenant="t", network="n")


if __name__ == "__main__":
    apart.main(measure)
