"""Which address comes next, which subnet, which VNI: pure choices; the store decides who gets it (create-compare)."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from .errors import Conflict, Invalid, Unavailable
from .model import VNI_MAX, VNI_MIN, Address, Network, Subnet

POOLS4 = (IPv4Network("10.64.0.0/10"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
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


def check_subnets(network: Network, others: Collection[Network]) -> None:
    """Conflict when a subnet of the network overlaps another's of its tenant; other tenants may have the same."""
    for subnet in network.subnets:
        for other in others:
            if any(subnet.version == s.version and subnet.overlaps(s) for s in other.subnets):
                raise Conflict(f"network {network.key}: {subnet} overlaps network {other.key}; choose another subnet")


def free_subnets(used: Collection[Subnet], *, ipv6: bool = True) -> tuple[Subnet, ...]:
    """One IPv4 /24 and one IPv6 /64 of the pools that overlap nothing in use (networks, routes of the host)."""
    return (_free(POOLS4, 24, used), *([_free((POOL6,), 64, used)] if ipv6 else ()))


def _free(pools: Sequence[Subnet], prefix: int, used: Collection[Subnet]) -> Subnet:
    for pool in pools:
        size = 1 << (pool.max_prefixlen - prefix)
        start, end = int(pool.network_address), int(pool.broadcast_address)
        busy = sorted(
            (int(one.network_address), int(one.broadcast_address))
            for one in used
            if one.version == pool.version and one.prefixlen
        )
        for low, high in busy:
            if low >= start + size:
                break
            if high >= start:
                start = (high // size + 1) * size
        if start + size - 1 <= end:
            return ip_network((type(pool.network_address)(start), prefix))
    names = ", ".join(map(str, pools))
    raise Unavailable(f"every /{prefix} of {names} is in use; remove a network or give --subnet")


def vnis(key: str, count: int) -> list[int]:
    """VNIs to try for a network, of the whole range: from its key, so that two machines that make two networks at once
    seldom want the same."""
    size = VNI_MAX - VNI_MIN + 1
    digests = (hashlib.sha256(f"vni/{turn}/{key}".encode()).digest() for turn in range(count))
    return [VNI_MIN + int.from_bytes(digest[:4], "big") % size for digest in digests]


def no_vni(network: Network, tried: int) -> Unavailable:
    """The error of a network that gets no VNI."""
    if tried == 1:
        return Unavailable(
            f"network {network.key}: VNI {network.vni} is another network's; choose another, or give none"
        )
    return Unavailable(f"network {network.key}: no VNI of {tried} tried is free; remove networks, or choose one")
