"""Which address comes next, and which subnet: pure choices; the store decides who gets it (create-compare)."""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network

from .errors import Invalid, Unavailable
from .model import Address, Network, Subnet

POOL4 = IPv4Network("10.64.0.0/10")
POOL6 = IPv6Network("fd68:6177:7365::/48")
TRIES6 = 4096


def candidates(
    network: Network, subnet: Subnet, taken: Collection[Address], after: Address | None
) -> Iterator[Address]:
    """Free addresses of a subnet, beginning after the one given last, so that a freed one rests longest.

    Network address, broadcast (IPv4), subnet-router anycast (IPv6, RFC 4291 §2.6.1) and gateway are never given.
    """
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - (subnet.version == 4)
    size = last - first + 1
    start = int(after) + 1 - first if after is not None and after in subnet else 0
    reserved = set(network.gateways)
    for offset in range(size if subnet.version == 4 else min(size, len(taken) + TRIES6)):
        address = subnet.network_address + (1 + (start + offset) % size)
        if address not in taken and address not in reserved:
            yield address


def exhausted(network: Network, subnet: Subnet) -> Unavailable:
    """The error of a subnet without a free address."""
    return Unavailable(f"network {network.key}: {subnet} has no free address; remove containers or use a larger subnet")


def check_fixed(network: Network, address: Address) -> Subnet:
    """The subnet a requested address belongs to; Invalid when it can never be given."""
    for subnet in network.subnets:
        if address in subnet:
            if address in network.gateways:
                raise Invalid(f"address {address} is the gateway of {network.key}; choose another")
            if address == subnet.network_address or (subnet.version == 4 and address == subnet.broadcast_address):
                raise Invalid(f"address {address} is reserved in {subnet}; choose another")
            return subnet
    subnets = ", ".join(map(str, network.subnets))
    raise Invalid(f"address {address} is not in network {network.key} ({subnets}); choose one that is")


def free_subnets(used: Collection[Subnet]) -> tuple[Subnet, Subnet]:
    """One IPv4 /24 and one IPv6 /64 of the pools that overlap nothing in use (networks, routes of the host)."""
    return _free(POOL4, 24, used), _free(POOL6, 64, used)


def _free(pool: Subnet, prefix: int, used: Collection[Subnet]) -> Subnet:
    busy = [subnet for subnet in used if subnet.version == pool.version and subnet.prefixlen > 0]
    for subnet in pool.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(other) for other in busy):
            return subnet
    raise Unavailable(f"every /{prefix} of {pool} is in use; remove a network or give --subnet")
