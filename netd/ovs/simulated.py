"""One simulated switch: it executes flows as ovs-fields(7) and ovs-actions(7) say, on packets of `packets`.

It knows what the pipeline uses: goto_table, resubmit, set_field, load, move, dec_ttl, output, IN_PORT, conjunctions,
and conntrack with zones; meters pass everything. Where a real switch would be free to choose, because two flows of one
priority match and say different things, it fails: such flows are a defect.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from ..model import Address
from .flow import Flow, Key
from .packets import IPV4, Packet
from .reading import SAME, SLICE, STATES, Rule, bits, copy, number_of, prepare

STEPS = 100
Tuple5 = tuple[int, int, int, int, int]


class Ambiguous(AssertionError):
    """Two flows of one priority match a packet and say different things."""


@dataclass(frozen=True, slots=True)
class Output:
    """A packet that leaves by a port of the switch; `tunnel` is (VNI, outer target) where that is set."""

    port: int
    packet: Packet
    tunnel: tuple[int, Address] | None


@dataclass(slots=True)
class Connection:
    """What conntrack knows: `replied` when both sides have spoken."""

    replied: bool = False


@dataclass(slots=True)
class _Run:
    """One packet on its way."""

    fields: dict[str, int]
    packet: Packet
    in_port: int
    outputs: list[Output] = field(default_factory=list)
    steps: int = 0


class Switch:
    """A switch with flows; `path` holds those that the last packet met."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        self._rules: dict[Key, Rule] = {}
        self._tables: dict[int, list[tuple[int, list[Rule]]]] | None = None
        self.tracked: dict[tuple[int, Tuple5], Connection] = {}
        self.path: list[Flow] = []
        self.update(flows)

    def update(self, added: Iterable[Flow], removed: Iterable[Flow] = ()) -> None:
        """Remove flows and add others, those of the same name written over."""
        for flow in removed:
            del self._rules[flow.key]
        for flow in added:
            self._rules[flow.key] = prepare(flow)
        self._tables = None

    def receive(self, packet: Packet, in_port: int) -> list[Output]:
        """What leaves for a packet that comes in."""
        fields = dict(packet.fields) | {"in_port": in_port}
        if packet.tunnel is not None:
            vni, source, _ = packet.tunnel
            fields |= {"tun_id": vni, "tun_src": int(source)}
        self.path = []
        run = _Run(fields, packet, in_port)
        self._table(run, 0)
        return run.outputs

    def lookup(self, table: int, fields: Mapping[str, int]) -> Rule | None:
        """The flow of a table that a packet meets. Ambiguous."""
        if self._tables is None:
            self._tables = _sorted(self._rules.values())
        for _, rules in self._tables.get(table, ()):
            found = [rule for rule in rules if rule.matches(fields)]
            hard = [rule for rule in found if not rule.parts]
            whole = sorted(_complete(rule.parts for rule in found if rule.parts))
            if whole:
                return self.lookup_conjunction(table, fields, whole[0])
            if len({rule.flow.actions for rule in hard}) > 1:
                raise Ambiguous("; ".join(f"{rule.flow.match} -> {rule.flow.actions}" for rule in hard))
            if hard:
                return hard[0]
        return None

    def lookup_conjunction(self, table: int, fields: Mapping[str, int], number: int) -> Rule | None:
        """The flow for a conjunction whose parts all match."""
        known = {**fields, "conj_id": number}
        rules = (rule for _, same in (self._tables or {}).get(table, ()) for rule in same)
        return next((rule for rule in rules if not rule.parts and rule.matches(known)), None)

    def _table(self, run: _Run, table: int) -> None:
        run.steps += 1
        if run.steps > STEPS:
            raise AssertionError(f"a packet does not come to an end: {self.path[-3:]}")
        rule = self.lookup(table, run.fields)
        if rule is None:
            return
        self.path.append(rule.flow)
        for action in rule.actions:
            if not self._act(run, action):
                return

    def _act(self, run: _Run, action: str) -> bool:
        """Do one action; False ends the packet here."""
        name, _, rest = action.partition(":")
        if name.startswith("ct("):
            return self._track(run, name + (f":{rest}" if rest else ""))
        if name.startswith("resubmit"):
            self._table(run, int(action[len("resubmit(,") : -1]))
        elif name == "goto_table":
            self._table(run, int(rest))
        elif name == "set_field":
            value, _, target = rest.partition("->")
            run.fields[SAME.get(target, target)] = number_of(target, value)
        elif name in ("load", "move"):
            copy(run.fields, name, rest)
        elif name == "dec_ttl":
            run.fields["nw_ttl"] -= 1
            return run.fields["nw_ttl"] > 0
        elif name == "output" and int(rest) != run.in_port:
            run.outputs.append(_output(run, int(rest)))
        elif name == "IN_PORT":
            run.outputs.append(_output(run, run.in_port))
        elif name not in ("drop", "meter", "output"):
            raise AssertionError(f"action {action!r} is not one of the pipeline's")
        return True

    def _track(self, run: _Run, action: str) -> bool:
        table = re.search(r"table=(\d+)", action)
        zone_at = SLICE.search(action)
        zone = bits(run.fields, zone_at) if zone_at else 0
        if "commit" in action:
            self.commit(zone, run.fields)
        if table is not None:
            run.fields["ct_state"] = self.state(zone, run)
            self._table(run, int(table[1]))
        return True

    def commit(self, zone: int, fields: Mapping[str, int]) -> None:
        """Know the packet's connection from now on."""
        key = connection(fields)
        if (zone, key) not in self.tracked and (zone, _turned(key)) not in self.tracked:
            self.tracked[zone, key] = Connection()

    def state(self, zone: int, run: _Run) -> int:
        """The state that conntrack gives a packet."""
        if run.packet.about is not None:
            key = connection(run.packet.about)
            known = (zone, key) in self.tracked or (zone, _turned(key)) in self.tracked
            return STATES["trk"] | (STATES["rel"] if known else STATES["inv"])
        key = connection(run.fields)
        if own := self.tracked.get((zone, key)):
            return STATES["trk"] | (STATES["est"] if own.replied else STATES["new"])
        if other := self.tracked.get((zone, _turned(key))):
            other.replied = True
            return STATES["trk"] | STATES["est"] | STATES["rpl"]
        return STATES["trk"] | STATES["new"]


