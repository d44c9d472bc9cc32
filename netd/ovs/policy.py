"""Policies as flows: addresses become identities, and a rule is a conjunction (ovs-fields(7), "Conjunctive Match") of
who it is for, who the other side is, and what passes.

Both tables are asked for the first packet of a connection only, and only when the source here, or the target here, is
isolated in that direction. In `EGRESS` the source is whom policies apply to, in `INGRESS` the target. A rule that
allows is counted by its cookie, a packet that none allows by its port's.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from ..model import Direction, Network, Peer, Port, Rule, Subnet
from ..policy import match as words
from ..static import without
from . import tables
from .flow import Flow, coming, match, toward
from .rules import Identity, Numbered, SelectorKey, TenantPolicies, identity_number, selector_key
from .scope import Scope
from .tables import Kind, Table, put, then

ALLOW, PART = 500, 100
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "tcp": ("tcp", "tcp6"),
    "udp": ("udp", "udp6"),
    "sctp": ("sctp", "sctp6"),
    "icmp": ("icmp",),
    "icmpv6": ("icmp6",),
}
# where a direction is decided, the next table, and the registers of the isolated side and the other
PLACES = {
    Direction.EGRESS: (Table.EGRESS, Table.INGRESS, tables.SOURCE_ID, tables.TARGET_ID),
    Direction.INGRESS: (Table.INGRESS, Table.COMMIT, tables.TARGET_ID, tables.SOURCE_ID),
}


def port(scope: Scope, each: Port, network: Network, local: int | None) -> Iterator[Flow]:
    """What a port's addresses are to the policies, and what is refused of what is its."""
    yield from member(scope, each)
    if local is not None and any(scope.isolation(each, network)):
        cookie = scope.cookie(Kind.PORT, each.key)
        yield Flow(Table.EGRESS, 1, match(reg2=local), "drop", cookie)
        yield Flow(Table.INGRESS, 1, match(reg3=local), "drop", cookie)


def member(scope: Scope, each: Port) -> Iterator[Flow]:
    """What a port's addresses are to the policies, whichever data plane it is on."""
    cookie = scope.cookie(Kind.PORT, each.key)
    identity = scope.policies(each.tenant).identity(each)
    if identity:
        high, low = identity_number(each.tenant, identity)
        for address in each.addresses:
            for table, following, (family, field), registers in (
                (Table.SOURCE, Table.TARGET, coming(address.ip), tables.SOURCE_ID),
                (Table.TARGET, Table.EGRESS, toward(address.ip), tables.TARGET_ID),
            ):
                said = match(family, **{tables.ZONE: scope.zones[each.tenant], field: address.ip})
                actions = then(put(registers[0], high), put(registers[1], low), following)
                yield Flow(table, 100, said, actions, cookie)


def identity(scope: Scope, tenant: str, which: Identity) -> Iterator[Flow]:
    """The rules that are for an identity, and those that have it on their other side."""
    policies = scope.policies(tenant)
    number, zone = identity_number(tenant, which), scope.zones[tenant]
    for direction, (table, _, own, other) in PLACES.items():
        rules = [rule for rule in policies.rules if rule.rule.direction is direction]
        applied = [_part(zone, rule, 1) for rule in rules if selector_key(rule.policy.applies) in which]
        peered = [_part(zone, rule, 2) for rule in rules if _selects(rule.rule.peers, which)]
        for registers, parts in ((own, applied), (other, peered)):
            if parts:
                said = match(**{tables.ZONE: zone, registers[0]: number[0], registers[1]: number[1]})
                yield Flow(table, PART, said, then(*parts), scope.cookie(Kind.POLICIES, tenant))


