"""What netd is asked for: networks of tenants, and ports that attach a sandbox to one.

A sandbox is a network namespace known by an id; a port is one interface in it. Names become parts of store keys, so
they are DNS labels (RFC 1123); kernel names (at most 15 bytes, IFNAMSIZ in netdevice(7)) are derived, never chosen.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any

from .errors import Invalid

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IFNAME_MAX = 15
ROOT = "/hawser/netd"
NETWORKS = f"{ROOT}/networks/"
PORTS = f"{ROOT}/ports/"
SANDBOXES = f"{ROOT}/sandboxes/"
ADDRESSES = f"{ROOT}/addresses/"


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
    """One interface of a sandbox on a network, with the addresses it was given."""

    sandbox: str
    ifname: str
    tenant: str
    network: str
    netns: str
    mac: str
    addresses: tuple[Interface, ...]
    publish: tuple[Publish, ...] = ()

    @property
    def id(self) -> str:
        """`sandbox:ifname`."""
        return f"{self.sandbox}:{self.ifname}"


def derived(prefix: str, instance: str, key: str) -> str:
    """A kernel interface name for a key: `prefix` and a hash, at most 15 bytes."""
    digest = hashlib.sha256(f"{instance}/{key}".encode()).hexdigest()
    return f"{prefix}{digest}"[:IFNAME_MAX]


def mac_of(instance: str, key: str) -> str:
    """A locally administered unicast MAC for a key (IEEE 802: bit 1 of the first octet)."""
    digest = hashlib.sha256(f"mac/{instance}/{key}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


def check_label(text: object, what: str) -> str:
    """A name that fits a store key and a DNS label, or Invalid."""
    if not isinstance(text, str) or not LABEL.fullmatch(text):
        raise Invalid(f"{what} {text!r}: use 1-63 of a-z, 0-9 and -, beginning and ending with a letter or digit")
    return text


def check_ifname(text: str) -> str:
    """An interface name the kernel takes (dev_valid_name in net/core/dev.c), or Invalid."""
    if not 0 < len(text.encode()) <= IFNAME_MAX or text in (".", "..") or re.search(r"[/:\s]", text):
        raise Invalid(f"interface name {text!r}: the kernel takes 1-{IFNAME_MAX} bytes without /, : or blanks")
    return text


def parse_network(spec: Mapping[str, Any]) -> Network:
    """A network from an untrusted mapping; Invalid names every problem at once."""
    problems: list[str] = []
    known = {"tenant", "name", "kind", "subnets", "gateways", "internal", "mtu"}
    problems += [f"unknown field {key!r}; known: {', '.join(sorted(known))}" for key in sorted(set(spec) - known)]
    for key in ("tenant", "name"):
        try:
            check_label(spec.get(key), key)
        except Invalid as error:
            problems.append(str(error))
    if spec.get("kind", "bridge") not in list(Kind):
        problems.append(f"kind {spec['kind']!r}: known kinds: {', '.join(Kind)}")
    mtu = spec.get("mtu")
    if mtu is not None and (not isinstance(mtu, int) or not 576 <= mtu <= 65535):
        problems.append(f"mtu {mtu!r}: give 576-65535")
    subnets = _parsed(spec.get("subnets", ()), ip_network, "subnet", problems)
    gateways = _parsed(spec.get("gateways", ()), ip_address, "gateway", problems)
    problems += _subnet_problems(subnets)
    if problems:
        raise Invalid("network: " + "; ".join(problems))
    return Network(
        tenant=spec["tenant"],
        name=spec["name"],
        kind=Kind(spec.get("kind", "bridge")),
        subnets=subnets,
        gateways=_gateways(subnets, gateways),
        internal=bool(spec.get("internal", False)),
        mtu=mtu,
    )


def _parsed(texts: Any, parse: Any, what: str, problems: list[str]) -> tuple[Any, ...]:
    found = []
    for text in texts if isinstance(texts, Sequence) and not isinstance(texts, str) else (texts,):
        try:
            found.append(parse(text))
        except ValueError as error:
            problems.append(f"{what} {text!r}: {error}")
    return tuple(found)


def _subnet_problems(subnets: Sequence[Subnet]) -> list[str]:
    problems = []
    for index, one in enumerate(subnets):
        if one.num_addresses < 4:
            problems.append(f"subnet {one} has no room for a gateway and a container; use at most /30 or /126")
        for other in subnets[index + 1 :]:
            if one.version == other.version:
                what = "overlap" if one.overlaps(other) else f"are both IPv{one.version}"
                problems.append(f"subnets {one} and {other} {what}; give at most one of each version")
    return problems


def _gateways(subnets: Sequence[Subnet], given: Sequence[Address]) -> tuple[Address, ...]:
    found: list[Address] = []
    left = list(given)
    for subnet in subnets:
        mine = [address for address in left if address in subnet]
        if len(mine) > 1:
            raise Invalid(f"network: gateways {', '.join(map(str, mine))} are both in {subnet}; give one")
        left = [address for address in left if address not in mine]
        gateway = mine[0] if mine else subnet.network_address + 1
        if gateway in (subnet.network_address, subnet.broadcast_address):
            raise Invalid(f"network: gateway {gateway} is the first or last address of {subnet}; choose another")
        found.append(gateway)
    if left:
        raise Invalid(f"network: gateway {left[0]} is in none of its subnets")
    return tuple(found)


def encode_network(network: Network) -> dict[str, Any]:
    """The plain form that `parse_network` reads back."""
    return {
        "tenant": network.tenant,
        "name": network.name,
        "kind": str(network.kind),
        "subnets": [str(subnet) for subnet in network.subnets],
        "gateways": [str(gateway) for gateway in network.gateways],
        "internal": network.internal,
        "mtu": network.mtu,
    }


def encode_port(port: Port) -> dict[str, Any]:
    """The plain form that `parse_port` reads back."""
    return {
        "sandbox": port.sandbox,
        "ifname": port.ifname,
        "tenant": port.tenant,
        "network": port.network,
        "netns": port.netns,
        "mac": port.mac,
        "addresses": [str(address) for address in port.addresses],
        "publish": [[p.host_port, p.port, p.proto, str(p.host_ip) if p.host_ip else None] for p in port.publish],
    }


def parse_port(plain: Mapping[str, Any]) -> Port:
    """A port from its plain form in the store."""
    return Port(
        sandbox=plain["sandbox"],
        ifname=plain["ifname"],
        tenant=plain["tenant"],
        network=plain["network"],
        netns=plain["netns"],
        mac=plain["mac"],
        addresses=tuple(ip_interface(address) for address in plain["addresses"]),
        publish=tuple(
            Publish(host_port=host, port=port, proto=proto, host_ip=ip_address(ip) if ip else None)
            for host, port, proto, ip in plain["publish"]
        ),
    )
