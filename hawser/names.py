"""Names for containers: the node's DNS server listens on the gateway of every network, for that network's tenant.

It answers for what the mesh has, and for every machine's running containers and whatever else is attached, by name, as
Docker's does on a network; a service that is announced under the same name is meant first, and a name that several
have leads to all of them. A network's coming and going is seen in the store; sockets that could not be opened (a bridge
that is not up yet) are tried again by the reconcile loop.
"""

import asyncio
import socket
from collections.abc import Sequence

from hawser.mesh.agent import Mesh
from hawser.mesh.drivers.dns_server import DnsServer, Listener
from hawser.mesh.model import Instance
from hawser.netd import model
from hawser.netd.agent import NetAgent
from hawser.netd.errors import NetError
from hawser.runtime.errors import RuntimeFault
from hawser.store import Compacted, Store, StoreError
from hawser.store.loop import reconcile_loop

from .elsewhere import Elsewhere
from .workloads.containers import Containers

RETRY, INTERVAL = 0.1, 30.0


class Names:
    """The DNS listeners of one node."""

    def __init__(
        self, store: Store, machine: str, mesh: Mesh, net: NetAgent, containers: Containers, port: int
    ) -> None:
        self._store = store
        self._mesh = mesh
        self._net = net
        self._containers = containers
        self._server = DnsServer(self._lookup, port=port, make=self._make)
        self._wake = asyncio.Event()
        net.on_round = self._wake.set  # routers decide what a listener hides
        self._failures: list[str] = []
        self._hosts: tuple[Instance, ...] = ()
        self._elsewhere = Elsewhere(store, machine)
        self._known: dict[str, tuple[object, object, object, tuple[Instance, ...]]] = {}

    def refresh(self) -> None:
        """Look again at the containers: one has started, ended, or changed its networks."""
        self._hosts = tuple(self._containers.hosts())
        self._wake.set()

    def _lookup(self, tenant: str) -> Sequence[Instance]:
        """A tenant's instances; the same object while nothing changed, as the server wants it."""
        announced, others = self._mesh.instances(tenant), self._elsewhere.of(tenant)
        known = self._known.get(tenant)
        if known is not None and known[0] is announced and known[1] is self._hosts and known[2] is others:
            return known[3]
        services = {instance.service for instance in announced}
        own = (host for host in self._hosts if host.tenant == tenant)
        found = (*announced, *(host for host in (*own, *others) if host.service not in services))
        self._known[tenant] = (announced, self._hosts, others, found)
        return found

    async def run(self) -> None:
        """Keep the listeners in step with the networks until cancelled."""
        self.refresh()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(), name="networks")
                group.create_task(self._elsewhere.run(), name="names of other machines")
                group.create_task(reconcile_loop(self._once, self._wake, INTERVAL), name="listeners")
        finally:
            await self._server.close()

    def failures(self) -> list[str]:
        """Addresses that could not be listened on, with the reason."""
        return list(self._failures)

    async def _watch(self) -> None:
        while True:
            try:
                async with self._store.watch(model.PORTS, prefix=True) as batches:
                    self._wake.set()
                    async for _ in batches:
                        self._wake.set()
            except Compacted:
                continue

    async def _once(self) -> float | None:
        listeners = [self._listener(network) for network in self._net.present()]
        self._failures = [f"dns {address}: {reason}" for address, reason in (await self._server.set(listeners)).items()]
        try:
            await self._containers.tell_names()
            self._containers.follow_links()
        except (NetError, StoreError, RuntimeFault) as error:
            self._failures.append(f"names: {error}")
        return RETRY if self._failures else None

    def _listener(self, network: model.Network) -> Listener:
        fabric = self._net.fabric
        joined = fabric.joined(network.key)
        others = [other for other in fabric.of_tenant(network.tenant) if other.key not in joined]
        return Listener(
            tenant=network.tenant,
            addresses=network.gateways,
            place=network.tenant,
            forward=not network.internal,
            hidden=tuple(subnet for other in others for subnet in other.subnets),
        )

    def _make(self, tenant: str, family: int, kind: int) -> socket.socket:
        return self._net.within(tenant, lambda: socket.socket(family, kind))
