"""What a machine does when it hears of others' ports: that, and no more, unless it cannot know."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from hawser.netd import model
from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.specs import RemoteSpec, Spec
from hawser.store import MemoryStore, Store, WatchBatch

from .fake import FakeWorld


class Watched(FakeWorld):
    """A kernel that counts how often it was looked at."""

    looks = 0

    def observe(self) -> dict[str, Spec]:
        self.looks += 1
        return super().observe()

    def remotes(self) -> set[str]:
        return {str(spec.endpoint) for spec in self.things.values() if isinstance(spec, RemoteSpec)}


class Machine:
    """A machine with an agent and a kernel in memory."""

    def __init__(self, store: Store, number: int, directory: Path) -> None:
        self.kernel = Watched("", directory)
        self.net = NetAgent(
            store,
            f"m{number}",
            directory,
            underlay=ip_address(f"192.0.2.{number}"),
            kernel=lambda instance, rundir: self.kernel,
        )

    async def box(self, name: str, network: str = "n") -> Attachment:
        await self.net.make_sandbox(name)
        return await self.net.attach(name, tenant="t", network=network)

    async def rested(self) -> int:
        """How often it has looked once it looks no more by itself."""
        looks = -1
        while looks != self.kernel.looks:
            looks = self.kernel.looks
            await asyncio.sleep(0.1)
        return looks


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    store = MemoryStore()
    found = Machine(store, 1, tmp_path / "1"), Machine(store, 2, tmp_path / "2")
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for machine in found:
            await machine.net.open()
            tasks.append(group.create_task(machine.net.run()))
        await found[0].net.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24"]})
        await found[0].box("a")
        yield found
        for task in tasks:
            task.cancel()
    for machine in found:
        await machine.net.close()
    await store.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.005)


async def test_a_port_elsewhere_is_led_to_without_a_look_at_the_kernel(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    await two.box("b")
    await until(lambda: bool(one.kernel.remotes()), "the first")
    before = await one.rested()
    for number in range(5):
        await two.box(f"c{number}")
        await two.net.remove_sandbox(f"c{number}")
    last = await two.box("d")
    wanted = f"remote:t/n/{last.mac}"
    await until(lambda: wanted in one.kernel.things, "the last")
    assert sum(isinstance(spec, RemoteSpec) for spec in one.kernel.things.values()) == 2
    assert one.kernel.looks == before
    assert await one.net.plan() == ()


async def test_an_address_given_back_elsewhere_is_free_here(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    given = await two.box("b")
    await until(lambda: bool(one.kernel.remotes()), "its coming")
    await one.rested()
    await two.net.remove_sandbox("b")
    await one.net.make_sandbox("c")
    taken = await one.net.attach("c", tenant="t", network="n", addresses=[str(given.addresses[0].ip)])
    assert taken.addresses == given.addresses
    await until(lambda: not one.kernel.remotes(), "its going")
    assert await one.net.plan() == ()


async def test_what_was_loaded_and_not_done_is_done_when_it_is_heard(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    await two.box("b")
    await until(lambda: bool(one.kernel.remotes()), "the first")
    await one.rested()
    late: list[WatchBatch] = []

    def later(batch: WatchBatch) -> bool:
        late.append(batch)
        return False

    hear = one.net._news.hear
    monkeypatch.setattr(one.net._news, "hear", later)
    last = await two.box("c")
    await until(lambda: bool(late), "the watch")
    assert [step.key for step in await one.net.plan()] == [f"remote:t/n/{last.mac}"]  # known from here on
    monkeypatch.setattr(one.net._news, "hear", hear)
    for batch in late:
        one.net._changed(batch)
    await until(lambda: f"remote:t/n/{last.mac}" in one.kernel.things, "the second")


async def test_what_fails_is_left_to_a_round_that_says_so(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    await two.box("b")
    await until(lambda: bool(one.kernel.remotes()), "the first")
    before = await one.rested()
    mac = model.mac_of("m2", "c:eth0")
    one.kernel.refuse.add(f"remote:t/n/{mac}")
    await two.box("c")
    await until(lambda: bool(one.net.statuses()), "the failure")
    assert one.kernel.looks > before
    assert [status.key for status in one.net.statuses()] == [f"remote:t/n/{mac}"]
    one.kernel.refuse.clear()
    await until(lambda: f"remote:t/n/{mac}" in one.kernel.things, "another try")
    await until(lambda: not one.net.statuses(), "its end")


async def test_a_record_that_cannot_be_read_is_reported(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    await one.rested()
    key = f"{model.PORTS}m2/x:eth0"
    await one.net._store.put(key, b"no port")
    await until(lambda: [status.key for status in one.net.statuses()] == [key], "the report")
    await one.net._store.delete(key)
    await until(lambda: not one.net.statuses(), "its end")
