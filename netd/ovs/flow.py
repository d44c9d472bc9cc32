"""One OpenFlow flow as a value, in the very words in which Open vSwitch says it again (ovs-ofctl(8), ovs-fields(7)).

Matches are written in the order and the notation of `ovs-ofctl -O OpenFlow14 --no-names dump-flows`, so that what was
compiled and what a switch says can be compared as text: fields that say nothing are left out, registers are
hexadecimal, a prefix of full length is an address.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from ..errors import Invalid
from ..model import Address, Subnet

Key = tuple[int, int, str]
DEFAULT_PRIORITY = 32768
# in the order in which a switch prints them
FIELDS = (
    *("conj_id", "ct_state", "proto", *(f"reg{n}" for n in range(16)), "tun_id", "tun_src", "tun_ipv6_src", "in_port"),
    *("vlan_tci", "dl_src", "dl_dst", "nw_src", "ipv6_src", "arp_spa", "nw_dst", "ipv6_dst", "arp_tpa", "arp_op"),
    *("arp_sha", "nw_ttl", "tp_src", "tp_dst", "icmp_type", "icmp_code", "nd_target", "nd_sll", "nd_tll"),
)
_ORDER = {name: place for place, name in enumerate(FIELDS)}
_HEX = frozenset({"tun_id", *(f"reg{n}" for n in range(16))})
_LINE = re.compile(r"^\s*(?P<head>.*?)[,\s]*actions=(?P<actions>.*)$")
# counters and ages of a dump that was asked with them
_COUNTED = ("duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "send_flow_rem")

Value = int | str | Address | Subnet | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow; `key` is its name: adding another of the same name writes over it."""

    table: int
    priority: int
    match: str
    actions: str
    cookie: int = 0

    @property
    def key(self) -> Key:
        """(table, priority, match)."""
        return self.table, self.priority, self.match


def match(proto: str = "", /, **fields: Value | None) -> str:
    """The text of a match: `proto` is ip, tcp6, arp …; a tuple is (value, mask); None and prefixes of length 0 say
    nothing and are left out. Fields of addresses must fit `proto`."""
    said = {name: text for name, value in fields.items() if (text := _value(name, value))}
    if proto:
        said["proto"] = proto
    if len(said) > 1:
        said = dict(sorted(said.items(), key=_place))
    return ",".join(text if name == "proto" else f"{name}={text}" for name, text in said.items())


def _place(item: tuple[str, str]) -> int:
    return _ORDER[item[0]]


def _value(name: str, value: Value | None) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"{_hex(value[0])}/{value[1]:#x}"
    if isinstance(value, int):
        return _hex(value) if name in _HEX else str(value)
    if isinstance(value, IPv4Network | IPv6Network):
        if value.prefixlen == value.max_prefixlen:
            return str(value.network_address)
        return str(value) if value.prefixlen else ""
    return str(value)


def _hex(value: int) -> str:
    return f"{value:#x}" if value else "0"


def toward(what: Address | Subnet) -> tuple[str, str]:
    """Protocol and field of a packet's target, for an address or a prefix."""
    return ("ip", "nw_dst") if what.version == 4 else ("ipv6", "ipv6_dst")


def coming(what: Address | Subnet) -> tuple[str, str]:
    """Protocol and field of a packet's source."""
    return ("ip", "nw_src") if what.version == 4 else ("ipv6", "ipv6_src")


def format_flow(flow: Flow) -> str:
    """One line for `ovs-ofctl replace-flows`, `add-flows` or `bundle`."""
    fields = f"{flow.match}," if flow.match else ""
    return f"table={flow.table},cookie={flow.cookie:#x},priority={flow.priority},{fields}actions={flow.actions}"


def parse_flow(line: str) -> Flow:
    """A flow from a line of a dump, or of `format_flow`. Invalid when it is none."""
    found = _LINE.match(line)
    if found is None:
        raise Invalid(f"not a flow: {line.strip()!r}; it has no actions")
    known = {"cookie": "0", "table": "0", "priority": str(DEFAULT_PRIORITY)}
    rest = []
    for part in re.split(r"[,\s]+", found["head"]):
        name, _, value = part.partition("=")
        if name in known:
            known[name] = value
        elif part and name not in _COUNTED:
            rest.append(part)
    try:
        table, priority, cookie = int(known["table"]), int(known["priority"]), int(known["cookie"], 0)
    except ValueError:
        raise Invalid(f"not a flow: {line.strip()!r}; table, priority or cookie is no number") from None
    return Flow(table, priority, ",".join(rest), found["actions"].strip(), cookie)


def keyed(flows: Iterable[Flow]) -> Mapping[Key, Flow]:
    """Flows by their names; of several with one name, the first."""
    found: dict[Key, Flow] = {}
    for flow in flows:
        found.setdefault(flow.key, flow)
    return found
