"""The flows that are the same for everyone: what leads from one table to the next, and what nobody may send.

A table without a flow for a packet drops it (`fail_mode=secure`); what is here are the ways on.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from ..model import Address, Endpoint
from . import tables
from .flow import Flow, coming, match, toward
from .scope import Scope
from .tables import Flag, Kind, Table, has, lacks, then

FAMILIES = ("ip", "ipv6")
ABROAD = Flag.TUNNEL | Flag.GATEWAY
LINK_LOCAL = ip_network("fe80::/10")
GROUPS = ip_network("224.0.0.0/4"), ip_network("ff00::/8")
EVERYBODY = ip_address("255.255.255.255")
# router and neighbour solicitation and advertisement, redirect (RFC 4861)
RS, RA, NS, NA, REDIRECT = 133, 134, 135, 136, 137


def flows_of_base(scope: Scope) -> Iterator[Flow]:
    """The ways between tables, and the tunnel ports."""
    cookie = scope.cookie(Kind.BASE)
    for table, priority, said, actions in (
        *_dispatch(), *_discovery(), *_routing(), *_tracking(), *_security(),
    ):  # fmt: skip
        yield Flow(table, priority, said, actions, cookie)
    for _, tunnel in sorted(scope.ofports.tunnels.items()):
        yield Flow(Table.OUTPUT, 100, match(**{tables.OUT: tunnel}), f"output:{tunnel}", cookie)


def flows_of_endpoint(scope: Scope, endpoint: Endpoint) -> Iterator[Flow]:
    """Tunnels are taken from known machines only."""
    if endpoint.machine == scope.machine:
        return
    cookie = scope.cookie(Kind.BASE)
    for address, flags in ((endpoint.inner, Flag.TUNNEL | Flag.ENCRYPTED), (endpoint.address, Flag.TUNNEL)):
        if address is None:
            continue
        for _, tunnel in sorted(scope.ofports.tunnels.items()):
            said = match(in_port=tunnel, **{_outer(address): address})
            yield Flow(Table.CLASSIFY, 100, said, then(*tables.raise_flags(flags), Table.TUNNEL), cookie)


def _outer(address: Address) -> str:
    return "tun_src" if address.version == 4 else "tun_ipv6_src"


Line = tuple[Table, int, str, str]


def _security() -> Iterator[Line]:
    # a kernel reports its groups before it has an address (RFC 3810 §5.2.14); nobody asks
    yield Table.SECURITY, 50, match("icmp6", ipv6_src="::", icmp_type=143), "drop"
    yield Table.ND_SECURITY, 0, "", then(Table.SPOOFED)
    yield Table.GATEWAY_SOURCE, 0, "", then(Table.DISPATCH)
    yield Table.GATEWAY, 100, match("ipv6", ipv6_src=LINK_LOCAL), then(Table.DISPATCH)
    yield Table.GATEWAY, 100, match("arp", arp_op=1), then(Table.ARP)


def _dispatch() -> Iterator[Line]:
    """Who may not answer DHCP, what is neighbour discovery, and multicast that is none."""
    dispatch = Table.DISPATCH
    inside = lacks(Flag.GATEWAY)
    yield dispatch, 300, match("udp", reg4=inside, tp_src=67, tp_dst=68), "drop"
    yield dispatch, 300, match("udp6", reg4=inside, tp_src=547, tp_dst=546), "drop"
    yield dispatch, 300, match("icmp6", reg4=inside, icmp_type=RA), "drop"
    for kind in (RS, RA, NS, NA):
        said = {"nw_ttl": 255, "icmp_type": kind, "icmp_code": 0}
        yield dispatch, 240, match("icmp6", **said), then(Table.DISCOVERY)
        if kind in (NS, NA):
            yield dispatch, 250, match("icmp6", reg4=lacks(ABROAD), **said), then(Table.ND_SECURITY)
    for kind in (RS, RA, NS, NA, REDIRECT):
        yield dispatch, 230, match("icmp6", icmp_type=kind), "drop"
    for group in GROUPS:
        family, field = toward(group)
        yield dispatch, 150, match(family, dl_dst=tables.MULTICAST, **{field: group}), then(Table.DELIVER)
    yield dispatch, 150, match("ip", dl_dst=tables.MULTICAST, nw_dst=EVERYBODY), then(Table.DELIVER)
    yield dispatch, 140, match(dl_dst=tables.MULTICAST), "drop"
    yield dispatch, 0, "", then(Table.DELIVER)


def _discovery() -> Iterator[Line]:
    checked = then(*tables.raise_flags(Flag.DISCOVERY), Table.DELIVER)
    for kind in (NA, RA):
        group = match("icmp6", dl_dst=tables.MULTICAST, ipv6_dst=GROUPS[1], icmp_type=kind)
        yield Table.DISCOVERY, 120, group, checked
        yield Table.DISCOVERY, 110, match("icmp6", dl_dst=tables.MULTICAST, icmp_type=kind), "drop"
        yield Table.DISCOVERY, 100, match("icmp6", icmp_type=kind), checked


def _routing() -> Iterator[Line]:
    """What no router forwards, and whose time is over: the gateway's kernel says so to the sender."""
    for where in (*GROUPS, EVERYBODY, LINK_LOCAL):
        family, field = toward(where)
        yield Table.ROUTE, 800, match(family, **{field: where}), "drop"
    family, field = coming(LINK_LOCAL)
    yield Table.ROUTE, 800, match(family, **{field: LINK_LOCAL}), "drop"
    for family in FAMILIES:
        yield Table.NEIGHBOUR, 200, match(family, nw_ttl=0), "drop"
        yield Table.NEIGHBOUR, 200, match(family, nw_ttl=1), then(Table.TO_GATEWAY)
    yield Table.NEIGHBOUR, 0, "", then(Table.TO_GATEWAY)


def _tracking() -> Iterator[Line]:
    yield Table.TRACK, 200, match(reg4=has(Flag.DISCOVERY)), then(Table.OUTPUT)
    for family in FAMILIES:
        tracked = f"ct(table={int(Table.STATE)},zone={tables.ZONE_BITS})"
        yield Table.TRACK, 100, match(family, reg4=has(Flag.TRACK)), tracked
        yield Table.COMMIT, 100, match(family), then(f"ct(commit,zone={tables.ZONE_BITS})", Table.OUTPUT)
    yield Table.TRACK, 0, "", then(Table.OUTPUT)
    yield Table.STATE, 100, match(ct_state="+inv+trk"), "drop"
    yield Table.STATE, 90, match(ct_state="+rel+trk"), then(Table.OUTPUT)
    yield Table.STATE, 90, match(ct_state="+est+trk"), then(Table.OUTPUT)
    yield Table.STATE, 80, match(ct_state="+new+trk"), then(Table.SOURCE)
    yield Table.SOURCE, 0, "", then(Table.TARGET)
    yield Table.TARGET, 0, "", then(Table.EGRESS)
    yield Table.EGRESS, 1000, match(reg4=lacks(Flag.EGRESS)), then(Table.INGRESS)
    yield Table.INGRESS, 1000, match(reg4=lacks(Flag.INGRESS)), then(Table.COMMIT)
