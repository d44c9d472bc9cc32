"""The node process: one owner for each part of a machine, all under one TaskGroup.

`open_node` starts the parts in the order of their needs (store, network, runtime, what is built on them) and lets go of
them in reverse; letting go stops no container and no packet. `Node.run` is the one TaskGroup: a part that fails in a
way nobody foresaw ends the process, whose supervisor starts it again, and starting is the same as repairing.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hawser.mesh.agent import Mesh
from hawser.mesh.drivers.checks import stream
from hawser.mesh.model import Address, Announcement
from hawser.netd.agent import NetAgent
from hawser.netd.watch.agent import Watcher
from hawser.runtime.agent import Runtime
from hawser.runtime.images import Images
from hawser.runtime.model import State
from hawser.sched.agent import Agent
from hawser.sched.engine import Engine
from hawser.sched.placement import Machine
from hawser.sched.registry import Registry
from hawser.store import Store
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.machines import Machines
from hawser.store.cluster.model import LEADER, Role
from hawser.store.cluster.model import Machine as MachineRecord
from hawser.store.cluster.registration import Registration
from hawser.store.reconcile import Step
from hawser.store.session import Election

from . import __version__, processes
from .backing import Backing, Etcd
from .clustering.clustered import Clustered
from .clustering.enter import Wanted
from .clustering.place import Ports
from .clustering.which import open_store
from .faults import Fault, kind_of
from .guests import Guests
from .identity import address_towards, hold, machine_id, own_addresses
from .machine import describe
from .moving import Move, check
from .names import Names
from .workloads.containers import Containers
from .workloads.translate import CONTAINER, problems
from .workloads.units import UnitContainers
from .workloads.verbs import Verbs

log = logging.getLogger("hawser.node")
INSTANCE = 8
LEAVE_TIMEOUT, SWEEP = 60.0, 30.0
MOVING = "this machine's store is being moved; wait until that is done, or stop the node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where a node lives: `data` durable, `run` until reboot, `socket` its API, `dns_port` where containers ask; the
    etcd whose store it uses, or None for its own; a cluster to `found`, or a `token` to join one; what it tells others
    of itself."""

    data: Path
    run: Path
    socket: Path
    dns_port: int = 53
    etcd: Etcd | None = None
    found: Wanted | None = None
    token: str = ""
    ports: Ports = field(default_factory=Ports)
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


