"""What netd is asked for: networks of tenants, and ports that attach a sandbox to one.

A sandbox is a network namespace known by an id; a port is one interface in it. Names become parts of store keys, so
they are DNS labels (RFC 1123); kernel names (at most 15 bytes, IFNAMSIZ in netdevice(7)) are derived, never chosen.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

IFNAME_MAX = 15
DEFAULT_MTU = 1500
ROOT = "/hawser/netd"
NETWORKS = f"{ROOT}/networks/"
PORTS = f"{ROOT}/ports/"
SANDBOXES = f"{ROOT}/sandboxes/"
ADDRESSES = f"{ROOT}/addresses/"
PUBLISHED = f"{ROOT}/published/"


class Kind(StrEnum):
    BRIDGE = "bridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One tenant's network: at most one IPv4 and one IPv6 subnet, the bridge's own address in each.

    `internal` networks have no way out and none in. `mtu` None takes the uplink's.
    """

    tenant: str
    name: str
    subnets: tuple[Subnet, ...]
    gateways: tuple[Address, ...]
    kind: Kind = Kind.BRIDGE
    internal: bool = False
    mtu: int | None = None

    @property
    def key(self) -> str:
        """`tenant/name`, the network's name everywhere."""
        return f"{self.tenant}/{self.name}"


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
class Port:
    """One interface of a sandbox on a network, with one address of each of the network's subnets.

    `leaving`: no longer wanted, but its addresses are not given back before the kernel has let go of them.
    """

    sandbox: str
    ifname: str
    tenant: str
    network: str
    netns: str
    mac: str
    addresses: tuple[Interface, ...]
    publish: tuple[Publish, ...] = ()
    leaving: bool = False

    @property
    def id(self) -> str:
        """`sandbox:ifname`."""
        return f"{self.sandbox}:{self.ifname}"

    @property
    def on(self) -> str:
        """The key of the network it is on."""
        return f"{self.tenant}/{self.network}"


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
