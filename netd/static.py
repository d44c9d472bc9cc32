"""Static routes of routers in the tenant's namespace, with the meaning that they have in netd/ovs/route.py.

A route is for what comes from the networks of its router, from no others that happen to be joined to its next hop's:
so each of these networks has a routing table of its own, which the kernel asks first for what comes from its bridge.
What is in it never leads to one of the tenant's own subnets, nor to the transit networks: a route is cut into the
pieces that remain without them, and those are looked up by the longest prefix. The namespace itself (names, health
checks) and other networks go on as without it. The next hop may be on another machine.

The port that has the next hop's address sends on what comes from behind it, so its frames may have these pieces'
addresses, as source and as destination; whether they pass is policy's, which knows them as addresses of nobody.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from .fabric import Fabric
from .model import Network, Port, Route, Router, Subnet
from .rules import Element
from .transit import POOL4, POOL6


def routes(fabric: Fabric, network: Network) -> Iterator[tuple[Subnet, Route, Network]]:
    """For what comes from a network: each piece, the route that it is of, and the network of the next hop. A piece of
    two routes of one router or two is the longer route's, or has one next hop (objects/checks.py)."""
    for router in _routers(fabric, network.tenant):
        if network.name not in router.networks:
            continue
        for route in router.routes:
            out = _next(fabric, router, route)
            if out is not None:
                for piece in pieces(fabric, network.tenant, route.subnet):
                    yield piece, route, out


def behind(fabric: Fabric, port: Port) -> list[Subnet]:
    """The pieces that lead to a port, each once."""
    own = {address.ip for address in port.addresses}
    found = [
        piece
        for router in _routers(fabric, port.tenant)
        if port.network in router.networks
        for route in router.routes
        if route.via in own
        for piece in pieces(fabric, port.tenant, route.subnet)
    ]
    return _collapsed(found)


def pieces(fabric: Fabric, tenant: str, subnet: Subnet) -> list[Subnet]:
    """A subnet without the tenant's own, and without those by which tenants meet the host."""
    rest = [subnet]
    own = [each for network in fabric.of_tenant(tenant) for each in network.subnets]
    for hole in (*own, POOL4, POOL6):
        rest = [part for one in rest for part in without(one, hole)]
    return _collapsed(rest)


def without(subnet: Subnet, hole: Subnet) -> list[Subnet]:
    """What remains of a subnet."""
    if subnet.version != hole.version or not subnet.overlaps(hole):
        return [subnet]
    if hole.prefixlen <= subnet.prefixlen:
        return []
    return sorted(subnet.address_exclude(hole))  # type: ignore[arg-type]


def elements(fabric: Fabric, port: Port, ifname: str) -> Iterator[Element]:
    """What the tenant's table says of a port that routes lead to."""
    for piece in behind(fabric, port):
        alone = piece.prefixlen == piece.max_prefixlen
        yield f"frame_behind{piece.version}", f"{ifname} . {piece.network_address if alone else piece}", None


def _routers(fabric: Fabric, tenant: str) -> Iterator[Router]:
    return (router for _, router in sorted(fabric.routers.items()) if router.tenant == tenant and router.routes)


def _next(fabric: Fabric, router: Router, route: Route) -> Network | None:
    """The network of the router that a route's next hop is on."""
    for name in router.networks:
        network = fabric.networks.get(f"{router.tenant}/{name}")
        if network is not None and any(route.via in subnet for subnet in network.subnets):
            return network
    return None


def _collapsed(subnets: Iterable[Subnet]) -> list[Subnet]:
    found = list(subnets)
    four = collapse_addresses(subnet for subnet in found if isinstance(subnet, IPv4Network))
    six = collapse_addresses(subnet for subnet in found if isinstance(subnet, IPv6Network))
    return [*four, *six]
