"""What runs units: sched's UnitManager over runtime, netd and mesh.

A unit's container (or host process) has an id made from the unit's name, so that the same unit is found again after any
crash, and carries the name and the hash of its text as labels. It is made anew at each start, while its network stays
until the unit is cleared: a restarted unit keeps its addresses. An announcement comes after the start and goes before
the stop, so nobody is sent to what is about to end.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hawser.mesh.agent import Mesh
from hawser.mesh.errors import NotFound as NoAnnouncement
from hawser.netd.agent import NetAgent
from hawser.netd.model import Address
from hawser.runtime.agent import Runtime
from hawser.runtime.model import ContainerInfo, ContainerSpec, State
from hawser.sched.manager import Process
from hawser.sched.model import Service

from ..faults import kind_of
from ..identity import own_addresses
from .containers import REMOVE, STEP, Containers, Wiring, new_id
from .model import HOST, NONE
from .translate import ANNOUNCED, HASH, UNIT, announcement, container_id, container_spec, publish

TIMED_OUT = 124


class UnitContainers:
    """The manager that a node's scheduling agent drives (`hawser.sched.manager.UnitManager`)."""

    def __init__(self, runtime: Runtime, containers: Containers, mesh: Mesh, net: NetAgent) -> None:
        self._runtime = runtime
        self._containers = containers
        self._mesh = mesh
        self._net = net
        # PID 1 of a namespace has no default actions (pid_namespaces(7)): the runtime's SIGKILL stands in for them
        self._stood_in: dict[str, int] = {}

    async def start(self, unit: Service) -> None:
        """Make the unit's container anew on the network it has (or gets now), start it, announce it."""
        spec = container_spec(unit, container_id(unit.name), unit.name, unit.command.argv)
        self._stood_in.pop(spec.id, None)
        await self._make(unit, spec)
        await self._runtime.start(spec.id)
        await self._announce(unit, spec.id)

    async def run(self, unit: Service, argv: Sequence[str], *, host: bool, timeout: float) -> int:
        """One command to its end: on the host, in the running container, or in a passing one like it."""
        container = container_id(unit.name)
        if unit.container is not None and not host and self._running(container):
            result = await self._runtime.execute(
                container, argv, env=unit.environment, user=unit.container.user, timeout=timeout
            )
            return result.code
        return await self._passing(unit, argv, host=host or unit.container is None, timeout=timeout)

    async def stop(self, unit: Service, timeout: float) -> None:
        """Withdraw the announcement, then the kill signal, then SIGKILL after `timeout` seconds."""
        container = container_id(unit.name)
        await self._withdraw(container)
        if not self._running(container):
            return
        begin = time.monotonic()
        end = await self._runtime.stop(container, timeout)
        if end.signal == signal.SIGKILL and not end.oom and time.monotonic() - begin < timeout:
            self._stood_in[container] = unit.kill_signal

    async def clear(self, name: str) -> None:
        """Remove a unit's container, network and announcement."""
        container = container_id(name)
        await self._withdraw(container)
        if self._info(container) is not None:
            await self._runtime.remove(container, force=True)
        await self._net.remove_sandbox(container)

    def observe(self) -> Mapping[str, Process]:
        """Every unit's process, running or ended."""
        infos = [info for info in self._runtime.containers() if {UNIT, HASH} <= info.spec.labels.keys()]
        return {
            info.spec.labels[UNIT]: _process(info, self._stood_in.get(info.spec.id))
            for info in infos
            if info.state is not State.CREATED
        }

    async def changed(self, container: str) -> None:
        """A container started or ended: what has ended is no longer announced."""
        info = self._info(container)
        if info is not None and UNIT in info.spec.labels and info.state is State.EXITED:
            await self._withdraw(container)

    async def _make(self, unit: Service, spec: ContainerSpec) -> None:
        """The container, on its old sandbox when that still fits, else from nothing."""
        before = self._info(spec.id)
        if before is not None and before.spec.labels.get(HASH) == unit.hash:
            old = before.spec
            with self._containers.making(spec.id):
                await self._runtime.remove(spec.id, force=True)
                await self._runtime.create(replace(spec, netns=old.netns, dns=old.dns, hosts=old.hosts))
            return
        await self.clear(unit.name)
        await self._containers.make(spec, self._wiring(unit))

    async def _passing(self, unit: Service, argv: Sequence[str], *, host: bool, timeout: float) -> int:
        """Run a command in a container (or host process) of its own that goes when it has ended."""
        step = new_id()
        spec = container_spec(unit if not host else replace(unit, container=None), step, f"{unit.name}.{step}", argv)
        await self._runtime.create(replace(spec, labels={STEP: unit.name, REMOVE: "1"}))
        async with self._containers.hold(step):
            try:
                await self._runtime.start(step)
                return await self._wait(step, timeout)
            finally:
                if self._info(step) is not None:
                    await self._runtime.remove(step, force=True)

    async def _wait(self, container: str, timeout: float) -> int:
        try:
            async with asyncio.timeout(timeout):
                return (await self._runtime.wait(container)).code
        except TimeoutError:
            return TIMED_OUT

    def _wiring(self, unit: Service) -> Wiring | None:
        inside = unit.container
        if inside is None or inside.network in (NONE, HOST):
            return None
        return Wiring(tenant=inside.tenant, network=inside.network, addresses=inside.addresses, publish=publish(inside))

    async def _announce(self, unit: Service, container: str) -> None:
        if unit.announce is None:
            return
        addresses: tuple[Address, ...] = tuple(
            address.ip for attachment in self._net.attachments(container) for address in attachment.addresses
        )
        await self._mesh.announce(announcement(unit, container, addresses or own_addresses()))

    async def _withdraw(self, container: str) -> None:
        """Withdraw what the container's labels say was announced for it."""
        info = self._info(container)
        announced = info.spec.labels.get(ANNOUNCED) if info is not None else None
        if announced:
            tenant, service, name = announced.split("/")
            with contextlib.suppress(NoAnnouncement):
                await self._mesh.withdraw(tenant, service, name)

    def _running(self, container: str) -> bool:
        info = self._info(container)
        return info is not None and info.state is State.RUNNING

    def _info(self, container: str) -> ContainerInfo | None:
        try:
            return self._runtime.get(container)
        except Exception as error:
            if kind_of(error) == "not-found":
                return None
            raise


def _process(info: ContainerInfo, stood_in: int | None) -> Process:
    number = info.exit.signal if info.exit else 0
    return Process(
        unit=info.spec.labels[UNIT],
        hash=info.spec.labels[HASH],
        running=info.state is State.RUNNING,
        code=info.exit.code if info.exit and not number else None,
        signal=stood_in if number and stood_in else number,
        started=info.started,
    )
