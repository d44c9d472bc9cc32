"""The hops of the `bridge` data plane as nftables sees them, in the tenant's namespace: rules that only count.

The tables are the netlink socket's that made them (nft(8), `flags owner`): nobody else changes them, and when the
socket closes, or its process dies, the kernel removes them. A rule matches one flow exactly, and its comment is the
hop's name. Hooks and priorities are those beside which the tenant's own tables work: port security at -300 of the
bridge's prerouting, policies and routers at 0 of forward, translation at 100 of postrouting.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..fabric import Fabric
from ..model import Address, Port
from ..site import Site, bridge_name, port_name, tunnel_name
from ..tenant_rules import UPLINK
from .trace import Flow, Hop, way

COUNTED = re.compile(r'counter packets ([0-9]+) bytes [0-9]+ comment "([a-z ]+)"')
FAMILY = {4: "ip", 6: "ip6"}
FIRST, LAST = -500, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a hop is counted: hook and priority in a family, of netdev on `device`; `where` narrows it down."""

    hop: Hop
    family: str
    hook: str
    priority: int
    device: str = ""
    where: str = ""


def points(fabric: Fabric, site: Site, flow: Flow, source: Port, target: Port | Address) -> tuple[Point, ...]:
    """Of a flow on this machine, in order; none when it does not come by here."""
    here = site.machine
    if source.machine == here:
        found = [*_leaving(fabric, site, flow, source, target), *_delivered(site, target)]
        answer = _hop(site, "answer", f"the answer reaches port {source.id}", back=True)
        return (*found, _given(answer, _end(site, source)))
    if isinstance(target, Port) and target.machine == here:
        return (*_arriving(fabric, site, target), *_delivered(site, target))
    return ()


def _hop(site: Site, name: str, words: str, *, back: bool = False) -> Hop:
    return Hop(machine=site.machine, name=name, words=words, back=back)


def _end(site: Site, port: Port) -> str:
    return port_name(site.instance, port.id)


def _given(hop: Hop, device: str) -> Point:
    """Where a bridge gives a frame to a device; netdev's egress would not see what waited in another port's shaper."""
    return Point(hop=hop, family="bridge", hook="postrouting", priority=LAST, where=f'oifname "{device}"')


def _leaving(fabric: Fabric, site: Site, flow: Flow, source: Port, target: Port | Address) -> Iterator[Point]:
    network, end = fabric.networks[source.on], _end(site, source)
    verdict, _ = way(fabric, source, flow, target)
    sent = _hop(site, "sent", f"port {source.id} sends it")
    yield Point(hop=sent, family="netdev", hook="ingress", priority=FIRST, device=end)
    secure = _hop(site, "security", f"port security lets it in: it is {source.mac}'s and {flow.source}'s")
    yield Point(hop=secure, family="bridge", hook="prerouting", priority=-299, where=f'iifname "{end}"')
    near = [fabric.networks[key] for key in sorted(fabric.joined(network.key))]
    if not isinstance(target, Port) and any(target in one.gateways for one in near):
        gateway = _hop(site, "taken", f"the gateway of {network.key} takes it")
        yield Point(hop=gateway, family="inet", hook="input", priority=1)
        return
    if verdict.routed or not verdict.checks:
        gateway = _hop(site, "gateway", f"the gateway of {network.key} routes it")
        bridge = bridge_name(site.instance, network.key)
        if not isinstance(target, Port) or target.on != source.on:
            yield Point(hop=gateway, family="inet", hook="forward", priority=-1, where=f'iifname "{bridge}"')
    if verdict.routed or not verdict.checks or fabric.filtered(network):
        passes = "let it pass" if verdict.allowed else "do not let it pass"
        policy = _hop(site, "policy", f"routers and policies {passes} ({verdict.reason})")
        yield Point(hop=policy, family="inet", hook="forward", priority=1)
    if isinstance(target, Port):
        if target.machine != site.machine and fabric.networks[target.on] in near:
            yield _tunnel(fabric, site, target)
    elif not any(target in subnet for net in fabric.of_tenant(source.tenant) for subnet in net.subnets):
        out = _hop(site, "out", f"leaves tenant {source.tenant} by its way out, as this machine")
        yield Point(hop=out, family="inet", hook="postrouting", priority=99, where=f'oifname "{UPLINK}"')


