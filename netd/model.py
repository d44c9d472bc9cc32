"""What netd is asked for: tenants' networks over all machines, ports that attach sandboxes, and who may speak.

Everything here is the cluster's, beneath `/hawser/netd/` of its store; only sandboxes (a network namespace known by
an id) and host ports are a machine's own. A port is one interface of a sandbox on a network, bound to the machine that
has the sandbox. Names become parts of store keys, so they are DNS labels (RFC 1123); kernel names (at most 15 bytes,
IFNAMSIZ in netdevice(7)) are derived, never chosen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

IFNAME_MAX = 15
DEFAULT_MTU = 1500
VNI_MIN, VNI_MAX = 1, (1 << 24) - 1
VXLAN_PORT, SEALED_PORT = 4789, 4792
TUNNEL_PORTS = (VXLAN_PORT, SEALED_PORT, 6081, 14789)
"""Every UDP port at which machines take tunnels; the last two are a switch's"""
INNER = IPv6Network("fd68:6177:7267::/64")
"""Machines' addresses inside the encrypted overlay (RFC 4193), where tunnels have a UDP port of their own"""
ROOT = "/hawser/netd"
TENANTS = f"{ROOT}/tenants/"
NETWORKS = f"{ROOT}/networks/"
VNIS = f"{ROOT}/vnis/"
PORTS = f"{ROOT}/ports/"
RESERVED = f"{ROOT}/reserved/"
ADDRESSES = f"{ROOT}/addresses/"
ROUTERS = f"{ROOT}/routers/"
POLICIES = f"{ROOT}/policies/"
FLOATING = f"{ROOT}/floating/"
ENDPOINTS = f"{ROOT}/endpoints/"
SANDBOXES = f"{ROOT}/sandboxes/"
PUBLISHED = f"{ROOT}/published/"
TRANSIT = f"{ROOT}/transit/"
LINK = "link:"
OWN_LABELS = "hawser."


class Kind(StrEnum):
    """The data plane of a network: Linux bridges with kernel VXLAN, or Open vSwitch."""

    BRIDGE = "bridge"
    OVS = "ovs"


class Tunnel(StrEnum):
    """What carries a network between machines: RFC 7348 or RFC 8926. Bridges have VXLAN."""

    VXLAN = "vxlan"
    GENEVE = "geneve"


class Default(StrEnum):
    """What happens inside a tenant to what no policy speaks of."""

    ALLOW = "allow"
    DENY = "deny"