def tenant(scope: Scope, name: str) -> Iterator[Flow]:
    """A tenant's rules, without whom they are for: their CIDRs, protocols and ports, and what allows."""
    policies, zone = scope.policies(name), scope.zones[name]
    cookie = scope.cookie(Kind.POLICIES, name)
    for direction, (table, following, _, _) in PLACES.items():
        for said, parts in _parts(policies, zone, direction).items():
            yield Flow(table, PART, said, then(*parts), cookie)
        for rule in policies.rules:
            if rule.rule.direction is direction:
                said = match(conj_id=zone << 16 | rule.number)
                yield Flow(table, ALLOW, said, then(following), scope.cookie(Kind.RULE, rule.key))


def _parts(policies: TenantPolicies, zone: int, direction: Direction) -> Mapping[str, list[str]]:
    """The parts of conjunctions by what they match."""
    found: dict[str, list[str]] = {}
    away = toward if direction is Direction.EGRESS else coming
    for rule in policies.rules:
        if rule.rule.direction is not direction:
            continue
        for subnet in _subnets(rule.rule.peers):
            family, field = away(subnet)
            said = match(family, **{tables.ZONE: zone, field: subnet})
            found.setdefault(said, []).append(_part(zone, rule, 2))
        if not rule.rule.peers or _speaks_of_services(rule.rule):
            for said in dict.fromkeys(_services(rule.rule, zone)):
                found.setdefault(said, []).append(_part(zone, rule, _count(rule.rule)))
    return found


def _count(rule: Rule) -> int:
    """How many parts a rule has; never one, for a conjunction has two at least."""
    return max(2, 1 + bool(rule.peers) + _speaks_of_services(rule))


def _speaks_of_services(rule: Rule) -> bool:
    return bool(rule.proto is not None or rule.ports or rule.icmp_types)


def _part(zone: int, rule: Numbered, which: int) -> str:
    return f"conjunction({zone << 16 | rule.number},{which}/{_count(rule.rule)})"


def _selects(peers: Iterable[Peer], which: Identity) -> bool:
    keys: set[SelectorKey] = {selector_key(peer.ports) for peer in peers if peer.ports is not None}
    return not keys.isdisjoint(which)


def _subnets(peers: Iterable[Peer]) -> list[Subnet]:
    """The prefixes that CIDRs without their exceptions come to."""
    found: list[Subnet] = []
    for peer in peers:
        rest: list[Subnet] = [peer.cidr] if peer.cidr is not None else []
        for hole in peer.excluded:
            rest = [part for subnet in rest for part in without(subnet, hole)]
        found += rest
    four = collapse_addresses(subnet for subnet in found if isinstance(subnet, IPv4Network))
    six = collapse_addresses(subnet for subnet in found if isinstance(subnet, IPv6Network))
    return [*four, *six]


def _services(rule: Rule, zone: int) -> Iterator[str]:
    """What passes; everything is a match too."""
    if rule.icmp_types:
        for name in [rule.proto] if rule.proto else words.ICMP:
            for proto in PROTOCOLS[name]:
                yield from (match(proto, reg5=zone, icmp_type=kind) for kind in sorted(set(rule.icmp_types)))
    elif rule.ports:
        for name in [rule.proto] if rule.proto else words.TRANSPORTS:
            for proto in PROTOCOLS[name]:
                yield from (match(proto, reg5=zone, tp_dst=said) for said in port_masks(rule.ports))
    elif rule.proto is not None:
        yield from (match(proto, reg5=zone) for proto in PROTOCOLS[rule.proto])
    else:
        yield match(reg5=zone)


def port_masks(ranges: Iterable[tuple[int, int]]) -> list[int | tuple[int, int] | None]:
    """Ranges of ports as values with masks, the fewest there are; None is every port."""
    found: list[int | tuple[int, int] | None] = []
    for first, last in _merged(ranges):
        while first <= last:
            size = first & -first or 0x10000
            while first + size - 1 > last:
                size >>= 1
            mask = 0xFFFF & ~(size - 1)
            found.append(first if size == 1 else (first, mask) if mask else None)
            first += size
    return found


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted((max(first, 0), min(last, 0xFFFF)) for first, last in ranges if first <= last):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found
