"""netd's agent: the door to the tenant networks of one node.

Intent goes to the store first, then to the kernel, one owner for both. `networks`, `ports` and `repair` do the work,
one call at a time. A round compares everything with everything and repairs: at `open` (what a crash left is removed,
what is missing is made), every 30 s while `run` runs, and whenever asked. A call that is cancelled has done nothing
when it makes something, and everything when it removes something.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hawser.store import Store, StoreError
from hawser.store.loop import reconcile_loop
from hawser.store.reconcile import Status, Step

from . import parse
from .claims import Claims
from .compile import Spec
from .drivers.netlink import has_ipv6
from .drivers.thread import KernelThread, complete
from .drivers.world import World
from .errors import Denied, NetError
from .intent import Intent
from .model import Network, Publish
from .networks import Networks
from .ports import Attachment, Ports
from .repair import Repair
from .shared import Shared
from .world import Kernel

__all__ = ["Attachment", "NetAgent"]
INTERVAL = 30.0


class NetAgent:
    """The tenant networks of one node. `open` before use; every method may raise NetError and StoreError."""

    def __init__(
        self, store: Store, instance: str, rundir: Path, *, kernel: Callable[[str, Path], Kernel] = World
    ) -> None:
        self._make_kernel = kernel
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._thread = KernelThread()
        self._shared = Shared(
            instance=instance,
            rundir=rundir,
            ipv6=has_ipv6(),
            intent=Intent(store),
            claims=Claims(store),
            hands=self._thread,
            wake=self.wake,
        )
        self._networks = Networks(self._shared)
        self._ports = Ports(self._shared)
        self._repair = Repair(self._shared)

    async def open(self) -> None:
        """Take hold of the kernel and bring it to the intent. Denied without the rights; what else fails is retried."""
        shared = self._shared
        await self._thread.open(lambda: self._make_kernel(shared.instance, shared.rundir))
        async with self._lock:
            outcome = await self._repair.round(time.monotonic(), random.random())
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
        await self._thread.close()

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        """Make a network; without subnets it gets a free /24 and /64. Invalid, Exists, Conflict, Unavailable."""
        network = parse.parse_network(spec)
        async with self._lock:
            return await complete(
                self._networks.create(network, spec), lambda: self._networks.remove(network.tenant, network.name)
            )

    async def remove_network(self, tenant: str, name: str) -> None:
        """Remove a network that has no ports. NotFound, Conflict."""
        async with self._lock:
            await complete(self._networks.remove(tenant, name))

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
    ) -> Attachment:
        """Attach a sandbox to a network under `ifname`, with fixed `addresses` or the next free ones.

        The interface `eth0` gets the default routes. Invalid, NotFound, Exists, Conflict, Unavailable; then nothing was
        done.
        """
        parse.check_ifname(ifname)
        async with self._lock:
            target = self._shared.intent.network(tenant, network)
            return await complete(
                self._ports.attach(sandbox, target, ifname, addresses, publish),
                lambda: self._ports.detach(sandbox, ifname),
            )

    async def detach(self, sandbox: str, ifname: str) -> None:
        """Take an interface away. NotFound; what the kernel refuses to remove now, `run` removes later."""
        async with self._lock:
            await complete(self._ports.detach(sandbox, ifname))

    async def remove_sandbox(self, sandbox: str) -> None:
        """Remove a sandbox with all its ports; nothing when it is not there. What the kernel refuses to remove now,
        `run` removes later."""
        async with self._lock:
            await complete(self._ports.remove_sandbox(sandbox))

    def attachments(self, sandbox: str | None = None) -> tuple[Attachment, ...]:
        """What a sandbox (or everybody) has, by interface name."""
        return self._ports.attachments(sandbox)

    def sandboxes(self) -> Mapping[str, str]:
        """Every sandbox's path."""
        return dict(self._shared.intent.sandboxes)

    def statuses(self) -> tuple[Status, ...]:
        """What fails, why, and how often it was tried; empty when all is well."""
        return self._shared.retries.statuses()

    async def plan(self) -> tuple[Step[Spec], ...]:
        """What a round would do now; changes nothing."""
        async with self._lock:
            return await complete(self._repair.plan())

    async def reconcile(self) -> tuple[Step[Spec], ...]:
        """Bring the kernel to the intent now, backoff or not; returns the steps done. `statuses` says what failed."""
        async with self._lock:
            return (await complete(self._repair.round(time.monotonic(), random.random()))).done

    async def teardown(self) -> None:
        """Remove every port, sandbox, network and rule of this node, from the store and the kernel. NetError when
        something stays."""
        async with self._lock:
            await complete(self._repair.teardown())

    async def _once(self) -> float | None:
        now, jitter = time.monotonic(), random.random()
        try:
            async with self._lock:
                await complete(self._repair.round(now, jitter, due_only=True))
        except (NetError, StoreError, OSError) as error:
            self._repair.failed(error, now, jitter)
        deadline = self._shared.retries.deadline()
        return None if deadline is None else deadline - time.monotonic()
