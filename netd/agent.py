"""netd's agent: intent goes to the store first, then to the kernel, one owner for both.

An attachment claims its addresses and host ports and writes its record in one transaction; then only what the port
needs is made, whatever else exists, all or nothing. A round compares everything with everything and repairs: at `open`
(what a crash left is removed, what is missing is made), every 30 s while `run` runs, and whenever asked. In a round a
failed step fails its key and what needs it, and is tried again with backoff; `statuses` says why.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, TypeVar

from hawser.store import Store, StoreError
from hawser.store.loop import reconcile_loop
from hawser.store.reconcile import Retries, Status, Step

from . import compile as compiler
from . import ipam, model, parse, rounds
from .claims import Claims, Wanted, fixed_addresses
from .compile import SandboxSpec, Spec
from .drivers.netlink import has_ipv6
from .drivers.world import World
from .errors import Conflict, Denied, Exists, Invalid, NetError, NotFound
from .intent import Intent
from .model import Address, Interface, Network, Port, Publish
from .world import Kernel

T = TypeVar("T")
U = TypeVar("U")
INTERVAL = 30.0
LOOPBACK6 = IPv6Address("::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a sandbox got: its addresses, the gateways of its network, the interface and its MAC."""

    sandbox: str
    ifname: str
    tenant: str
    network: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mac: str
    publish: tuple[Publish, ...] = ()


