"""Where a packet comes from: which network and tenant it is in, and what is asked of what the gateway sends.

A frame with a VLAN tag is nobody's. The gateway port is the door of the tenant's kernel: its own answers, and what it
forwards from outside. What has a source in one of the tenant's subnets must be from a network that a router joins to
this one; internal networks get nothing else.
"""

from collections.abc import Iterator

from ..model import Network, Port
from . import tables
from .base import FAMILIES
from .flow import Flow, coming, match
from .scope import Scope, isolated_flags
from .tables import Flag, Kind, Table, has, put, then

UNTAGGED = "0x0000/0x1fff"


def port(scope: Scope, each: Port, network: Network, number: int) -> Iterator[Flow]:
    """A local port is known by its number; what it sends is counted here, and limited."""
    cookie = scope.cookie(Kind.PORT, each.key)
    meter = f"meter:{number}" if each.qos.egress is not None else ""
    where = put(tables.NETWORK, network.vni), put(tables.PORT, number), put(tables.ZONE, scope.zones[each.tenant])
    said = match(in_port=number, vlan_tci=UNTAGGED)
    yield Flow(Table.CLASSIFY, 100, said, then(meter, *where, Table.SECURITY), cookie)
    egress, ingress = scope.isolation(each, network)
    flags = isolated_flags(egress, ingress, source=True)
    for address in each.addresses if flags else ():
        family, field = coming(address.ip)
        said = match(family, **{tables.ZONE: scope.zones[each.tenant], field: address.ip})
        yield Flow(Table.GATEWAY_SOURCE, 100, said, then(*tables.raise_flags(flags), Table.DISPATCH), cookie)


def network(scope: Scope, each: Network) -> Iterator[Flow]:
    """A network that is programmed here: by its tunnel key, and by its gateway port."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    zone = put(tables.ZONE, scope.zones[each.tenant])
    where = put(tables.NETWORK, each.vni), zone
    encrypted = has(Flag.ENCRYPTED) if each.encrypted and not each.insecure else None
    said = match(tun_id=each.vni, reg4=encrypted)
    yield Flow(Table.TUNNEL, 100, said, then(*where, Table.DISPATCH), cookie)
    number = scope.ofports.gateways.get(each.key)
    if number is not None:
        said = match(in_port=number, vlan_tci=UNTAGGED)
        actions = then(*where, *tables.raise_flags(Flag.GATEWAY), Table.GATEWAY)
        yield Flow(Table.CLASSIFY, 100, said, actions, cookie)
    for address in each.gateways:
        if address.version == 4:  # the kernel's own probing of its address
            said = match("arp", reg1=each.vni, arp_tpa=address)
            yield Flow(Table.GATEWAY, 110, said, "drop", cookie)
    if not each.internal:
        for family in FAMILIES:
            yield Flow(Table.GATEWAY, 1, match(family, reg1=each.vni), then(Table.DISPATCH), cookie)
    joined = {far.key: far for far in scope.of_tenant(each.tenant) if far.key in scope.joined(each.key)}
    for far in joined.values():
        pair = match(reg1=each.vni, reg10=far.vni)
        yield Flow(Table.GATEWAY_JOINED, 100, pair, then(Table.GATEWAY_SOURCE), cookie)
        yield Flow(Table.JOINED, 100, pair, then(Table.NEIGHBOUR), cookie)


def subnets(scope: Scope, each: Network) -> Iterator[Flow]:
    """Which of a tenant's networks an address is on; for every network of a tenant that is here."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    zone = scope.zones[each.tenant]
    for subnet in each.subnets:
        family, field = coming(subnet)
        said = match(family, **{tables.ZONE: zone, field: subnet})
        actions = then(put(tables.FAR, each.vni), Table.GATEWAY_JOINED)
        yield Flow(Table.GATEWAY, 200 + subnet.prefixlen, said, actions, cookie)