class Direction(StrEnum):
    """As the port sees it: ingress comes to it."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whose networks they are; a tenant without a record is one with `allow`."""

    name: str
    default: Default = Default.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One tenant's network: at most one IPv4 and one IPv6 subnet, the gateway's address in each.

    The gateway is on every machine alike. `internal` networks have no way out and none in. `mtu` None takes the
    underlay's less the tunnel's headers; `vni` is the key in its `tunnel`, 0 until it is given one; `multicast`
    lets broadcast and multicast frames pass between machines; `encrypted` refuses tunnels in the clear, but where
    `insecure` agrees to them: to and from machines that have no WireGuard. `default` None takes the tenant's.
    """

    tenant: str
    name: str
    subnets: tuple[Subnet, ...]
    gateways: tuple[Address, ...]
    kind: Kind = Kind.BRIDGE
    tunnel: Tunnel = Tunnel.VXLAN
    internal: bool = False
    mtu: int | None = None
    vni: int = 0
    multicast: bool = False
    encrypted: bool = False
    insecure: bool = False
    default: Default | None = None

    @property
    def key(self) -> str:
        """`tenant/name`, the network's name everywhere."""
        return f"{self.tenant}/{self.name}"

    @property
    def gateway_mac(self) -> str:
        """The gateway's MAC, the same on every machine."""
        return mac_of("gateway", self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A host port that leads to a port of the sandbox; `host_ip` None is every address of the host."""

    host_port: int
    port: int
    proto: str = "tcp"
    host_ip: Address | None = None

    def __str__(self) -> str:
        host = f"[{self.host_ip}]:" if self.host_ip and self.host_ip.version == 6 else ""
        host = host or (f"{self.host_ip}:" if self.host_ip else "")
        return f"{host}{self.host_port}:{self.port}/{self.proto}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Qos:
    """Limits of a port, as the port sees them: rates in bit/s, None for none; `dscp` (0-63, RFC 2474) marks what it
    sends."""

    ingress: int | None = None
    egress: int | None = None
    dscp: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of every frame of one direction goes to another port of the tenant on the same machine, by its id; none
    while that port is not there."""

    direction: Direction
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One interface of a sandbox on a network, with one address of each of the network's subnets.

    `machine` is where its sandbox is; `reserved` names the reservation (tenant/name) whose MAC and addresses it has.
    `leaving`: no longer wanted, but its addresses are not given back before the kernel has let go of them. `link`: no
    sandbox has it, but this link of the machine's is the port, lent for as long.
    """

    machine: str
    sandbox: str
    ifname: str
    tenant: str
    network: str
    netns: str
    mac: str
    addresses: tuple[Interface, ...]
    publish: tuple[Publish, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    qos: Qos = field(default_factory=Qos)
    mirrors: tuple[Mirror, ...] = ()
    reserved: str | None = None
    leaving: bool = False
    link: str | None = None

    @property
    def id(self) -> str:
        """`sandbox:ifname`, its name on its machine."""
        return f"{self.sandbox}:{self.ifname}"

    @property
    def key(self) -> str:
        """`machine/sandbox:ifname`, its name everywhere."""
        return f"{self.machine}/{self.id}"

    @property
    def on(self) -> str:
        """The key of the network it is on."""
        return f"{self.tenant}/{self.network}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A port declared before anything is attached: whoever attaches with its name gets its MAC and addresses, on
    whichever machine, one at a time."""

    tenant: str
    name: str
    network: str
    mac: str
    addresses: tuple[Interface, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    qos: Qos = field(default_factory=Qos)

    @property
    def key(self) -> str:
        """`tenant/name`."""
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A static route of a router: what goes to `subnet` is sent to the address `via` on one of its networks."""

    subnet: Subnet
    via: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Networks of one tenant (by name) between which packets are routed, on whichever machine they begin."""

    tenant: str
    name: str
    networks: tuple[str, ...]
    routes: tuple[Route, ...] = ()

    @property
    def key(self) -> str:
        """`tenant/name`."""
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Ports of one tenant: those on one of `networks` (none given: on any) that have all of `labels`."""

    networks: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other side of a rule: ports of the same tenant (`ports`), or addresses (`cidr` without `excluded`).

    Exactly one of the two is set. A CIDR speaks of packets' addresses, whoever has them, also those from outside.
    """

    ports: Selector | None = None
    cidr: Subnet | None = None
    excluded: tuple[Subnet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may pass in one direction, and the answers to it.

    No `peers`: whoever. `proto` tcp, udp, sctp, icmp (of IPv4), icmpv6, or None: whatever. `ports` are ranges
    (first, last) of destination ports of tcp, udp and sctp, none: all; `icmp_types` 0-255 of icmp and icmpv6, none:
    all.
    """

    direction: Direction
    peers: tuple[Peer, ...] = ()
    proto: str | None = None
    ports: tuple[tuple[int, int], ...] = ()
    icmp_types: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules for the ports that `applies` selects.

    A port that a policy selects gets and sends, in each direction of `directions`, only what some rule of some policy
    allows (as Kubernetes' NetworkPolicy); where the tenant's or network's default is deny, that holds for every port in
    both directions. A direction without rules is shut.
    """

    tenant: str
    name: str
    applies: Selector
    directions: tuple[Direction, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def key(self) -> str:
        """`tenant/name`."""
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floating:
    """An address of the outside that belongs to one of a tenant's, both ways, on the machine that has its port."""

    tenant: str
    address: Address
    target: Address
    network: str

    @property
    def key(self) -> str:
        """The outside address: it belongs to one tenant only."""
        return str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a machine takes tunnels: its address in the underlay and that link's MTU; under the machine's lease.

    Where it speaks WireGuard, `inner` is its address inside the encrypted overlay, and `public_key` has a key in base64
    for each of its slots, with a comma between; slot 0 is at `wireguard_port`, slot 1 at the port after it.
    """

    machine: str
    address: Address
    mtu: int
    public_key: str | None = None
    inner: Address | None = None
    wireguard_port: int = 0


def derived(prefix: str, instance: str, key: str) -> str:
    """A kernel interface name for a key: `prefix` and a hash, at most 15 bytes."""
    digest = hashlib.sha256(f"{instance}/{key}".encode()).hexdigest()
    return f"{prefix}{digest}"[:IFNAME_MAX]


def mac_of(instance: str, key: str) -> str:
    """A locally administered unicast MAC for a key (IEEE 802: bit 1 of the first octet)."""
    digest = hashlib.sha256(f"mac/{instance}/{key}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


def interface(address: Address, subnet: Subnet) -> Interface:
    """An address with its subnet's prefix length."""
    return ip_interface(f"{address}/{subnet.prefixlen}")


def link_local(mac: str) -> IPv6Address:
    """The link-local address that a MAC makes (RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])