class NetAgent:
    """The tenant networks of one node. `open` before use; every method may raise NetError and StoreError."""

    def __init__(
        self, store: Store, instance: str, rundir: Path, *, kernel: Callable[[str, Path], Kernel] = World
    ) -> None:
        self._instance = instance
        self._rundir = rundir
        self._make_kernel = kernel
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netd")
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._kernel: Kernel | None = None
        self._mtu = model.DEFAULT_MTU
        self._intent = Intent(store)
        self._claims = Claims(store)
        self._retries = Retries()

    async def open(self) -> None:
        """Take hold of the kernel and bring it to the intent. Denied without the rights; what else fails is retried."""
        self._kernel = await self._on(lambda: self._make_kernel(self._instance, self._rundir))
        async with self._lock:
            outcome = await self._round()
        for error in outcome.failures.values():
            if isinstance(error, Denied):
                raise error

    async def run(self) -> None:
        """Keep the kernel at the intent until cancelled."""
        await reconcile_loop(self._once, self._wake, INTERVAL)

    def wake(self) -> None:
        """Have `run` look now."""
        self._wake.set()

    async def close(self) -> None:
        """Let go; everything keeps working."""
        if self._kernel is not None:
            await self._on(self._kernel.close)
            self._kernel = None
        self._thread.shutdown()

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        """Make a network; without subnets it gets a free /24 and /64. Invalid, Exists, Conflict, Unavailable."""
        network = parse.parse_network(spec)
        async with self._lock:
            if network.key in self._intent.networks:
                raise Exists(f"network {network.key} exists; choose another name or remove it")
            routed = await self._on(self._opened().used_subnets)
            others = tuple(self._intent.networks.values())
            if not network.subnets:
                busy = [*routed, *(subnet for other in others for subnet in other.subnets)]
                subnets = [str(subnet) for subnet in ipam.free_subnets(busy, ipv6=has_ipv6())]
                network = parse.parse_network({**spec, "subnets": subnets})
            ipam.check_subnets(network, others, routed)
            await self._intent.add_network(network)
            steps = rounds.creation(compiler.network_specs(self._instance, network, self._mtu), "a new network")
            try:
                await self._on(lambda: rounds.all_or_nothing(steps, self._opened().apply))
            except BaseException:
                await self._on(lambda: rounds.undo(steps, self._opened().apply))
                await self._intent.forget_network(network)
                raise
        return network

    async def remove_network(self, tenant: str, name: str) -> None:
        """Remove a network that has no ports. NotFound, Conflict."""
        async with self._lock:
            network = self._intent.network(tenant, name)
            users = sorted(port.sandbox for port in self._intent.ports.values() if port.on == network.key)
            if users:
                raise Conflict(f"network {network.key} is used by {', '.join(users[:3])}; remove those first")
            specs = compiler.network_specs(self._instance, network, self._mtu)
            await self._on(lambda: rounds.remove(specs, self._opened().apply))
            await self._intent.forget_network(network)

    async def networks(self) -> tuple[Network, ...]:
        """Every network, by key."""
        return tuple(self._intent.networks[key] for key in sorted(self._intent.networks))

    async def network(self, tenant: str, name: str) -> Network:
        """One network. NotFound."""
        return self._intent.network(tenant, name)

    async def make_sandbox(self, sandbox: str) -> str:
        """A new network namespace; returns its path. Invalid, Exists."""
        parse.check_label(sandbox, "sandbox")
        path = str(self._rundir / "netns" / sandbox)
        async with self._lock:
            if sandbox in self._intent.sandboxes:
                raise Exists(f"sandbox {sandbox} exists; remove it first")
            steps = rounds.creation({f"sandbox:{sandbox}": SandboxSpec(path=path)}, "a new sandbox")
            try:  # in whichever order a crash leaves record and namespace, the next round makes them one
                await _both(
                    self._intent.add_sandbox(sandbox, path),
                    self._on(lambda: rounds.all_or_nothing(steps, self._opened().apply)),
                )
            except BaseException:
                await self._on(lambda: rounds.undo(steps, self._opened().apply))
                await self._intent.forget_sandbox(sandbox)
                raise
        return path

    async def attach(
        self,
        sandbox: str,
        *,
        tenant: str,
        network: str,
        ifname: str = "eth0",
        addresses: Sequence[str] = (),
        publish: Sequence[Publish] = (),
    ) -> Attachment:
        """Attach a sandbox to a network under `ifname`, with fixed `addresses` or the next free ones.

        The interface `eth0` gets the default routes. Invalid, NotFound, Exists, Conflict, Unavailable; then nothing was
        done.
        """
        parse.check_ifname(ifname)
        async with self._lock:
            target = self._intent.network(tenant, network)
            if sandbox not in self._intent.sandboxes:
                raise NotFound(f"sandbox {sandbox} does not exist; make it first")
            if f"{sandbox}:{ifname}" in self._intent.ports:
                raise Exists(f"{sandbox} has an interface {ifname}; choose another name")
            wanted = Wanted(
                sandbox=sandbox,
                ifname=ifname,
                netns=self._intent.sandboxes[sandbox],
                mac=model.mac_of(self._instance, f"{sandbox}:{ifname}"),
                fixed=fixed_addresses(target, addresses),
                publish=_checked(target, publish),
            )
            return self._attachment(await self._attach(target, wanted))

    async def _attach(self, network: Network, wanted: Wanted) -> Port:
        key = f"port:{wanted.id}"
        bare = compiler.bare_port(self._instance, network, wanted, self._mtu)
        try:  # the link needs no claim until it has addresses
            port, _ = await _both(
                self._claims.take(network, wanted), self._on(lambda: self._opened().prepare(key, bare))
            )
        except BaseException:
            await self._on(lambda: rounds.undo(rounds.creation({key: bare}, "half made"), self._opened().apply))
            await self._claims.drop(wanted.id)
            raise
        self._intent.ports[port.id] = port
        steps = rounds.creation(compiler.port_specs(self._instance, network, port, self._mtu), "a new port")

        def make() -> None:
            for publish in port.publish:
                self._opened().check_free(publish)
            rounds.all_or_nothing(steps, self._opened().apply)

        try:
            await self._on(make)
        except BaseException:
            await self._on(lambda: rounds.undo(steps, self._opened().apply))
            await self._forget_port(port)
            raise
        return port

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound."""
        async with self._lock:
            port = self._intent.ports.get(f"{sandbox}:{ifname}")
            if port is None:
                raise NotFound(f"{sandbox} has no interface {ifname}")
            await self._drop_port(port)

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there."""
        async with self._lock:
            for port in [port for port in self._intent.ports.values() if port.sandbox == sandbox]:
                await self._drop_port(port)
            path = self._intent.sandboxes.get(sandbox)
            if path is not None:
                specs: dict[str, Spec] = {f"sandbox:{sandbox}": SandboxSpec(path=path)}
                await self._on(lambda: rounds.remove(specs, self._opened().apply))
                await self._intent.forget_sandbox(sandbox)

    def attachments(self, sandbox: str | None = None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody) has, by interface name."""
        ports = sorted(self._intent.ports.values(), key=lambda port: port.id)
        return tuple(self._attachment(port) for port in ports if sandbox in (None, port.sandbox))

    def sandboxes(self) -> Mapping[str, str]:
        """Every sandbox's path."""
        return dict(self._intent.sandboxes)

    def statuses(self) -> tuple[Status, ...]:
        """What fails, why, and how often it was tried; empty when all is well."""
        return self._retries.statuses()

    async def plan(self) -> tuple[Step[Spec], ...]:
        """What a round would do now; changes nothing."""
        async with self._lock:
            return await self._plan()

    async def reconcile(self) -> tuple[Step[Spec], ...]:
        """Bring the kernel to the intent now, backoff or not; returns the steps done. `statuses` says what failed."""
        async with self._lock:
            return (await self._round()).done

    async def teardown(self) -> None:
        """Remove every port, sandbox, network and rule of this node, from the store and the kernel. NetError when
        something stays."""
        async with self._lock:
            await self._intent.forget_everything()
            self._claims.remember(())
            observed = await self._on(self._opened().observe)
            outcome = await self._on(lambda: rounds.run(compiler.steps({}, observed), self._opened().apply))
            for key, error in outcome.failures.items():
                raise NetError(f"cannot remove {key}: {error}") from error

    # -- the rest is under the lock, or has no await

    def _opened(self) -> Kernel:
        if self._kernel is None:
            raise NetError("netd is not open")
        return self._kernel

    async def _on(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _attachment(self, port: Port) -> Attachment:
        network = self._intent.networks.get(port.on)
        return Attachment(
            sandbox=port.sandbox,
            ifname=port.ifname,
            tenant=port.tenant,
            network=port.network,
            addresses=port.addresses,
            gateways=network.gateways if network else (),
            mac=port.mac,
            publish=port.publish,
        )

    async def _drop_port(self, port: Port) -> None:
        network = self._intent.networks[port.on]
        specs = compiler.port_specs(self._instance, network, port, self._mtu)
        await self._on(lambda: rounds.remove(specs, self._opened().apply))
        await self._forget_port(port)

    async def _forget_port(self, port: Port) -> None:
        await self._claims.release(port)
        self._intent.ports.pop(port.id, None)

    async def _plan(self) -> tuple[Step[Spec], ...]:
        await self._intent.load()
        self._claims.remember(tuple(self._intent.ports.values()))
        self._mtu = await self._on(self._opened().uplink_mtu)
        observed = await self._on(self._opened().observe)
        return self._intent.steps(self._instance, self._mtu, observed)

    async def _round(self, *, due_only: bool = False) -> rounds.Round:
        steps = await self._plan()
        await self._release_lost()
        now = time.monotonic()
        late = {step.key for step in steps if due_only and not self._retries.due(step.key, now)}
        outcome = await self._on(lambda: rounds.run(steps, self._opened().apply, late))
        for status in self._retries.statuses():
            if status.key not in late:
                self._keep_failing(status.key, outcome)
        for key, error in outcome.failures.items():
            self._retries.failed(key, str(error), now, jitter=random.random())
        for key, reason in self._intent.unreadable.items():
            self._retries.failed(key, reason, now, jitter=random.random())
        return outcome

    async def _release_lost(self) -> None:
        """Give back what ports without a sandbox hold (an attachment cut off between its claim and its answer)."""
        for port in [port for port in self._intent.ports.values() if port.sandbox not in self._intent.sandboxes]:
            await self._forget_port(port)

    def _keep_failing(self, key: str, outcome: rounds.Round) -> None:
        if key not in outcome.failures and key not in self._intent.unreadable:
            self._retries.succeeded(key)

    async def _once(self) -> float | None:
        try:
            async with self._lock:
                await self._round(due_only=True)
        except (NetError, StoreError, OSError) as error:  # nothing could be seen: the next round will tell
            self._retries.failed("netd:", str(error), time.monotonic(), jitter=random.random())
        deadline = self._retries.deadline()
        return None if deadline is None else deadline - time.monotonic()


async def _both(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """Await two things at once, and both to their end; the first's error goes before the second's."""
    one, two = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(two, BaseException):
        raise two
    return one, two


def _checked(network: Network, publish: Sequence[Publish]) -> tuple[Publish, ...]:
    versions = {subnet.version for subnet in network.subnets}
    checked = tuple(parse.check_publish(one) for one in publish)
    for one in checked:
        if network.internal:
            raise Invalid(f"cannot publish {one}: network {network.key} is internal; use another network")
        if one.host_ip == LOOPBACK6:
            raise Invalid(f"cannot publish {one}: the kernel forwards nothing from ::1; use 127.0.0.1")
        if one.host_ip is not None and one.host_ip.version not in versions:
            raise Invalid(f"cannot publish {one}: network {network.key} has no IPv{one.host_ip.version} subnet")
    return checked
