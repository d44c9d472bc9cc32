"""Routing on the machine where a packet begins: what is sent to the gateway's MAC is routed here when its target is a
known port of a joined network, and by the gateway's kernel otherwise.

The longest prefix decides, among the tenant's subnets and the static routes of routers; a subnet before a route of the
same length. Only known ports are routed to: for an address that nobody has, the kernel tells the sender. Internal
networks have no way to the gateway's kernel but to its own addresses.
"""

from collections.abc import Iterator

from ..model import Address, Network, Port, Route, Router, Subnet
from . import tables
from .base import ABROAD, FAMILIES, LINK_LOCAL
from .flow import Flow, match, toward
from .scope import Scope
from .tables import Flag, Kind, Table, lacks, put, then

# four to a bit of prefix: routes, routes with their time over, subnets
LONGEST, STEP = 100, 4


def behind(scope: Scope, each: Port) -> list[tuple[Router, Route]]:
    """The static routes that lead to a port."""
    return [
        (router, route)
        for address in each.addresses
        for router, route in scope.vias.get((each.tenant, address.ip), ())
        if each.network in router.networks and route.subnet.version == route.via.version
    ]


def network(scope: Scope, each: Network) -> Iterator[Flow]:
    """From a network that is programmed here."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    gateway = match(reg1=each.vni, reg4=lacks(ABROAD), dl_dst=each.gateway_mac)
    yield Flow(Table.DISPATCH, 100, gateway, then(Table.ROUTE), cookie)
    own: list[Address | Subnet] = [*each.gateways]
    if not scope.filtered(each):
        own.append(LINK_LOCAL)
    for address in own:
        family, field = toward(address)
        said = match(family, **{tables.NETWORK: each.vni, field: address})
        yield Flow(Table.ROUTE, 900, said, then(Table.TO_GATEWAY), cookie)
    for family in FAMILIES if not each.internal else ():
        yield Flow(Table.ROUTE, 1, match(family, reg1=each.vni), then(Table.TO_GATEWAY), cookie)
    number = scope.ofports.gateways.get(each.key)
    if number is not None:
        actions = then(put(tables.OUT, number), Table.TRACK)
        yield Flow(Table.TO_GATEWAY, 100, match(reg1=each.vni), actions, cookie)


def subnets(scope: Scope, each: Network) -> Iterator[Flow]:
    """To a network, also one that is not programmed here: whether a router joins it is asked next."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    zone = scope.zones[each.tenant]
    for subnet in each.subnets:
        family, field = toward(subnet)
        said = match(family, **{tables.ZONE: zone, field: subnet})
        actions = then(put(tables.FAR, each.vni), Table.JOINED)
        yield Flow(Table.ROUTE, LONGEST + STEP * subnet.prefixlen + 2, said, actions, cookie)
        if subnet.version == 4 and subnet.prefixlen < 31:
            said = match("ip", reg5=zone, nw_dst=subnet.broadcast_address)
            yield Flow(Table.ROUTE, 800, said, "drop", cookie)


def port(scope: Scope, each: Port, network: Network) -> Iterator[Flow]:
    """To a known port, and to what is behind it."""
    cookie = scope.cookie(Kind.PORT, each.key)
    macs = f"set_field:{network.gateway_mac}->eth_src", f"set_field:{each.mac}->eth_dst"
    hop = put(tables.NETWORK, network.vni), *macs
    for address in each.addresses:
        family, field = toward(address.ip)
        said = match(family, **{tables.FAR: network.vni, field: address.ip})
        yield Flow(Table.NEIGHBOUR, 100, said, then(*hop, "dec_ttl", Table.DELIVER), cookie)
    for router, route in behind(scope, each):
        family, field = toward(route.subnet)
        priority = LONGEST + STEP * route.subnet.prefixlen
        for name in router.networks:
            source = scope.network(f"{router.tenant}/{name}")
            if source is None:
                continue
            said = match(family, **{tables.NETWORK: source.vni, field: route.subnet})
            actions = then(*hop, *tables.raise_flags(Flag.ROUTED), "dec_ttl", Table.DELIVER)
            yield Flow(Table.ROUTE, priority, said, actions, cookie)
            late = match(family, nw_ttl=1, **{tables.NETWORK: source.vni, field: route.subnet})
            yield Flow(Table.ROUTE, priority + 1, late, then(Table.TO_GATEWAY), cookie)
