"""One machine among the others: what is particular to it, how its kernel names things, and what of the cluster's
networks it has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .fabric import Fabric
from .model import Address, Interface, Kind, Network, derived, interface
from .rules import Element
from .specs import RuleSpec, Spec
from .transit import Transit, transit

# RFC 7348 §5; Geneve without options (RFC 8926 §3) takes as much
TUNNEL4, TUNNEL6 = 50, 70
# no tenant can have the name
SWITCH = "@switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is particular to one machine: its id, the mark of what it makes, where it keeps tenants' namespaces, the
    MTU of its uplink, and each tenant's number in its transit network.

    `datapath` is Open vSwitch's here: `system` (the kernel's), `netdev` (in user space), "" without Open vSwitch;
    `switch` is where the namespace of the one in user space is kept.
    """

    machine: str
    instance: str
    tenants: str
    mtu: int
    numbers: Mapping[str, int] = field(default_factory=dict)
    datapath: str = ""
    switch: str = ""

    @property
    def switch_path(self) -> str:
        """Where the switch's links are: the namespace's path, "" for the host's."""
        return self.switch if self.datapath == "netdev" else ""


def preferred_kind(datapath: str) -> Kind:
    """The data plane a network gets on a machine with this datapath when nobody chooses: Open vSwitch where the kernel
    moves its packets. In user space it has a tenth of a bridge's throughput."""
    return Kind.OVS if datapath == "system" else Kind.BRIDGE


def uplink_name(instance: str, tenant: str) -> str:
    """The kernel's name of the host's end of a tenant's way out."""
    return derived("hwu", instance, tenant)


def bridge_name(instance: str, key: str) -> str:
    """The kernel's name of a network's bridge."""
    return derived("hwb", instance, key)


def tunnel_name(instance: str, key: str) -> str:
    """The kernel's name of a network's VXLAN device."""
    return derived("hwx", instance, key)


def clear_name(instance: str, key: str) -> str:
    """The kernel's name of an encrypted network's second VXLAN device, to machines that cannot encrypt."""
    return derived("hwx", instance, f"clear/{key}")


def port_name(instance: str, port: str) -> str:
    """The kernel's name of the tenant's end of a port."""
    return derived("hwp", instance, port)


def gateway_name(instance: str, key: str) -> str:
    """The kernel's name of the switch's end of a network's gateway."""
    return derived("hwg", instance, key)


def of_tenant(site: Site, tenant: str) -> Transit:
    """Where a tenant meets the host on this machine."""
    return transit(site.numbers[tenant])


def present(fabric: Fabric, site: Site) -> set[str]:
    """The networks that this machine has to do with and can have: their tenant has a number here, and there is the
    data plane they want."""
    found = (fabric.networks[key] for key in fabric.present(site.machine))
    return {network.key for network in found if network.tenant in site.numbers and has_plane(site, network)}


def is_here(fabric: Fabric, site: Site, network: Network) -> bool:
    """Whether a network is one of `present`, without a look at the others."""
    known = network.tenant in site.numbers and has_plane(site, network)
    return known and fabric.meets(site.machine, network.key)


def has_plane(site: Site, network: Network) -> bool:
    """Whether the network's data plane is here."""
    if network.kind is not Kind.OVS:
        return True
    return bool(site.datapath) and (site.datapath != "netdev" or SWITCH in site.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a machine takes a network's tunnel, and whether that is in the `clear`."""

    address: Address
    clear: bool


def no_plane(network: Network) -> str:
    """Why a network cannot be here, and what to do."""
    return (
        f"network {network.key} is of kind ovs, and this machine has no Open vSwitch; "
        "apt-get install openvswitch-switch"
    )


def way_to(fabric: Fabric, here: str, network: Network, machine: str) -> Way | None:
    """How a network's frames go from one machine to another: inside the encrypted overlay where both have it, else in
    the clear where the network asks for nothing else or agrees to it; None: they do not."""
    endpoint, own = fabric.endpoints.get(machine), fabric.endpoints.get(here)
    if endpoint is None or own is None:
        return None
    if network.encrypted and endpoint.inner is not None and own.inner is not None:
        return Way(address=endpoint.inner, clear=False)
    return Way(address=endpoint.address, clear=True) if network.insecure or not network.encrypted else None


def mtu_of(fabric: Fabric, site: Site, network: Network) -> int:
    """The network's MTU: as asked for, or what every machine's underlay leaves after the tunnel's headers.

    The tunnel adds 50 bytes over IPv4 and 70 over IPv6; WireGuard's are already off the endpoint's inner MTU.
    """
    if network.mtu is not None:
        return network.mtu
    if site.machine not in fabric.endpoints:
        return site.mtu
    room = (_room(endpoint.mtu, endpoint.address, network) for endpoint in fabric.endpoints.values())
    return min(room)


def _room(mtu: int, address: Address, network: Network) -> int:
    overhead = TUNNEL4 if address.version == 4 else TUNNEL6
    if network.encrypted:
        return mtu - (60 if address.version == 4 else 80) - TUNNEL6
    return mtu - overhead


def gateway_interfaces(network: Network) -> tuple[Interface, ...]:
    """The gateway's addresses with their prefix lengths, sorted by version."""
    pairs = zip(network.gateways, network.subnets, strict=True)
    return in_order(interface(gateway, subnet) for gateway, subnet in pairs)


def in_order(addresses: Iterable[Interface]) -> tuple[Interface, ...]:
    """IPv4 first, then by number."""
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a.ip))))


def rule_specs(tenant: str, elements: Iterable[Element]) -> dict[str, Spec]:
    """Elements of the host's table (no tenant) or a tenant's, by key."""
    return {
        f"rule:{tenant}:{name}:{element}": RuleSpec(tenant=tenant, set=name, element=element, value=value)
        for name, element, value in elements
    }
