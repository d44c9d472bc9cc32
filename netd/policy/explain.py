"""Why two ports may or may not speak: the decision of `decide`, told line by line for `hawser policy explain`.

A port is named by its id (`sandbox:ifname`), by its key, or by so much of its sandbox's id that only one port begins
so; anything else that speaks is an address, which needs the tenant in whose networks it is looked at. Ports of two
tenants never speak. Ports with addresses of both versions of IP are judged by IPv4 first, and by IPv6 too where that
ends otherwise.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from ..errors import Invalid, NotFound
from ..fabric import Fabric
from ..model import OWN_LABELS, Address, Default, Direction, Peer, Policy, Port, Rule, Selector
from . import match
from .decide import Check, Oracle, Verdict
from .match import Packet

End = Port | Address


def explain(
    fabric: Fabric,
    source: str | Address,
    target: str | Address,
    proto: str = "tcp",
    port: int | None = None,
    icmp_type: int | None = None,
    *,
    tenant: str | None = None,
) -> list[str]:
    """Who decides on a new connection, ending with a line that begins with ALLOWED or DENIED.

    Invalid when a name fits several ports, or the two ends have no version of IP in common; NotFound.
    """
    ends = find(fabric, source, tenant), find(fabric, target, tenant)
    tenants = sorted({end.tenant for end in ends if isinstance(end, Port)} | ({tenant} if tenant else set()))
    if len(tenants) > 1:
        return [
            f"{_name(ends[0])} -> {_name(ends[1])}",
            f"DENIED: nothing passes between tenants {tenants[0]} and {tenants[1]}",
        ]
    if not tenants:
        raise Invalid(f"{source} and {target} are addresses; give the tenant in whose networks they are")
    oracle = Oracle(fabric, tenants[0])
    told = [_told(oracle, packet) for packet in _packets(ends, proto, port, icmp_type)]
    first, *others = told
    for other in others:
        if other[-1].split(":")[0] != first[-1].split(":")[0]:
            return [*first[:-1], f"{first[-1]} (by IPv4)", *other[:-1], f"{other[-1]} (by IPv6)"]
    return first


def find(fabric: Fabric, name: str | Address, tenant: str | None = None) -> End:
    """The port or the address that is meant. Invalid, NotFound."""
    if not isinstance(name, str):
        return name
    try:
        return ip_address(name)
    except ValueError:
        pass
    ports = [port for port in fabric.ports.values() if tenant in (None, port.tenant)]
    # by its own name also one that is leaving, lest the name be taken for the beginning of another's
    exact = [port for port in ports if name in (port.id, port.key, port.sandbox)]
    sandbox, _, ifname = name.partition(":")
    begin = [port for port in ports if sandbox and port.sandbox.startswith(sandbox) and ifname in ("", port.ifname)]
    found = [port for port in exact or begin if not port.leaving]
    if len(found) == 1:
        return found[0]
    if not found:
        where = f" of tenant {tenant}" if tenant else ""
        raise NotFound(f"no port{where} is {name!r}; give an address, or a port as sandbox:interface")
    names = ", ".join(sorted(port.id if len({p.id for p in found}) > 1 else port.key for port in found)[:5])
    raise Invalid(f"{name!r} fits {len(found)} ports, give one of them: {names}" + (", …" if len(found) > 5 else ""))


def _addresses(end: End) -> list[Address]:
    return [address.ip for address in end.addresses] if isinstance(end, Port) else [end]


def _packets(ends: tuple[End, End], proto: str, port: int | None, icmp_type: int | None) -> Iterator[Packet]:
    sources, targets = map(_addresses, ends)
    pairs = [(s, t) for version in (4, 6) for s in sources for t in targets if s.version == t.version == version]
    pairs = [pair for pair in pairs if match.ICMP.get(proto, pair[0].version) == pair[0].version]
    if not pairs:
        what = f" for {proto}" if proto in match.ICMP else ""
        raise Invalid(f"{_name(ends[0])} and {_name(ends[1])} have no version of IP in common{what}")
    for source, target in pairs:
        yield Packet(source=source, target=target, proto=proto, port=port, icmp_type=icmp_type)


def _name(end: End) -> str:
    return end.id if isinstance(end, Port) else str(end)


def _told(oracle: Oracle, packet: Packet) -> list[str]:
    verdict = oracle.decide(packet)
    what = packet.proto + "".join(
        f" {label}{n}" for label, n in (("", packet.port), ("type ", packet.icmp_type)) if n is not None
    )
    ends = " -> ".join(_described(oracle, address) for address in (packet.source, packet.target))
    lines = [f"{ends}: {what}"]
    if verdict.checks:
        lines.append("way: " + ("routed" if verdict.routed else "on one network"))
    for check in verdict.checks:
        lines += _checked(oracle, packet, check)
    lines += [f"{side}: not asked, it is no port's" for side in _unasked(verdict)]
    return [*lines, f"{'ALLOWED' if verdict.allowed else 'DENIED'}: {verdict.reason}"]


def _unasked(verdict: Verdict) -> list[str]:
    asked = {check.direction for check in verdict.checks}
    names = {Direction.EGRESS: "egress of the source", Direction.INGRESS: "ingress of the target"}
    return [name for direction, name in names.items() if asked and direction not in asked]


def _described(oracle: Oracle, address: Address) -> str:
    port = oracle.owners.get(address)
    if port is not None:
        own = (item for item in sorted(port.labels.items()) if not item[0].startswith(OWN_LABELS))
        labels = "".join(f" {key}={value}" for key, value in own)
        return f"{port.id} ({address}, network {port.network}{labels})"
    network = oracle.network_of(address)
    if network is None:
        return f"{address} (outside)"
    what = "gateway" if address in network.gateways else "no port"
    return f"{address} ({what} on network {network.name})"


def _checked(oracle: Oracle, packet: Packet, check: Check) -> Iterator[str]:
    """What was considered for one port, in the order in which it was."""
    egress = check.direction is Direction.EGRESS
    other = packet.target if egress else packet.source
    if check.selected:
        why = f"selected by {', '.join(check.selected)}"
    else:
        does = "denies" if check.default is Default.DENY else "allows"
        why = f"no policy selects it, network {check.port.network} {does} by default"
    yield f"{check.direction} of {check.port.id}: {'allowed' if check.allowed else 'denied'}; {why}"
    for policy in oracle.policies:
        if policy.name in check.selected:
            yield from _considered(policy, packet, check, other, oracle.owners.get(other))
            if policy.name == check.policy and check.rule is not None:
                return


def _considered(policy: Policy, packet: Packet, check: Check, other: Address, port: Port | None) -> Iterator[str]:
    rules = list(match.rules(policy, check.direction))
    if not rules:
        yield f"  policy {policy.name}: no {check.direction} rule, it shuts the direction"
    for index, rule in rules:
        decides = (policy.name, index) == (check.policy, check.rule)
        if decides:
            why = "decides"
        elif not match.covers(rule, packet):
            why = "another protocol, port or type"
        else:
            why = f"{other} is none of its peers"
        yield f"  policy {policy.name} rule {index} ({words(rule)}): {why}"
        if decides:
            return


def words(rule: Rule) -> str:
    """A rule in words."""
    side = "from" if rule.direction is Direction.INGRESS else "to"
    peers = " or ".join(map(_peer, rule.peers)) or "anybody"
    ports = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in rule.ports)
    types = ",".join(map(str, rule.icmp_types))
    what = [rule.proto or "any protocol", f"port {ports}" if ports else "", f"type {types}" if types else ""]
    return " ".join(filter(None, (rule.direction, side, f"{peers},", *what)))


def _peer(peer: Peer) -> str:
    if peer.ports is not None:
        return _selector(peer.ports)
    but = f" but {', '.join(map(str, peer.excluded))}" if peer.excluded else ""
    return f"{peer.cidr}{but}"


def _selector(selector: Selector) -> str:
    networks = f" on {' or '.join(selector.networks)}" if selector.networks else ""
    labels = "".join(f" {key}={value}" for key, value in sorted(selector.labels.items()))
    return f"ports{networks}{' with' if labels else ''}{labels}"
