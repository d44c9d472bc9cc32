"""A tenant's policies in nftables: chains from policies and networks, and ports only as elements of their sets.

The text is for the table of the tenant's namespace. `ENTRY` (`policy` is a word of nft's own) is jumped to for new
connections, from wherever they are forwarded: an isolated source goes through the rules of its direction, where
`return` means allowed, then the target; what comes back from both is accepted. Every rule asks first whether the port
is one that its policy selects, so the chains are flat: from a chain for each policy, `return` could not say "allowed"
to the chain before, and with `goto` the kernel, looking for loops, would walk the rules of egress times those of
ingress. Equal selectors share a set. IPv4 and IPv6 have chains and sets of their own (suffixes 4 and 6).

Counters carry the comment `policy/NAME/DIRECTION/INDEX`, and where nothing is allowed `policy/-/DIRECTION/drop`, or
`.../scattered` for addresses that are no single port's. A rule for several peers or both versions becomes several,
whose counters are added up. They begin anew with the text.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any

from ..errors import Invalid
from ..fabric import Fabric
from ..model import Default, Direction, Network, Peer, Policy, Port, Rule, Selector, Subnet
from ..parse import check_label
from ..rules import Element
from . import match

ENTRY = "policies"
VERSIONS = (4, 6)
# as `decide` asks
DIRECTIONS = (Direction.EGRESS, Direction.INGRESS)
NOBODY, DROP, SCATTERED = "-", -1, -2
DROPS = {DROP: "drop", SCATTERED: "scattered"}
L4 = {"icmp": "icmp", "icmpv6": "ipv6-icmp"}
FAMILY = {4: "ip", 6: "ip6"}
Counted = tuple[str, Direction, int]


def chains(fabric: Fabric, tenant: str) -> str:
    """Sets and chains for the tenant's table; jump to `ENTRY`.

    The same text for the same policies, networks and defaults, whatever ports there are. Invalid, when a policy holds
    words that must not become commands to the kernel.
    """
    policies = match.of_tenant(fabric, tenant)
    for policy in policies:
        _guard(policy)
    networks = tuple(fabric.of_tenant(tenant))
    lines = [line for version in VERSIONS for line in _sets(policies, version)]
    if not any(fabric.filtered(network) for network in networks):
        return "\n".join([*lines, f"chain {ENTRY} {{", "  accept", "}", ""])
    for direction in DIRECTIONS:
        for version in VERSIONS:
            lines += [f"chain {_chain(direction, version)} {{", *_direction(policies, direction, version), "}"]
    lines += [f"chain {ENTRY} {{", *_scattered(networks)]
    for direction in DIRECTIONS:
        near = _sides(direction)[0]
        for version in VERSIONS:
            where = f"{FAMILY[version]} {near} @{_isolated(direction, version)}"
            lines.append(f"  {where} jump {_chain(direction, version)}")
    return "\n".join([*lines, "  accept", "}", ""])


def elements(fabric: Fabric, port: Port) -> Iterator[Element]:
    """A port's addresses in every set of its tenant's table that it belongs to; none when it is leaving."""
    network = fabric.networks.get(port.on)
    if network is None or port.leaving:
        return
    policies = match.of_tenant(fabric, port.tenant)
    for version in VERSIONS:
        addresses = [str(address.ip) for address in port.addresses if address.version == version]
        for name in _memberships(fabric.default(network), policies, port, version) if addresses else ():
            for address in addresses:
                yield name, address, None


def observed_counters(objects: Iterable[dict[str, Any]]) -> dict[Counted, tuple[int, int]]:
    """(packets, bytes) by (policy, direction, index of the rule) of a table as libnftables-json(5) lists it; drops are
    those of (`NOBODY`, direction, `DROP` or `SCATTERED`)."""
    found: dict[Counted, tuple[int, int]] = {}
    for entry in objects:
        rule = entry.get("rule", {})
        key = _counted(rule.get("comment", ""))
        for expression in rule.get("expr", ()) if key else ():
            if key and isinstance(expression, dict) and "counter" in expression:
                counter, (packets, octets) = expression["counter"], found.get(key, (0, 0))
                found[key] = packets + counter["packets"], octets + counter["bytes"]
    return found


def set_name(selector: Selector, version: int) -> str:
    """The set of the addresses of the ports a selector selects; at most 31 bytes."""
    return f"sel_{_digest(frozenset(selector.networks), frozenset(selector.labels.items()))}{version}"


@functools.lru_cache(4096)
def _digest(networks: frozenset[str], labels: frozenset[tuple[str, str]]) -> str:
    return hashlib.sha256(repr((sorted(networks), sorted(labels))).encode()).hexdigest()[:26]


def _guard(policy: Policy) -> None:
    """The last guard before words become commands to the kernel; policies were parsed long before."""
    check_label(policy.name, "policy")
    for rule in policy.rules:
        if rule.proto not in (None, *match.TRANSPORTS, *match.ICMP):
            raise Invalid(f"policy {policy.name}: protocol {rule.proto!r} is none of those a rule can name; correct it")


def _isolated(direction: Direction, version: int) -> str:
    return f"isolated_{direction}{version}"


def _chain(direction: Direction, version: int) -> str:
    return f"policy_{direction}{version}"


def _sides(direction: Direction) -> tuple[str, str]:
    """The fields of the isolated port and of the other side."""
    return ("saddr", "daddr") if direction is Direction.EGRESS else ("daddr", "saddr")


def _counted(comment: str) -> Counted | None:
    parts = comment.split("/")
    if len(parts) != 4 or parts[0] != "policy":
        return None
    index = next((index for index, word in DROPS.items() if word == parts[3]), None)
    return parts[1], Direction(parts[2]), int(parts[3]) if index is None else index


def _selectors(policies: Sequence[Policy]) -> Iterator[Selector]:
    for policy in policies:
        yield policy.applies
        yield from (peer.ports for rule in policy.rules for peer in rule.peers if peer.ports is not None)


def _sets(policies: Sequence[Policy], version: int) -> Iterator[str]:
    names = {set_name(selector, version) for selector in _selectors(policies)}
    for name in (*(_isolated(direction, version) for direction in DIRECTIONS), *sorted(names)):
        yield f"set {name} {{ type ipv{version}_addr; }}"


def _memberships(default: Default, policies: Sequence[Policy], port: Port, version: int) -> Iterator[str]:
    for direction in DIRECTIONS:
        if default is Default.DENY or any(match.selecting(policies, port, direction)):
            yield _isolated(direction, version)
    selecting = (selector for selector in _selectors(policies) if match.selects(selector, port))
    yield from sorted({set_name(selector, version) for selector in selecting})


def _scattered(networks: Sequence[Network]) -> Iterator[str]:
    """Rules for what may reach ports it does not name; bridges show it only where something is filtered."""
    types = ", ".join(map(str, match.DISCOVERY))
    yield f"  icmpv6 type {{ {types} }} ip6 hoplimit 255 accept"
    subnets = [subnet for network in networks for subnet in network.subnets if subnet.version == 4]
    broadcast = sorted({subnet.broadcast_address for subnet in subnets}, key=int)
    group4 = ", ".join(map(str, ("224.0.0.0/4", "255.255.255.255", *broadcast)))
    for direction in DIRECTIONS:
        side = _sides(direction)[0]
        for where in (f"ip {side} {{ {group4} }}", f"ip6 {side} {{ fe80::/10, ff00::/8 }}"):
            yield f"  {where} {_drop(direction, SCATTERED)}"


def _drop(direction: Direction, why: int) -> str:
    return f'counter drop comment "policy/{NOBODY}/{direction}/{DROPS[why]}"'


def _direction(policies: Sequence[Policy], direction: Direction, version: int) -> Iterator[str]:
    for policy in policies:
        near = f"{FAMILY[version]} {_sides(direction)[0]} @{set_name(policy.applies, version)}"
        for index, rule in match.rules(policy, direction):
            end = f'counter return comment "policy/{policy.name}/{direction}/{index}"'
            for peers in _peers(rule.peers, direction, version):
                for what in _what(rule, version):
                    yield "  " + " ".join(filter(None, (near, peers, what, end)))
    yield f"  {_drop(direction, DROP)}"


def _peers(peers: Sequence[Peer], direction: Direction, version: int) -> Iterator[str]:
    """The other sides, one match each; CIDRs without exceptions in one."""
    far = f"{FAMILY[version]} {_sides(direction)[1]}"
    if not peers:
        yield ""
    yield from (f"{far} @{set_name(peer.ports, version)}" for peer in peers if peer.ports is not None)
    plain = []
    for peer in peers:
        if peer.cidr is None or peer.cidr.version != version:
            continue
        excluded = [subnet for subnet in peer.excluded if subnet.version == version and subnet.overlaps(peer.cidr)]
        if excluded:
            yield f"{far} {{ {peer.cidr} }} {far} != {{ {_collapsed(excluded)} }}"
        else:
            plain.append(peer.cidr)
    if plain:
        yield f"{far} {{ {_collapsed(plain)} }}"


def _collapsed(subnets: Sequence[Subnet]) -> str:
    """Subnets that do not overlap, as a set wants them."""
    old = collapse_addresses(subnet for subnet in subnets if isinstance(subnet, IPv4Network))
    new = collapse_addresses(subnet for subnet in subnets if isinstance(subnet, IPv6Network))
    return ", ".join(map(str, (*old, *new)))


def _what(rule: Rule, version: int) -> Iterator[str]:
    """The protocol, its ports or types; nothing when no packet of this version can be that."""
    if not match.possible(rule) or match.ICMP.get(rule.proto or "", version) != version:
        return
    if rule.icmp_types:
        types = ", ".join(map(str, sorted(set(rule.icmp_types))))
        yield f"{'icmp' if version == 4 else 'icmpv6'} type {{ {types} }}"
    elif rule.ports:
        ports = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in _merged(rule.ports))
        protos = f"meta l4proto {{ {', '.join(match.TRANSPORTS)} }} th" if rule.proto is None else rule.proto
        yield f"{protos} dport {{ {ports} }}"
    else:
        yield f"meta l4proto {L4.get(rule.proto, rule.proto)}" if rule.proto else ""


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that do not overlap, as a set wants them."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        elif first <= last:
            merged.append((first, last))
    return merged
