"""netd's agent: the door to the tenant networks of one node.

Intent goes to the store first, then to the kernel, one owner for both. `networks`, `ports` and `repair` do the work,
one call at a time. A round compares everything with everything and repairs: at `open` (what a crash left is removed,
what is missing is made), every 30 s while `run` runs, and whenever asked. A call that is cancelled has done nothing
when it makes something, and everything when it removes something.
"""

import asyncio
import errno
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hawser.store import KeyValue, Store, StoreError, WatchBatch
from hawser.store.follow import follow
from hawser.store.loop import reconcile_loop
from hawser.store.reconcile import Phase, Status, Step

from . import model, parse
from .claims import Claims
from .drivers import netns
from .drivers.netlink import has_ipv6
from .drivers.thread import KernelThread, complete
from .drivers.world import World
from .encryption import Encryption
from .errors import Denied, NetError
from .fabric import Fabric
from .intent import Intent
from .model import Address, Network, Port, Publish, Qos, Reservation
from .networks import Networks
from .news import News
from .objects.catalogue import Objects
from .ovs.agent import Switch
from .ports import Attachment, Ports, Wish
from .presence import Presence
from .repair import Repair
from .shared import Shared
from .site import Site, preferred_kind
from .specs import Spec
from .wireguard.drivers.thread import OverlayThread
from .world import Kernel

__all__ = ["Attachment", "NetAgent"]
INTERVAL, AGAIN = 30.0, 0.5
log = logging.getLogger(__name__)


