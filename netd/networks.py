"""Networks made and removed: the record in the store, the bridge and its rules in the kernel."""

from collections.abc import Mapping
from typing import Any

from . import compile as compiler
from . import ipam, parse, rounds
from .errors import Conflict, Exists
from .model import Network
from .shared import Shared


class Networks:
    """The networks of one node; one call at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def create(self, network: Network, spec: Mapping[str, Any]) -> Network:
        """Make `network`, parsed from `spec`; without subnets it gets free ones. Exists, Conflict, Unavailable."""
        shared = self._shared
        if network.key in shared.intent.networks:
            raise Exists(f"network {network.key} exists; choose another name or remove it")
        network = await self._placed(network, spec)
        steps = rounds.creation(compiler.network_specs(shared.instance, network, shared.mtu), "a new network")
        try:
            await shared.intent.add_network(network)
            await shared.hands.do(lambda kernel: rounds.all_or_nothing(steps, kernel.apply))
        except BaseException as error:
            if not isinstance(error, Exists) or network.key in shared.intent.networks:  # else the record is another's
                await self._undo(network)
            raise
        return network

    async def _placed(self, network: Network, spec: Mapping[str, Any]) -> Network:
        """The network with subnets that overlap nothing."""
        shared = self._shared
        routed = await shared.hands.do(lambda kernel: kernel.used_subnets())
        others = tuple(shared.intent.networks.values())
        if not network.subnets:
            busy = [*routed, *(subnet for other in others for subnet in other.subnets)]
            subnets = [str(subnet) for subnet in ipam.free_subnets(busy, ipv6=shared.ipv6)]
            network = parse.parse_network({**spec, "subnets": subnets})
        ipam.check_subnets(network, others, routed)
        return network

    async def _undo(self, network: Network) -> None:
        """Take back what may have been made; what cannot be removed now, a round removes."""
        shared = self._shared
        await shared.intent.forget_network(network)
        steps = rounds.creation(compiler.network_specs(shared.instance, network, shared.mtu), "half made")
        await shared.hands.do(lambda kernel: rounds.undo(steps, kernel.apply))

    async def remove(self, tenant: str, name: str) -> None:
        """Remove a network that has no ports. NotFound, Conflict."""
        shared = self._shared
        network = shared.intent.network(tenant, name)
        users = sorted(port.sandbox for port in shared.intent.ports.values() if port.on == network.key)
        if users:
            raise Conflict(f"network {network.key} is used by {', '.join(users[:3])}; remove those first")
        await shared.intent.forget_network(network)
        await shared.remove(compiler.network_specs(shared.instance, network, shared.mtu))
