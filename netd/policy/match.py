"""Whether a selector, a peer or a rule speaks of a port, an address, a packet: the words of the model, one by one.

A rule whose words exclude each other (ports of ICMP, or ports and ICMP types at once) speaks of nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..fabric import Fabric
from ..model import Address, Direction, Network, Peer, Policy, Port, Rule, Selector

TRANSPORTS = ("tcp", "udp", "sctp")
# ICMP by the version of IP that carries it
ICMP = {"icmp": 4, "icmpv6": 6}
# router and neighbour solicitation, neighbour advertisement (RFC 4861); router advertisements are port security's
DISCOVERY = (133, 135, 136)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection, as it is between the translations: the target after DNAT, the source before
    SNAT.

    `proto` is tcp, udp, sctp, icmp, icmpv6, or another protocol's number as text; `port` the destination port of the
    first three; `icmp_type` of ICMP.
    """

    source: Address
    target: Address
    proto: str
    port: int | None = None
    icmp_type: int | None = None


def selects(selector: Selector, port: Port) -> bool:
    """Whether a selector of the port's tenant selects it."""
    if selector.networks and port.network not in selector.networks:
        return False
    return all(port.labels.get(key) == value for key, value in selector.labels.items())


def speaks_of(peer: Peer, address: Address, port: Port | None) -> bool:
    """Whether a peer is this address, which the tenant's `port` has, or nobody."""
    if peer.ports is not None:
        return port is not None and selects(peer.ports, port)
    return peer.cidr is not None and address in peer.cidr and not any(address in subnet for subnet in peer.excluded)


def possible(rule: Rule) -> bool:
    """Whether a packet can be what the rule speaks of."""
    if rule.ports and (rule.icmp_types or rule.proto not in (None, *TRANSPORTS)):
        return False
    if rule.ports and all(first > last for first, last in rule.ports):
        return False
    return not rule.icmp_types or rule.proto in (None, *ICMP)


def covers(rule: Rule, packet: Packet) -> bool:
    """Whether a rule speaks of the packet's protocol, port and ICMP type."""
    if not possible(rule) or rule.proto not in (None, packet.proto):
        return False
    if rule.proto in ICMP and ICMP[rule.proto] != packet.source.version:
        return False
    if rule.ports and (packet.proto not in TRANSPORTS or not _within(packet.port, rule.ports)):
        return False
    if not rule.icmp_types:
        return True
    return ICMP.get(packet.proto) == packet.source.version and packet.icmp_type in rule.icmp_types


def _within(port: int | None, ranges: Iterable[tuple[int, int]]) -> bool:
    return port is not None and any(first <= port <= last for first, last in ranges)


def discovery(packet: Packet) -> bool:
    """Whether a packet on its own link looks for a neighbour, or answers one who does."""
    return packet.proto == "icmpv6" and packet.source.version == 6 and packet.icmp_type in DISCOVERY


def allows(rule: Rule, packet: Packet, other: Address, port: Port | None) -> bool:
    """Whether a rule allows a packet whose other side is the address `other` of `port`."""
    return covers(rule, packet) and (not rule.peers or any(speaks_of(peer, other, port) for peer in rule.peers))


def of_tenant(fabric: Fabric, tenant: str) -> tuple[Policy, ...]:
    """A tenant's policies in the order in which they are asked: by name."""
    found = (policy for policy in fabric.policies.values() if policy.tenant == tenant)
    return tuple(sorted(found, key=lambda policy: policy.name))


def selecting(policies: Iterable[Policy], port: Port, direction: Direction) -> Iterator[Policy]:
    """The policies that select a port in a direction."""
    return (policy for policy in policies if direction in policy.directions and selects(policy.applies, port))


def rules(policy: Policy, direction: Direction) -> Iterator[tuple[int, Rule]]:
    """The rules of a direction by their place among all of the policy's; none when the policy leaves the direction
    alone."""
    if direction in policy.directions:
        yield from ((index, rule) for index, rule in enumerate(policy.rules) if rule.direction is direction)


def scattered(address: Address, networks: Iterable[Network]) -> bool:
    """Whether ports other than the one a packet names may take it: link-local (IPv6), multicast, broadcast."""
    if address.is_multicast or (address.version == 6 and address.is_link_local):
        return True
    if address.version == 6:
        return False
    subnets = (subnet for network in networks for subnet in network.subnets if subnet.version == 4)
    return int(address) == 0xFFFFFFFF or any(address == subnet.broadcast_address for subnet in subnets)


def owners(fabric: Fabric, tenant: str) -> Mapping[Address, Port]:
    """A tenant's ports by address, without those that are leaving."""
    ports = (port for network in fabric.of_tenant(tenant) for port in fabric.on(network.key).values())
    return {address.ip: port for port in ports if not port.leaving for address in port.addresses}