class NetAgent:
    """The tenant networks of one node. `open` before use; every method may raise NetError and StoreError."""

    def __init__(
        self,
        store: Store,
        instance: str,
        rundir: Path,
        *,
        machine: str | None = None,
        underlay: Address | None = None,
        data: Path | None = None,
        kernel: Callable[[str, Path], Kernel] = World,
        overlay: Callable[[str, str, Path, Path], OverlayThread] = OverlayThread,
    ) -> None:
        """`instance` marks what is made; `machine` is this one's id among the others of the store (by default the
        mark), `underlay` the address where it takes their tunnels, None when it is alone; `data` has its keys, by
        default `rundir`."""
        self._store = store
        self._make_kernel = kernel
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._thread = KernelThread()
        self._switch = Switch(instance, rundir, self._thread, self.wake)
        self._shared = Shared(
            instance=instance,
            machine=machine or instance,
            rundir=rundir,
            ipv6=has_ipv6(),
            intent=Intent(store, machine or instance),
            claims=Claims(store, machine or instance),
            hands=self._thread,
            switch=self._switch,
            wake=self.wake,
            underlay=underlay,
        )
        self._networks = Networks(self._shared)
        self._ports = Ports(self._shared)
        self._repair = Repair(self._shared)
        self._news = News(self._shared, INTERVAL)
        self.objects = Objects(store)
        """Tenants, routers, policies, reserved ports and floating addresses"""
        self._encryption = Encryption(self._shared, data or rundir, lambda: self._presence.refresh(), overlay)
        self._presence = Presence(store, lambda: self._encryption.endpoint)
        self.on_round: Callable[[], None] = lambda: None
        """Called after a round: the records have been read anew"""

    @property
    def fabric(self) -> Fabric:
        """Everything known of the cluster's networks, as of the last look."""
        return self._shared.intent.fabric

    @property
    def site(self) -> Site:
        """What is particular to this machine."""
        return self._shared.site

    def present(self) -> tuple[Network, ...]:
        """The networks this machine has to do with, by key."""
        fabric = self.fabric
        return tuple(fabric.networks[key] for key in sorted(fabric.present(self._shared.machine)))

    def within(self, tenant: str, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket made in a tenant's namespace on this machine. OSError when the tenant has none here. Blocks for a
        moment."""
        path = self.tenant_path(tenant)
        if path is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        try:
            return netns.inside(path, make)
        except NetError as error:
            raise OSError(errno.EADDRNOTAVAIL, str(error)) from error

    def reaches(self, tenant: str, address: Address) -> bool:
        """Whether an address is one of the tenant's networks that are here."""
        return any(address in subnet for net in self.present() if net.tenant == tenant for subnet in net.subnets)

    def tenant_path(self, tenant: str) -> Path | None:
        """The tenant's namespace on this machine, None when it has none here: nothing of it is here."""
        path = self._shared.rundir / "tenants" / tenant
        return path if path.exists() else None

    async def open(self) -> None:
        """Take hold of the kernel and bring it to the intent. Denied without the rights; what else fails is retried."""
        shared = self._shared
        await self._thread.open(lambda: self._make_kernel(shared.instance, shared.rundir))
        async with self._lock:
            outcome = await self._repair.round(time.monotonic(), random.random())
        for error in outcome.failures.values():
            if isinstance(error, Denied):
                raise error
        await self._encryption.step()  # what the others are told goes on as it was

    async def run(self) -> None:
        """Keep the kernel at the intent until cancelled, and this machine known to the others."""
        async with asyncio.TaskGroup() as group:
            group.create_task(reconcile_loop(self._once, self._wake, INTERVAL), name="rounds")
            group.create_task(self._follow(), name="records")
            group.create_task(self._switch.run(), name="switch")
            if self._shared.underlay is not None:
                group.create_task(self._encryption.run(), name="encryption")
                group.create_task(self._presence.run(), name="endpoint")

    async def _follow(self) -> None:
        while True:
            try:
                await follow(self._store, f"{model.ROOT}/", self._reset, self._changed)
            except (NetError, OSError) as error:
                log.warning("records are not followed: %s; trying again", error)
                await asyncio.sleep(AGAIN)

    def _reset(self, entries: Sequence[KeyValue], revision: int) -> None:
        self.wake()

    def _changed(self, batch: WatchBatch) -> None:
        if self._news.hear(batch):
            self._wake.set()

    def wake(self) -> None:
        """Have `run` look at everything now."""
        self._news.everything()
        self._wake.set()

    async def close(self) -> None:
        """Let go; everything keeps working."""
        await self._encryption.close()
        await self._switch.close()
        await self._thread.close()

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        """Make a network; without subnets it gets a free /24 and /64. Invalid, Exists, Conflict, Unavailable."""
        if not spec.keys() & {"kind", "tunnel"}:
            spec = {**spec, "kind": str(preferred_kind(self._shared.datapath))}
        network = parse.parse_network(spec)
        async with self._lock:
            return await complete(
                self._networks.create(network, spec), lambda: self._networks.remove(network.tenant, network.name)
            )

    async def remove_network(self, tenant: str, name: str) -> None:
        """Remove a network that has no ports. NotFound, Conflict."""
        async with self._lock:
            await complete(self._remove_network(tenant, name))

    async def _remove_network(self, tenant: str, name: str) -> None:
        await self._networks.remove(tenant, name, await self.objects.unused(tenant, name))
        await self.objects.disown(f"network:{tenant}/{name}")

    async def networks(self) -> tuple[Network, ...]:
        """Every network, by key."""
        networks = self._shared.intent.networks
        return tuple(networks[key] for key in sorted(networks))

    async def network(self, tenant: str, name: str) -> Network:
        """One network. NotFound."""
        return self._shared.intent.network(tenant, name)

    async def make_sandbox(self, sandbox: str) -> str:
        """A new network namespace; returns its path. Invalid, Exists."""
        async with self._lock:
            return await complete(self._ports.make_sandbox(sandbox), lambda: self._ports.remove_sandbox(sandbox))

    async def attach(
        self,
        sandbox: str,
        *,
        tenant: str,
        network: str,
        ifname: str = "eth0",
        addresses: Sequence[str] = (),
        publish: Sequence[Publish] = (),
        labels: Mapping[str, str] = MappingProxyType({}),
        mac: str | None = None,
        qos: Qos | None = None,
        reserved: str | None = None,
    ) -> Attachment:
        """Attach a sandbox to a network under `ifname`, with fixed `addresses` or the next free ones; `reserved` names
        a reservation of the tenant, whose MAC, addresses, labels and limits it gets.

        The interface `eth0` gets the default routes. Invalid, NotFound, Exists, Conflict, Unavailable; then nothing was
        done.
        """
        parse.check_ifname(ifname)
        wish = Wish(
            ifname=ifname,
            addresses=addresses,
            publish=publish,
            labels=parse.check_labels(labels),
            mac=None if mac is None else parse.parse_mac(mac),
            qos=qos or Qos(),
        )
        async with self._lock:
            if reserved is not None:
                found = await self.objects.get("port", f"{tenant}/{reserved}")
                assert isinstance(found, Reservation)
                wish, network = wish.reserving(found), found.network
            target = await self._network(tenant, network)
            await self._encryption.check(target)
            return await complete(
                self._ports.attach(sandbox, target, wish), lambda: self._ports.detach(sandbox, ifname)
            )

    async def _network(self, tenant: str, name: str) -> Network:
        """A network; one that another machine has just made is looked for."""
        if f"{tenant}/{name}" not in self._shared.intent.networks:
            await self._shared.intent.load()
        return self._shared.intent.network(tenant, name)

    async def change_port(self, sandbox: str, ifname: str, change: Callable[[Port], Port]) -> Port:
        """Change a port's limits and mirrors in place; returns it. NotFound, and what `change` raises."""
        async with self._lock:
            return await complete(self._ports.change(sandbox, ifname, change))

    async def adopt_sandbox(self, sandbox: str, path: str, owner: str) -> None:
        """Have another's network namespace for a sandbox, as long as it is attached to something; nothing when it is
        there already. A path in /proc is a process's: it is not looked for there again. Invalid."""
        source = parse.parse_path(path)
        async with self._lock:
            known = self._shared.intent.sandboxes.get(sandbox)
            if known is None or known.owner != owner:
                passing = source.startswith("/proc/")
                making = self._ports.make_sandbox(sandbox, borrowed=source, owner=owner, passing=passing)
                await complete(making, lambda: self._ports.remove_sandbox(sandbox))

    async def adopt_link(self, sandbox: str, link: str, owner: str) -> None:
        """Have a link of the host's for a sandbox, as long as it is attached; nothing when it is there already.
        `attach` lends it to the network's bridge, with the MAC and addresses of what is behind it. Invalid, Exists."""
        async with self._lock:
            known = self._shared.intent.sandboxes.get(sandbox)
            source = f"{model.LINK}{parse.check_ifname(link)}"
            if known is None or (known.owner, known.source) != (owner, source):
                await complete(self._ports.adopt_link(sandbox, link, owner))

    def owners(self) -> Mapping[str, str]:
        """Borrowed sandboxes, and for whom."""
        return {name: kept.owner for name, kept in self._shared.intent.sandboxes.items() if kept.owner}

    def source(self, sandbox: str) -> str:
        """Where a borrowed sandbox is found, `/proc` when only processes have it; "" for the node's own."""
        kept = self._shared.intent.sandboxes.get(sandbox)
        if kept is None:
            return ""
        return "/proc" if kept.source == kept.path else kept.source

    def sources(self, owner: str) -> Mapping[str, str]:
        """An owner's sandboxes, with the `source` of each."""
        return {name: kept.source for name, kept in self._shared.intent.sandboxes.items() if kept.owner == owner}

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound; what the kernel refuses to remove now, `run` removes later."""
        async with self._lock:
            await complete(self._ports.detach(sandbox, ifname))

    async def relabel(self, sandbox: str, ifname: str, labels: Mapping[str, str | None]) -> None:
        """Give a port these labels, and take away those that are None; nothing when there is no such port. Conflict
        when it has just been changed by another."""
        async with self._lock:
            port = self._shared.intent.port(f"{sandbox}:{ifname}")
            if port is not None and not port.leaving:
                await complete(self._shared.intent.relabel(port, labels))

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there. What the kernel refuses to remove now,
        `run` removes later."""
        async with self._lock:
            await complete(self._ports.remove_sandbox(sandbox))

    def attachments(self, sandbox: str | None = None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody) has, by interface name."""
        return self._ports.attachments(sandbox)

    def ports(self) -> tuple[Port, ...]:
        """This machine's ports as recorded, without those that are leaving; cheaper than `attachments`."""
        intent = self._shared.intent
        return tuple(port for port in intent.fabric.at(intent.machine).values() if not intent.leaving(port))

    def sandboxes(self) -> Mapping[str, str]:
        """Every sandbox's path, borrowed ones left out."""
        return {name: kept.path for name, kept in self._shared.intent.sandboxes.items() if not kept.owner}

    def statuses(self) -> tuple[Status, ...]:
        """What fails, why, and how often it was tried; empty when all is well."""
        unknown = self._presence.trouble
        unseen = (Status(key="endpoint:", phase=Phase.FAILED, reason=unknown),) if unknown else ()
        sealed = (Status(key="encryption:", phase=Phase.FAILED, reason=line) for line in self._encryption.trouble)
        return (*self._shared.retries.statuses(), *unseen, *sealed)

    async def plan(self) -> tuple[Step[Any], ...]:
        """What a round would do now; changes nothing."""
        async with self._lock:
            steps = await complete(self._repair.plan())
            return (*steps, *await self._switch.plan(self.fabric, self._shared.site))

    async def reconcile(self) -> tuple[Step[Spec], ...]:
        """Bring the kernel to the intent now, backoff or not; returns the steps done. `statuses` says what failed."""
        async with self._lock:
            return (await complete(self._repair.round(time.monotonic(), random.random()))).done

    async def teardown(self, *, alone: bool = True) -> None:
        """Remove every port, sandbox and rule of this node; the networks too when no other machine has the store
        (`alone`). NetError when something stays."""
        async with self._lock:
            await complete(self._repair.teardown(alone=alone))
            await complete(self._encryption.remove())

    async def _once(self) -> float | None:
        now, jitter = time.monotonic(), random.random()
        try:
            async with self._lock:
                await complete(self._look(now, jitter))
            self.on_round()
        except (NetError, StoreError, OSError) as error:
            self._repair.failed(error, now, jitter)
        retry = self._shared.retries.deadline()
        return min(self._news.due, inf if retry is None else retry) - time.monotonic()

    async def _look(self, now: float, jitter: float) -> None:
        if not await self._news.learn(now):
            await self._repair.round(now, jitter, due_only=True)
            self._news.looked()
