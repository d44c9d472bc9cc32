"""Who gets a packet: its owner, on this machine or through a tunnel to another; what nobody owns is dropped.

A frame is delivered when both its MAC and its address are a port's, or when a static route led it there. Broadcast and
multicast reach the network's ports on this machine, and those of others where the network says so; on networks where
policies or a default can apply only neighbour discovery does, and link-local addresses likewise: they do not tell whose
they are (netd/policy/decide.py).
"""

from collections.abc import Iterator

from ..model import Address, Network, Port, link_local
from . import tables
from .base import LINK_LOCAL
from .flow import Flow, coming, match, toward
from .route import behind
from .scope import Scope, Way, isolated_flags
from .tables import Flag, Kind, Table, has, put, then


def port(scope: Scope, each: Port, network: Network, way: Way) -> Iterator[Flow]:
    """To a port."""
    cookie = scope.cookie(Kind.PORT, each.key)
    flags = Flag(0)
    if way.local is not None:
        flags = isolated_flags(*scope.isolation(each, network), source=False)
        yield Flow(Table.OUTPUT, 100, match(reg3=way.local), f"output:{way.local}", cookie)
    actions = then(*way.actions, *tables.raise_flags(flags), Table.TRACK)
    own: list[Address] = [address.ip for address in each.addresses]
    for address in own:
        family, field = toward(address)
        said = match(family, dl_dst=each.mac, **{tables.NETWORK: network.vni, field: address})
        yield Flow(Table.DELIVER, 100, said, actions, cookie)
    checked = has(Flag.DISCOVERY) if scope.filtered(network) else None
    said = match("ipv6", reg1=network.vni, reg4=checked, dl_dst=each.mac, ipv6_dst=link_local(each.mac))
    yield Flow(Table.DELIVER, 100, said, then(*way.actions, Table.TRACK), cookie)
    marks = (Flag.ROUTED,) if way.local is None else (Flag.ROUTED, Flag.TUNNEL)
    for _, route in behind(scope, each):
        family, field = toward(route.subnet)
        for flag in marks:
            said = match(family, reg1=network.vni, reg4=has(flag), dl_dst=each.mac, **{field: route.subnet})
            yield Flow(Table.DELIVER, 50, said, then(*way.actions, Table.TRACK), cookie)


def network(scope: Scope, each: Network) -> Iterator[Flow]:
    """To the gateway port, what is not routed: advertisements that answer its solicitations. Link-local addresses of
    networks with policies are dropped before."""
    cookie = scope.cookie(Kind.NETWORK, each.key)
    number = scope.ofports.gateways.get(each.key)
    if number is not None:
        here = int(Flag.DISCOVERY), int(Flag.DISCOVERY | Flag.TUNNEL)
        said = match(reg1=each.vni, reg4=here, dl_dst=each.gateway_mac)
        yield Flow(Table.DELIVER, 100, said, then(put(tables.OUT, number), Table.OUTPUT), cookie)
        yield Flow(Table.OUTPUT, 100, match(reg3=number), f"output:{number}", cookie)
    if scope.filtered(each):
        for family, field in (coming(LINK_LOCAL), toward(LINK_LOCAL)):
            said = match(family, **{tables.NETWORK: each.vni, field: LINK_LOCAL})
            yield Flow(Table.DISPATCH, 200, said, "drop", cookie)
    for subnet in each.subnets:
        if subnet.version == 4 and subnet.prefixlen < 31:
            said = match("ip", reg1=each.vni, dl_dst=tables.MULTICAST, nw_dst=subnet.broadcast_address)
            yield Flow(Table.DISPATCH, 150, said, then(Table.DELIVER), cookie)


def flood(scope: Scope, each: Network) -> Iterator[Flow]:
    """To all of a network. What comes through a tunnel does not go back into it: a switch never sends a packet out
    where it came in."""
    ports = [port for port in scope.fabric.on(each.key).values() if not port.leaving]
    here = (scope.ofports.ports.get(port.id) for port in ports if port.machine == scope.machine)
    local = [f"output:{number}" for number in sorted(number for number in here if number is not None)]
    far: list[str] = []
    for machine in sorted({port.machine for port in ports} - {scope.machine}) if each.multicast else ():
        if tunnel := scope.tunnel_to(machine, each):
            far += [*tunnel, f"output:{scope.ofports.tunnels[each.tunnel]}"]
    cookie = scope.cookie(Kind.NETWORK, each.key)
    checked = Flag.DISCOVERY if scope.filtered(each) else Flag(0)
    said = match(reg1=each.vni, reg4=has(checked) if checked else None, dl_dst=tables.MULTICAST)
    yield Flow(Table.DELIVER, 100, said, then(*local, *far), cookie)
    if far:  # every machine has a gateway of its own
        gateway = int(checked | Flag.GATEWAY), int(checked | Flag.GATEWAY)
        said = match(reg1=each.vni, reg4=gateway, dl_dst=tables.MULTICAST)
        yield Flow(Table.DELIVER, 110, said, then(*local), cookie)
