"""The scheduler's door to the real machine keeps the scheduler's laws: for containers and for processes of the host."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from hawser.mesh.agent import Mesh
from hawser.netd.agent import NetAgent
from hawser.runtime.agent import Runtime
from hawser.runtime.images import Images
from hawser.sched.compile import compile_unit
from hawser.sched.model import Service, prepare
from hawser.store import MemoryStore
from hawser.workloads.containers import Containers
from hawser.workloads.translate import container_id
from hawser.workloads.units import UnitContainers
from tests.hawser.conftest import busybox
from tests.sched.manager_contract import ManagerContract, ManagerSite
from tests.wait import auntil

pytestmark = pytest.mark.root
INSIDE = "[X-Container]\nImage=busybox\n"
ANNOUNCED = "[X-Announce]\nService=web\nPort=80\nInterval=0.1\n"


class Machine:
    """One machine's parts, opened and let go of like a node's, over a store that stays."""

    def __init__(self, directory: Path, instance: str) -> None:
        self.directory, self.instance = directory, instance
        self.store: MemoryStore | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitContainers]:
        self.store = store = self.store or MemoryStore()
        net = NetAgent(store, self.instance, self.directory / "run")
        runtime = Runtime(
            self.directory / "data", self.directory / "run", self.instance, Images(self.directory / "images")
        )
        await net.open()
        await runtime.open()
        self.runtime, self.net = runtime, net
        self.mesh = Mesh(store, "m1", self._no_command)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part.run()) for part in (runtime, self.mesh)]
                await auntil(lambda: self.mesh.running, what="the mesh")
                yield UnitContainers(runtime, Containers(runtime, net), self.mesh, net)
                for task in tasks:
                    task.cancel()
        finally:
            await runtime.close()
            await net.close()

    async def _no_command(self, *_: object) -> int:
        raise AssertionError("no command was expected")

    async def remove(self) -> None:
        async with self.open():
            await self.runtime.teardown()
            await self.net.teardown()


@pytest.fixture
async def machine(rundir: Path, instance: str) -> AsyncIterator[Machine]:
    Images(rundir / "images").import_tar(io.BytesIO(busybox()), "busybox")
    machine = Machine(rundir, instance)
    yield machine
    await machine.remove()


def ignores_sigterm(pid: int | None) -> bool:
    """SigIgn of proc(5) has bit 14 for signal 15."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigIgn:")[1].split()[0], 16) >> 14 & 1)


def site(machine: Machine, more: str) -> ManagerSite:
    opened: Callable[[], AbstractAsyncContextManager[UnitContainers]] = machine.open
    return ManagerSite(
        open=opened,
        runs="/bin/sleep 1000000",
        stubborn="/bin/sh -c \"trap '' TERM; while :; do sleep 1000000 & wait; done\"",
        ends='/bin/sh -c "exit 3"',
        cannot="/bin/no/such/program",
        zero=["/bin/sh", "-c", "exit 0"],
        three=["/bin/sh", "-c", "exit 3"],
        forever=["/bin/sleep", "1000000"],
        more=more,
        stubborn_yet=lambda unit: ignores_sigterm(machine.runtime.get(container_id(unit)).pid),
    )


class TestContainers(ManagerContract):
    @pytest.fixture
    def site(self, machine: Machine) -> ManagerSite:
        return site(machine, INSIDE)


class TestHostProcesses(ManagerContract):
    @pytest.fixture
    def site(self, machine: Machine) -> ManagerSite:
        return site(machine, "")


def unit(text: str, name: str = "web.service") -> Service:
    return prepare(compile_unit(name, text), 0)


SLEEP = "[Service]\nExecStart=/bin/sleep 1000000\n"


async def test_a_restarted_unit_keeps_its_address_and_a_changed_one_is_made_anew(machine: Machine) -> None:
    async with machine.open() as manager:
        first = unit(SLEEP + INSIDE)
        await manager.start(first)
        (before,) = machine.net.attachments(container_id(first.name))
        await manager.stop(first, 1)
        await manager.start(first)
        assert machine.net.attachments(container_id(first.name)) == (before,)
        changed = unit(SLEEP + INSIDE + "Publish=8400:80\n")
        await manager.stop(first, 1)
        await manager.start(changed)
        (after,) = machine.net.attachments(container_id(first.name))
        assert [str(publish) for publish in after.publish] == ["8400:80/tcp"]
        await manager.clear(first.name)
        assert machine.net.attachments() == ()
        assert machine.runtime.containers() == ()


async def test_an_announcement_comes_with_the_start_and_goes_with_stop_and_end(machine: Machine) -> None:
    async with machine.open() as manager:
        web = unit(SLEEP + INSIDE + ANNOUNCED)
        await manager.start(web)
        (instance,) = machine.mesh.instances("default", "web")
        assert (instance.id, instance.port) == ("web", 80)
        assert instance.addresses == tuple(a.ip for a in machine.net.attachments()[0].addresses)
        await manager.stop(web, 1)
        assert machine.mesh.instances() == ()
        await manager.start(web)
        await machine.runtime.kill(container_id(web.name), 9)
        await machine.runtime.wait(container_id(web.name))
        await manager.changed(container_id(web.name))
        assert machine.mesh.instances() == ()
        await manager.clear(web.name)


async def test_a_cancelled_command_leaves_nothing(machine: Machine) -> None:
    async with machine.open() as manager:
        web = unit(SLEEP + INSIDE)
        for host in (True, False):
            task = asyncio.get_running_loop().create_task(
                manager.run(web, ["/bin/sleep", "1000000"], host=host, timeout=60)
            )
            await auntil(lambda: [c for c in machine.runtime.containers() if c.pid], what="the command")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert machine.runtime.containers() == ()
