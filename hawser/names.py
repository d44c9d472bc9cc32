"""Names for containers: the node's DNS server listens on the gateway of every network, for that network's tenant.

A network's coming and going is seen in the store; sockets that could not be opened (a bridge that is not up yet) are
tried again with the reconcile loop's backoff.
"""

import asyncio

from hawser.mesh.agent import Mesh
from hawser.mesh.drivers.dns_server import DnsServer, Listener
from hawser.netd import model
from hawser.netd.agent import NetAgent
from hawser.store import Store
from hawser.store.loop import reconcile_loop

RETRY, INTERVAL = 0.1, 30.0


class Names:
    """The DNS listeners of one node."""

    def __init__(self, store: Store, mesh: Mesh, net: NetAgent, port: int) -> None:
        self._store = store
        self._net = net
        self._server = DnsServer(mesh.instances, port=port)
        self._wake = asyncio.Event()
        self._failures: list[str] = []

    async def run(self) -> None:
        """Keep the listeners in step with the networks until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(), name="networks")
                group.create_task(reconcile_loop(self._once, self._wake, INTERVAL), name="listeners")
        finally:
            await self._server.close()

    def failures(self) -> list[str]:
        """Addresses that could not be listened on, with the reason."""
        return list(self._failures)

    async def _watch(self) -> None:
        async with self._store.watch(model.NETWORKS, prefix=True) as batches:
            async for _ in batches:
                self._wake.set()

    async def _once(self) -> float | None:
        listeners = [
            Listener(tenant=network.tenant, addresses=network.gateways, forward=not network.internal)
            for network in await self._net.networks()
        ]
        self._failures = [f"dns {address}: {reason}" for address, reason in (await self._server.set(listeners)).items()]
        return RETRY if self._failures else None