class Node:
    """The parts of one machine, put together; made by `open_node`."""

    def __init__(
        self,
        config: Config,
        machine: str,
        backing: Backing,
        clustered: Clustered | None,
        net: NetAgent,
        images: Images,
    ) -> None:
        self.config = config
        self.machine = machine
        self.backing = backing
        self.clustered = clustered
        self._draining = False
        self.move: Move | None = None
        self.store: Store = backing.store
        store = backing.store
        self.started = time.time()
        self.net = net
        self.watcher = Watcher(store, net)
        self.images = images
        self.runtime = Runtime(config.data, config.run, machine[:INSTANCE], images, on_change=self._changed)
        self.containers = Containers(self.runtime, net)
        self.verbs = Verbs(self.containers, self.runtime, net)
        self.mesh = Mesh(store, machine, self._check, dial=self._dial)
        self.names = Names(store, machine, self.mesh, net, self.containers, config.dns_port)
        self.guests = Guests(net, config.run / "netns", self.names.refresh)
        self.units = Registry(store, problems)
        manager = UnitContainers(self.runtime, self.containers, self.mesh, net)
        self.agent = Agent(store, machine, manager)
        self.engine = Engine(store, self._placeable, lambda: self.registration.held is not None)
        self.machines = Machines(store, self._fleet_changed)
        self.registration = Registration(store, machine, self.record, changed=self._fleet_changed)
        self._manager = manager
        self._ended: asyncio.Queue[str] = asyncio.Queue()
        self._end = asyncio.Event()
        self._ending = False
        self._registered: asyncio.Task[None] | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Everything that goes on by itself, until `stop` or `leave`."""
        async with asyncio.TaskGroup() as group:
            parts = (
                *(self.net, self.runtime, self.mesh, self.names, self.guests, self.engine, self.agent),
                *(self.machines, self.registration, self.watcher),
            )
            tasks = [group.create_task(self._kept(part.run()), name=type(part).__name__) for part in parts]
            if self.clustered is not None:
                more = self.clustered.parts(self.machines, self.registration)
                tasks += [group.create_task(self._kept(part)) for part in more]
            self._registered = tasks[parts.index(self.registration)]
            tasks += [group.create_task(self._tend(), name="tend"), group.create_task(self._sweep(), name="sweep")]
            ready()
            await self._end.wait()
            for task in tasks:
                task.cancel()

    async def _kept(self, part: Coroutine[Any, Any, None]) -> None:
        """A part that ends as if cancelled, though nobody cancelled it, is a defect: a TaskGroup would go on without
        it."""
        try:
            await part
        except asyncio.CancelledError as error:
            if self._ending or self._end.is_set():
                raise
            raise RuntimeError(f"a part of the node was cancelled by nobody: {part!r}") from error
        except BaseException:
            self._ending = True
            raise

    def stop(self) -> None:
        """End `run`; containers go on."""
        self._end.set()

    async def status(self) -> dict[str, Any]:
        """What runs here, and what is not as it should be."""
        infos = self.runtime.containers()
        return {
            "machine": self.machine,
            "version": __version__,
            "pid": os.getpid(),
            "socket": str(self.config.socket),
            "store": ", ".join(self.where().where.endpoints),
            "cluster": self.backing.cluster,
            "leads": self.registration.held is not None,
            "data": str(self.config.data),
            "containers": sum(info.state is State.RUNNING for info in infos),
            "stopped": sum(info.state is not State.RUNNING for info in infos),
            "networks": len(await self.net.networks()),
            "services": len(self.mesh.instances()),
            "pending": len(await self.plan()),
            "failures": self._failures(),
        }

    def record(self) -> MachineRecord:
        """What the other machines are told of this one; blocks."""
        config = self.config
        return describe(
            self.machine,
            config.data,
            started=self.started,
            addresses=config.addresses,
            role=self.clustered.role if self.clustered else Role.CLIENT,
            labels=config.labels,
            draining=self._draining,
        )

    def _fleet_changed(self) -> None:
        self.engine.wake()
        if self.clustered is not None:
            self.clustered.wake()

    def where(self) -> Backing:
        """The store as it is reached now: a cluster's members come and go."""
        return self.backing if self.clustered is None else self.clustered.backing()

    async def leader(self) -> str | None:
        """The id of the machine that leads."""
        found = await Election(self.store, LEADER).leader()
        return None if found is None else found.value.decode(errors="replace")

    def _placeable(self) -> list[Machine]:
        """Where units may run; this machine always, whatever became of its record."""
        others = [each for each in self.machines.known.values() if each.id != self.machine and not each.draining]
        own = [] if self._draining else [Machine(id=self.machine, metadata=self.config.labels)]
        return [*own, *(Machine(id=each.id, metadata=each.labels) for each in others)]

    async def plan(self) -> tuple[tuple[str, Step[Any]], ...]:
        """Every pending step with the area it belongs to; changes nothing."""
        areas: tuple[tuple[str, Sequence[Step[Any]]], ...] = (
            ("netd", await self.net.plan()),
            ("runtime", await self.runtime.plan()),
            ("sched", (*await self.engine.plan(), *await self.agent.plan())),
        )
        return tuple((area, step) for area, steps in areas for step in steps)

    async def leave(self) -> None:
        """Remove every container, announcement and network of this node, and its units; of a cluster, leave the others
        what they have. Then end. Conflict: they cannot do without this machine, or its store is being moved, and
        nothing has changed."""
        if self.move is not None:
            raise Fault(MOVING, "conflict")
        if self.clustered is not None:
            await self.clustered.check_part()
        try:
            await self._leave()
        except BaseException:
            self._draining = False
            self.registration.refresh()
            raise
        self.stop()

    async def _leave(self) -> None:
        if self.alone():
            for name in {row["name"] for row in await self.units.listing()}:
                await self.units.destroy(name)
        else:  # its units go elsewhere
            self._draining = True
            self.registration.refresh()
        with contextlib.suppress(TimeoutError):
            # what does not stop in time is killed below
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self.agent.drain()
        for instance in [instance for instance in self.mesh.instances() if instance.machine == self.machine]:
            await self.mesh.withdraw(instance.tenant, instance.service, instance.id)
        await self.runtime.teardown()
        await self.net.teardown(alone=self.alone())
        if self.clustered is not None:
            await self.clustered.part()
        if self._registered is not None:  # while there is a store to tell
            self._ending = True
            self._registered.cancel()
            await asyncio.wait({self._registered})
        if self.clustered is not None:
            await self.clustered.forget()
        elif not self.backing.own:
            Home(self.config.data / "cluster").forget()

    def begin_move(self, target: Etcd | None) -> Move:
        """Begin to move the store. Fault when it cannot, or does already."""
        check(target, self.clustered is not None, not self.backing.own)
        if self.move is not None:
            raise Fault(MOVING, "conflict")
        self.move = Move(self.backing, target, self.config.data, self.machine)
        return self.move

    def alone(self) -> bool:
        """Whether the store ends with this machine: it is its own, or no other machine of its cluster is there. An
        etcd that others run goes on, with what machines that are off now have in it."""
        theirs = self.clustered is None and not self.backing.own
        return not theirs and not set(self.machines.known) - {self.machine}

    def _failures(self) -> list[str]:
        place = [self.registration.trouble] if self.registration.trouble else []
        place += self.clustered.failures() if self.clustered else []
        network = [f"{status.key}: {status.reason}" for status in self.net.statuses()]
        mesh = [f"{key}: {reason}" for key, reason in self.mesh.trouble().items()]
        containers = [f"container {name}: {reason}" for name, reason in self.runtime.troubles().items()]
        return [*place, *network, *mesh, *containers, *self.names.failures()]

    def _changed(self, container: str) -> None:
        self._ended.put_nowait(container)

    async def _tend(self) -> None:
        """What follows from a container's start or end."""
        while True:
            container = await self._ended.get()
            try:
                self.agent.wake()
                await self._manager.changed(container)
                await self.containers.ended(container)
                self.names.refresh()
            except Exception as error:
                if kind_of(error) is None:
                    raise
                log.warning("container %s: %s", container, error)

    async def _sweep(self) -> None:
        """Now and then, finish what a failure left half removed."""
        while True:
            await asyncio.sleep(SWEEP)
            try:
                await self.containers.sweep()
            except Exception as error:
                if kind_of(error) is None:
                    raise
                log.warning("sweep: %s", error)

    async def _dial(self, tenant: str, address: Address) -> socket.socket:
        """The socket by which a check reaches an address: in the tenant's namespace when it is one of its networks."""
        if not self.net.reaches(tenant, address):
            return stream(address)
        return await asyncio.to_thread(self.net.within, tenant, lambda: stream(address))

    async def _check(self, announcement: Announcement, argv: Sequence[str]) -> int:
        """Run an exec check: in the container that the announcement is for, else on this machine."""
        container = announcement.labels.get(CONTAINER)
        if container is not None:
            return (await self.runtime.execute(container, argv, timeout=announcement.check.timeout)).code
        return await processes.run(argv, announcement.check.timeout)


