"""Flows read from their text into what a simulated switch executes: tests of fields, and actions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from .flow import Flow
from .packets import ARP, IPV4, IPV6, mac_number

PROTOS: dict[str, dict[str, int]] = {
    "ip": {"dl_type": IPV4}, "ipv6": {"dl_type": IPV6}, "arp": {"dl_type": ARP},
    **{name: {"dl_type": IPV4, "nw_proto": number} for name, number in
       (("icmp", 1), ("tcp", 6), ("udp", 17), ("sctp", 132))},
    **{name: {"dl_type": IPV6, "nw_proto": number} for name, number in
       (("icmp6", 58), ("tcp6", 6), ("udp6", 17), ("sctp6", 132))},
}  # fmt: skip
STATES = {"new": 1, "est": 2, "rel": 4, "rpl": 8, "inv": 16, "trk": 32}
MACS = {"dl_src", "dl_dst", "arp_sha", "nd_sll", "nd_tll", "eth_src", "eth_dst", "arp_tha"}
ADDRESSES = {"nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "arp_spa", "arp_tpa", "nd_target", "tun_src", "tun_ipv6_src"}
ADDRESSES |= {"tun_dst", "tun_ipv6_dst"}
SAME = {"eth_src": "dl_src", "eth_dst": "dl_dst", "tun_ipv6_src": "tun_src", "tun_ipv6_dst": "tun_dst"}
NXM = {
    "NXM_OF_ETH_SRC": "dl_src", "NXM_OF_ETH_DST": "dl_dst", "NXM_NX_ARP_SHA": "arp_sha", "NXM_NX_ARP_THA": "arp_tha",
    "NXM_OF_ARP_SPA": "arp_spa", "NXM_OF_ARP_TPA": "arp_tpa", **{f"NXM_NX_REG{n}": f"reg{n}" for n in range(16)},
}  # fmt: skip
EVERY_BIT = (1 << 128) - 1
CONJUNCTION = re.compile(r"conjunction\((\d+),(\d+)/(\d+)\)")
SLICE = re.compile(r"(\w+)\[(?:(\d+)(?:\.\.(\d+))?)?\]")
Test = tuple[str, int, int]


@dataclass(slots=True)
class Rule:
    """A flow made ready: `tests` are (field, value, mask)."""

    flow: Flow
    tests: tuple[Test, ...]
    actions: tuple[str, ...]
    parts: tuple[tuple[int, int, int], ...]

    def matches(self, fields: Mapping[str, int]) -> bool:
        """Whether a packet's fields pass."""
        return all(fields.get(name, 0) & mask == value for name, value, mask in self.tests)


def prepare(flow: Flow) -> Rule:
    """A flow's text, read."""
    parts = tuple((int(a), int(b), int(c)) for a, b, c in CONJUNCTION.findall(flow.actions))
    actions = tuple(split(flow.actions)) if not parts else ()
    return Rule(flow, tuple(_tests(flow.match)), actions, parts)


def _tests(text: str) -> Iterator[Test]:
    for part in text.split(",") if text else ():
        name, _, value = part.partition("=")
        if not value:
            yield from ((key, number, EVERY_BIT) for key, number in PROTOS[name].items())
        elif name == "ct_state":
            states = [(sign, STATES[state]) for sign, state in re.findall(r"([+-])(\w+)", value)]
            yield name, sum(bit for sign, bit in states if sign == "+"), sum(bit for _, bit in states)
        elif name in ADDRESSES:
            subnet = ip_network(value)
            yield SAME.get(name, name), int(subnet.network_address), int(subnet.netmask)
        elif name == "vlan_tci":
            yield name, 0, 0xFFFF  # 0/0x1fff is how "no tag" is said
        else:
            number, _, mask = value.partition("/")
            yield name, number_of(name, number), number_of(name, mask) if mask else EVERY_BIT


def number_of(name: str, value: str) -> int:
    if name in MACS:
        return mac_number(value)
    return int(ip_address(value)) if name in ADDRESSES else int(value, 0)


def split(actions: str) -> Iterator[str]:
    """At commas outside of parentheses."""
    yield from (part for part in re.split(r",(?![^(]*\))", actions) if part)


def bits(fields: Mapping[str, int], found: re.Match[str]) -> int:
    low, high = int(found[2] or 0), int(found[3] or found[2] or 127)
    return fields.get(NXM[found[1]], 0) >> low & (1 << high - low + 1) - 1


def copy(fields: dict[str, int], name: str, rest: str) -> None:
    what, _, target = rest.partition("->")
    into = SLICE.fullmatch(target)
    assert into is not None
    source = SLICE.fullmatch(what)
    value = bits(fields, source) if name == "move" and source is not None else int(what, 0) if name == "load" else 0
    low, high = int(into[2] or 0), int(into[3] or into[2] or 127)
    mask = (1 << high - low + 1) - 1 << low
    fields[NXM[into[1]]] = fields.get(NXM[into[1]], 0) & ~mask | value << low
