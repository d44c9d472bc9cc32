"""Where a tenant's namespace meets the host: a link with two addresses of each version, numbered by the machine.

IPv4 from 100.96.0.0/11, which is shared address space (RFC 6598) that tenants and underlays do not have, IPv6 from a
prefix of our own (RFC 4193). What goes out is translated to the tenant's side here and to the host's address there, so
tenants with the same subnets stay apart in the host's connection tracking.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from .errors import Unavailable

POOL4 = IPv4Network("100.96.0.0/11")
POOL6 = IPv6Network("fd68:6177:7366::/96")
NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Transit:
    """The addresses of both ends, each with the link's prefix length."""

    host4: IPv4Interface
    tenant4: IPv4Interface
    host6: IPv6Interface
    tenant6: IPv6Interface


def transit(number: int) -> Transit:
    """The transit of the tenant with this number, 0 to 2^20-1."""
    return Transit(
        host4=IPv4Interface((int(POOL4.network_address) + 2 * number, 31)),
        tenant4=IPv4Interface((int(POOL4.network_address) + 2 * number + 1, 31)),
        host6=IPv6Interface((int(POOL6.network_address) + 2 * number, 127)),
        tenant6=IPv6Interface((int(POOL6.network_address) + 2 * number + 1, 127)),
    )


def free_number(used: set[int]) -> int:
    """The lowest number that is free. Unavailable."""
    for number in range(NUMBERS):
        if number not in used:
            return number
    raise Unavailable(f"this machine has {NUMBERS} tenants; no more fit")