def connection(fields: Mapping[str, int]) -> Tuple5:
    """What conntrack knows a packet by."""
    side = ("nw_src", "nw_dst") if fields["dl_type"] == IPV4 else ("ipv6_src", "ipv6_dst")
    ports = fields.get("tp_src", 0), fields.get("tp_dst", 0)
    return fields["nw_proto"], fields[side[0]], ports[0], fields[side[1]], ports[1]


def _turned(key: Tuple5) -> Tuple5:
    proto, source, sport, target, dport = key
    return proto, target, dport, source, sport


def _sorted(rules: Iterable[Rule]) -> dict[int, list[tuple[int, list[Rule]]]]:
    found: dict[int, dict[int, list[Rule]]] = {}
    for rule in rules:
        found.setdefault(rule.flow.table, {}).setdefault(rule.flow.priority, []).append(rule)
    return {table: sorted(by.items(), reverse=True, key=lambda item: item[0]) for table, by in found.items()}


def _complete(parts: Iterable[tuple[tuple[int, int, int], ...]]) -> Iterator[int]:
    seen: dict[int, set[int]] = {}
    of: dict[int, int] = {}
    for number, which, count in (part for each in parts for part in each):
        seen.setdefault(number, set()).add(which)
        if of.setdefault(number, count) != count:
            raise Ambiguous(f"conjunction {number} has {count} parts, and {of[number]}")
    return (number for number, found in seen.items() if len(found) == of[number])


def _output(run: _Run, port: int) -> Output:
    inside = {name: value for name, value in run.fields.items() if name in _CARRIED}
    to = run.fields.get("tun_dst")
    tunnel = (run.fields["tun_id"], _outer(to)) if to is not None else None
    return Output(port, replace(run.packet, fields=inside, tunnel=None), tunnel)


def _outer(number: int) -> Address:
    return ip_address(number)


# what is in a packet, other than what a switch notes beside it
_CARRIED = frozenset({
    "dl_src", "dl_dst", "dl_type", "vlan_tci", "nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "nw_proto", "nw_ttl",
    "ip_dscp", "tp_src", "tp_dst", "icmp_type", "icmp_code", "nd_target", "nd_sll", "nd_tll", "arp_op", "arp_spa",
    "arp_tpa", "arp_sha", "arp_tha",
})  # fmt: skip
