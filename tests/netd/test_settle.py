"""When a tenant's connections are judged anew: after what its policies mean has changed, and once by each process."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.model import Direction, Policy, Rule, Selector
from hawser.netd.objects.catalogue import Objects
from hawser.netd.policy.flush import Connection
from hawser.store import Store

from .fake import FakeWorld

ALLOWED, DENIED = 80, 81


class Bench:
    """An agent on a kernel in memory that is there before and after it."""

    def __init__(self, store: Store, instance: str, rundir: Path) -> None:
        self.kernel = FakeWorld(instance, rundir)
        self.store, self.objects = store, Objects(store)
        self._where = instance, rundir
        self.net = self.process()

    def process(self) -> NetAgent:
        """A node process: on the same store and kernel as any other."""
        return NetAgent(self.store, *self._where, kernel=lambda instance, rundir: self.kernel)

    async def box(self, name: str) -> None:
        await self.net.make_sandbox(name)
        await self.net.attach(name, tenant="t", network="n")


@pytest.fixture
async def bench(store: Store, instance: str, rundir: Path) -> AsyncIterator[Bench]:
    found = Bench(store, instance, rundir)
    await found.net.open()
    await found.net.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24"]})
    for name in ("a", "b"):
        await found.box(name)
    await found.net.reconcile()
    found.kernel.revised = []
    yield found
    await found.net.close()


def connection(port: int) -> Connection:
    return Connection(source=ip_address("10.0.0.2"), target=ip_address("10.0.0.3"), proto="tcp", port=port)


POLICY = Policy(
    tenant="t",
    name="p",
    applies=Selector(),
    directions=(Direction.INGRESS,),
    rules=(Rule(direction=Direction.INGRESS, proto="tcp", ports=((ALLOWED, ALLOWED),)),),
)


async def test_after_a_change_of_policy_what_it_takes_back_goes(bench: Bench) -> None:
    bench.kernel.connections["t"] = [connection(ALLOWED), connection(DENIED)]
    await bench.objects.put(POLICY)
    await bench.net.reconcile()
    assert bench.kernel.connections["t"] == [connection(ALLOWED)]
    await bench.net.reconcile()
    assert bench.kernel.revised == ["t"], "once"


async def test_not_when_ports_come(bench: Bench) -> None:
    await bench.objects.put(POLICY)
    await bench.net.reconcile()
    bench.kernel.revised = []
    await bench.box("c")
    await bench.net.reconcile()
    assert bench.kernel.revised == []


async def test_when_a_port_goes_for_another_may_get_its_address(bench: Bench) -> None:
    await bench.objects.put(replace(POLICY, directions=(Direction.EGRESS,), rules=()))
    await bench.net.reconcile()
    bench.kernel.revised = []
    await bench.net.remove_sandbox("b")
    await bench.net.reconcile()
    assert bench.kernel.revised == ["t"]


async def test_that_is_not_left_to_the_next_round(bench: Bench) -> None:
    await bench.objects.put(POLICY)
    await bench.net.reconcile()
    bench.kernel.revised = []
    await bench.net.detach("b", "eth0")
    assert bench.kernel.revised == ["t"]


async def test_what_failed_is_told_and_tried_again(bench: Bench) -> None:
    bench.kernel.refuse = {"connections:t"}
    bench.kernel.connections["t"] = [connection(DENIED)]
    await bench.objects.put(POLICY)
    await bench.net.reconcile()
    assert [status.key for status in bench.net.statuses()] == ["connections:t"]
    bench.kernel.refuse = set()
    await bench.net.reconcile()
    assert bench.net.statuses() == ()
    assert bench.kernel.connections["t"] == []


async def test_nobody_is_cut_by_half_of_the_records(bench: Bench) -> None:
    """A record that cannot be read may be what allows a connection."""
    bench.kernel.connections["t"] = [connection(DENIED)]
    await bench.objects.put(replace(POLICY, rules=()))
    await bench.store.put("/hawser/netd/policies/t/torn", b"{")
    await bench.net.reconcile()
    assert bench.kernel.revised == []


async def test_the_next_process_judges_once_what_the_last_may_have_left(bench: Bench) -> None:
    await bench.objects.put(POLICY)
    await bench.net.reconcile()
    bench.kernel.connections["t"] = [connection(DENIED)]
    await bench.net.close()
    bench.net = bench.process()
    await bench.net.open()
    assert bench.kernel.connections["t"] == []
