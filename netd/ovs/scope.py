"""What one machine's flows are compiled from: the fabric, the numbers of its bridge, and answers kept for all objects.

The answers depend on networks, routers, policies and defaults only, so they hold while ports come and go; when anything
else changes, make a new scope. A network is programmed here when it is of this data plane, has a VNI, its tenant has a
zone, and the machine has to do with it (`Fabric.present`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..fabric import Fabric
from ..model import Address, Default, Direction, Kind, Network, Port, Route, Router, Tunnel
from ..site import way_to
from . import tables
from .rules import TenantPolicies
from .tables import Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Ofports:
    """OpenFlow numbers on the machine's bridge: local ports by `Port.id`, gateway ports by network key, and the
    flow-based tunnel ports (`key=flow`, `remote_ip=flow`) by what they speak."""

    ports: Mapping[str, int] = field(default_factory=dict)
    gateways: Mapping[str, int] = field(default_factory=dict)
    tunnels: Mapping[Tunnel, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """How a port is reached: `actions` set the registers and the tunnel; `local` is its number, None on another
    machine."""

    actions: tuple[str, ...]
    local: int | None


class Scope:
    """One machine's view. `present` holds the keys of networks it has to do with, of whatever data plane."""

    def __init__(
        self, fabric: Fabric, machine: str, ofports: Ofports, zones: Mapping[str, int], instance: int = 0
    ) -> None:
        self.fabric, self.machine, self.ofports, self.zones, self.instance = fabric, machine, ofports, zones, instance
        self._joined: dict[str, frozenset[str]] = {}
        self._filtered: dict[str, bool] = {}
        self._policies: dict[str, TenantPolicies] = {}
        self._networks: dict[str, list[Network]] = {}
        self.vias: dict[tuple[str, Address], list[tuple[Router, Route]]] = {}
        for network in fabric.networks.values():
            self._networks.setdefault(network.tenant, []).append(network)
        for _, router in sorted(fabric.routers.items()):
            for route in router.routes:
                self.vias.setdefault((router.tenant, route.via), []).append((router, route))
        self.present = self.find_present()

    def again(self, *, ofports: Ofports | None = None, zones: Mapping[str, int] | None = None) -> "Scope":
        """The same machine's, as the fabric is now."""
        numbers, numbered = ofports or self.ofports, self.zones if zones is None else zones
        return Scope(self.fabric, self.machine, numbers, numbered, self.instance)

    def find_present(self) -> frozenset[str]:
        """The networks the machine has to do with now (`Fabric.present`)."""
        own = {port.on for port in self.fabric.at(self.machine).values() if port.on in self.fabric.networks}
        return frozenset(other for network in own for other in self.joined(network))

    def network(self, key: str) -> Network | None:
        """A network that is programmed here."""
        network = self.fabric.networks.get(key)
        if network is None or key not in self.present or network.kind is not Kind.OVS or not network.vni:
            return None
        return network if network.tenant in self.zones else None

    def of_tenant(self, tenant: str) -> list[Network]:
        """A tenant's networks that have a VNI, programmed here or not."""
        return [network for network in self._networks.get(tenant, ()) if network.vni]

    def has_tenant(self, tenant: str) -> bool:
        """Whether any network of a tenant is programmed here."""
        return any(self.network(network.key) for network in self._networks.get(tenant, ()))

    def joined(self, key: str) -> frozenset[str]:
        """The networks that routers join to this one, itself among them."""
        if key not in self._joined:
            self._joined[key] = frozenset(self.fabric.joined(key))
        return self._joined[key]

    def filtered(self, network: Network) -> bool:
        """Whether policies or a default can apply on a network."""
        if network.key not in self._filtered:
            self._filtered[network.key] = self.fabric.filtered(network)
        return self._filtered[network.key]

    def policies(self, tenant: str) -> TenantPolicies:
        """A tenant's policies."""
        if tenant not in self._policies:
            self._policies[tenant] = TenantPolicies.of(self.fabric, tenant)
        return self._policies[tenant]

    def isolation(self, port: Port, network: Network) -> tuple[bool, bool]:
        """Whether a port sends (egress) and gets (ingress) only what a rule allows."""
        if not self.filtered(network):
            return False, False
        if self.fabric.default(network) is Default.DENY:
            return True, True
        selecting = self.policies(port.tenant).selecting
        return selecting(port, Direction.EGRESS), selecting(port, Direction.INGRESS)

    def way(self, port: Port, network: Network) -> Way | None:
        """How a port is reached from here; None when it is leaving, has no number yet, or its machine no endpoint."""
        if port.leaving:
            return None
        if port.machine == self.machine:
            number = self.ofports.ports.get(port.id)
            return Way((tables.put(tables.OUT, number),), number) if number is not None else None
        tunnel = self.tunnel_to(port.machine, network)
        return Way((*tunnel, tables.put(tables.OUT, self.ofports.tunnels[network.tunnel])), None) if tunnel else None

    def tunnel_to(self, machine: str, network: Network) -> tuple[str, ...]:
        """The actions that address a tunnel to a machine; none when there can be none."""
        way = way_to(self.fabric, self.machine, network, machine)
        if way is None or network.tunnel not in self.ofports.tunnels:
            return ()
        address = way.address
        target = "tun_dst" if address.version == 4 else "tun_ipv6_dst"
        return f"set_field:{network.vni:#x}->tun_id", f"set_field:{address}->{target}"

    def cookie(self, kind: tables.Kind, key: str = "") -> int:
        """The cookie of an object's flows."""
        return tables.cookie_of(self.instance, kind, key)


def isolated_flags(egress: bool, ingress: bool, *, source: bool) -> Flag:
    """The flags of a packet that an isolated port sends (`source`) or is to get."""
    flags = Flag.TRACK if egress or ingress else Flag(0)
    if source:
        return flags | Flag.EGRESS if egress else flags
    return flags | Flag.INGRESS if ingress else flags