def _tunnel(fabric: Fabric, site: Site, target: Port) -> Point:
    network, endpoint = fabric.networks[target.on], fabric.endpoints.get(target.machine)
    at = f" at {endpoint.inner if network.encrypted else endpoint.address}" if endpoint else ""
    hop = _hop(site, "tunnel", f"tunnel of {network.key} to machine {target.machine}{at}, VNI {network.vni}")
    return _given(hop, tunnel_name(site.instance, network.key))


def _arriving(fabric: Fabric, site: Site, target: Port) -> Iterator[Point]:
    network = fabric.networks[target.on]
    hop = _hop(site, "arrives", f"comes out of the tunnel of {network.key}, VNI {network.vni}")
    device = tunnel_name(site.instance, network.key)
    yield Point(hop=hop, family="netdev", hook="ingress", priority=FIRST, device=device)
    if fabric.filtered(network):
        policy = _hop(site, "policy there", "policies let it pass here, too")
        yield Point(hop=policy, family="inet", hook="forward", priority=1)


def _delivered(site: Site, target: Port | Address) -> Iterator[Point]:
    if isinstance(target, Port) and target.machine == site.machine:
        end = _end(site, target)
        got = _hop(site, "delivered", f"port {target.id} gets it")
        yield _given(got, end)
        answers = _hop(site, "answers", f"port {target.id} answers", back=True)
        yield Point(hop=answers, family="netdev", hook="ingress", priority=FIRST, device=end)


def text(name: str, flow: Flow, found: Sequence[Point]) -> str:
    """Tables called `name` that count a flow at these points, in one transaction."""
    lines: list[str] = []
    for family in dict.fromkeys(point.family for point in found):
        lines += [f"table {family} {name} {{", "  flags owner"]
        for place, point in enumerate(found):
            if point.family == family:
                device = f'device "{point.device}" ' if point.device else ""
                lines.append(f"  chain hop{place} {{")
                lines.append(f"    type filter hook {point.hook} {device}priority {point.priority}; policy accept;")
                lines += [
                    f'    {" ".join(filter(None, (point.where, match)))} counter comment "{point.hop.name}"'
                    for match in _matches(flow, back=point.hop.back)
                ]
                lines.append("  }")
        lines.append("}")
    return "\n".join([*lines, ""])


def _matches(flow: Flow, *, back: bool) -> Iterator[str]:
    family = FAMILY[flow.source.version]
    near, far = (flow.target, flow.source) if back else (flow.source, flow.target)
    ends = f"{family} saddr {near} {family} daddr {far}"
    if flow.proto in ("icmp", "icmpv6"):
        yield f"{ends} {flow.proto} type {'echo-reply' if back else 'echo-request'} {flow.proto} id {flow.ident}"
        return
    first, second = (flow.port, flow.ident) if back else (flow.ident, flow.port)
    syn = "" if flow.proto == "udp" or back else " tcp flags & (fin | syn | rst | ack) == syn"
    yield f"{ends} {flow.proto} sport {first} {flow.proto} dport {second}{syn}"
    if back:  # that nobody listens
        yield f"{ends} {'icmp' if family == 'ip' else 'icmpv6'} type destination-unreachable"


def seen(listed: str) -> dict[str, int]:
    """Packets by the hop's name, from the tables as nft lists them (its JSON is not read: 1.0.6 writes rubbish for the
    flags of a table)."""
    found: dict[str, int] = {}
    for packets, name in COUNTED.findall(listed):
        found[name] = found.get(name, 0) + int(packets)
    return found
