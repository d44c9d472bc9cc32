"""Networks made and removed: a record in the store. What a machine needs of one is made with its first port there."""

from collections.abc import Mapping, Sequence
from typing import Any

from hawser.store import Compare

from . import ipam, parse
from .errors import Conflict, Exists
from .model import Network
from .objects import checks
from .shared import Shared


class Networks:
    """The cluster's networks; one call at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def create(self, network: Network, spec: Mapping[str, Any]) -> Network:
        """Make `network`, parsed from `spec`; without subnets it gets free ones. Exists, Conflict, Unavailable."""
        shared = self._shared
        await shared.intent.load()
        if network.key in shared.intent.networks:
            raise Exists(f"network {network.key} exists; choose another name or remove it")
        return await shared.intent.add_network(await self._placed(network, spec))

    async def _placed(self, network: Network, spec: Mapping[str, Any]) -> Network:
        """The network with subnets that overlap no other of its tenant."""
        shared = self._shared
        others = tuple(shared.intent.networks.values())
        if not network.subnets:
            routed = await shared.hands.do(lambda kernel: kernel.used_subnets())
            busy = [*routed, *(subnet for other in others for subnet in other.subnets)]
            subnets = [str(subnet) for subnet in ipam.free_subnets(busy, ipv6=shared.ipv6)]
            network = parse.parse_network({**spec, "subnets": subnets})
        ipam.check_subnets(network, [other for other in others if other.tenant == network.tenant])
        checks.one_error(checks.swallowed(network, shared.intent.fabric.floating.values()))
        return network

    async def remove(self, tenant: str, name: str, unused: Sequence[Compare] = ()) -> None:
        """Remove a network that has no ports, on any machine, while `unused` holds. NotFound, Conflict."""
        shared = self._shared
        await shared.intent.load()
        network = shared.intent.network(tenant, name)
        users = sorted(port.sandbox for port in shared.intent.fabric.on(network.key).values())
        if users:
            raise Conflict(f"network {network.key} is used by {', '.join(users[:3])}; remove those first")
        await shared.intent.forget_network(network, unused)
