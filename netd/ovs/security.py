"""Port security: a port sends under its own MAC and addresses only, in ARP and neighbour discovery too.

Besides its addresses a port has the link-local one that its MAC makes, and may ask whether one of these is taken
(duplicate address detection sends from `::`, RFC 4862 §5.4; ARP probes from 0.0.0.0, RFC 5227). A port that static
routes lead to also forwards what comes from there, but never under an address of its tenant's own subnets.
"""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from ..model import Address, Network, Port, link_local
from . import tables
from .base import NA, NS
from .flow import Flow, coming, match
from .route import behind
from .scope import Scope, isolated_flags
from .tables import Kind, Table, then

NO_MAC = "00:00:00:00:00:00"
ANY4, ANY6 = ip_address("0.0.0.0"), ip_address("::")


def port(scope: Scope, each: Port, network: Network, number: int) -> Iterator[Flow]:
    """What a local port may send."""
    cookie = scope.cookie(Kind.PORT, each.key)
    lines = [*_arp(each, number), *_ip(scope, each, network, number), *_forwarded(scope, each, number)]
    for table, priority, said, actions in (*lines, *_discovery(each, number)):
        yield Flow(table, priority, said, actions, cookie)
    yield Flow(Table.SECURITY, 1, match(in_port=number), then(Table.SPOOFED), cookie)
    yield Flow(Table.SPOOFED, 100, match(reg2=number), "drop", cookie)


def addresses6(each: Port) -> list[IPv6Address]:
    """Its IPv6 addresses, the link-local one last."""
    own = [address.ip for address in each.addresses if isinstance(address.ip, IPv6Address)]
    return [*own, link_local(each.mac)]


Line = tuple[Table, int, str, str]


def _arp(each: Port, number: int) -> Iterator[Line]:
    own: list[Address] = [address.ip for address in each.addresses if address.version == 4]
    for address in own:
        # announcements and probes of its own address need no answer
        yield Table.SECURITY, 110, match("arp", in_port=number, dl_src=each.mac, arp_tpa=address), "drop"
        answer = match("arp", in_port=number, dl_src=each.mac, arp_spa=address, arp_op=2, arp_sha=each.mac)
        yield Table.SECURITY, 100, answer, "drop"
    for address in (*own, ANY4) if own else ():
        asked = match("arp", in_port=number, dl_src=each.mac, arp_spa=address, arp_op=1, arp_sha=each.mac)
        yield Table.SECURITY, 100, asked, then(Table.ARP)


def _ip(scope: Scope, each: Port, network: Network, number: int) -> Iterator[Line]:
    flags = isolated_flags(*scope.isolation(each, network), source=True)
    actions = then(*_marked(each), *tables.raise_flags(flags), Table.DISPATCH)
    own: list[Address] = [address.ip for address in each.addresses]
    for address in (*own, link_local(each.mac)):
        family, field = coming(address)
        yield Table.SECURITY, 100, match(family, in_port=number, dl_src=each.mac, **{field: address}), actions
    for address in addresses6(each):
        said = match(
            "icmp6", in_port=number, dl_src=each.mac, ipv6_src=ANY6, icmp_type=NS, icmp_code=0, nd_target=address
        )
        yield Table.SECURITY, 100, said, then(Table.DISPATCH)


def _marked(each: Port) -> list[str]:
    return [f"set_field:{each.qos.dscp}->ip_dscp"] if each.qos.dscp is not None else []


def _forwarded(scope: Scope, each: Port, number: int) -> Iterator[Line]:
    for _, route in behind(scope, each):
        family, field = coming(route.subnet)
        said = match(family, in_port=number, dl_src=each.mac, **{field: route.subnet})
        yield Table.SECURITY, 80, said, then(*_marked(each), Table.DISPATCH)
        for network in scope.of_tenant(each.tenant):
            for subnet in network.subnets:
                if subnet.version == route.subnet.version and subnet.overlaps(route.subnet):
                    yield Table.SECURITY, 90, match(family, in_port=number, **{field: subnet}), then(Table.SPOOFED)


def _discovery(each: Port, number: int) -> Iterator[Line]:
    """The link-layer addresses it names are its own; both options may be missing (RFC 4861 §4.3, §4.4)."""
    for mac in (each.mac, NO_MAC):
        said = match("icmp6", reg2=number, icmp_type=NS, nd_sll=mac)
        yield Table.ND_SECURITY, 100, said, then(Table.DISCOVERY)
        for address in addresses6(each):
            said = match("icmp6", reg2=number, icmp_type=NA, nd_target=address, nd_tll=mac)
            yield Table.ND_SECURITY, 100, said, then(Table.DISCOVERY)