@asynccontextmanager
async def open_node(config: Config) -> AsyncIterator[Node]:
    """A node that holds its data directory and has repaired what a crash left; lets go at the end.

    Conflict when another process has the directory, Denied without root.
    """
    if os.geteuid() != 0:
        raise Fault("the node makes namespaces, links and mounts; run it as root", "denied")
    async with AsyncExitStack() as stack:
        stack.callback(hold(config.run).close)
        try:
            machine = machine_id(config.data)
        except OSError as error:
            raise Fault(
                f"directory {config.data}: {error.strerror}; choose another with --data", "unavailable"
            ) from error
        backing, clustered = await open_store(config, machine, stack)
        alone = clustered is None and backing.own
        net = NetAgent(
            backing.store,
            machine[:INSTANCE],
            config.run,
            machine=machine,
            underlay=None if alone else _underlay(config, backing),
            data=config.data,
        )
        node = Node(config, machine, backing, clustered, net, Images(config.data / "images"))
        stack.push_async_callback(net.close)
        await net.open()
        stack.push_async_callback(node.runtime.close)
        await node.runtime.open()
        await node.containers.sweep(crashed=True)
        yield node


def _underlay(config: Config, backing: Backing) -> Address | None:
    """The address where other machines' tunnels come in: the first that was given, else the one towards the store, else
    towards the default route. None when there is none: then networks end here."""
    if config.addresses:
        return ip_address(config.addresses[0])
    for endpoint in backing.where.endpoints:
        host, _, port = endpoint.rpartition("://")[2].rpartition(":")
        if port.isdigit() and (found := address_towards(host.strip("[]"), int(port))):
            return found
    found = own_addresses()[0]
    return None if found.is_loopback else found
