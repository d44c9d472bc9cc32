"""What rtnetlink answers, decoded by hand: the few fields netd compares, at a hundredth of the cost of a full decoder.

A plan reads every link of the machine, so this decides what an idle node costs. Layouts: netlink(7), rtnetlink(7),
include/uapi/linux/{if_link,if_addr,rtnetlink}.h.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

from ..model import Address, Interface, Subnet

ERROR, DONE = 2, 3
NEWLINK, GETLINK, NEWADDR, GETADDR, NEWROUTE, GETROUTE, NEWNEIGH, GETNEIGH = 16, 18, 20, 22, 24, 26, 28, 30
NEWRULE, GETRULE, TO_TABLE = 32, 34, 1
REQUEST, DUMP, DUMP_INTERRUPTED, CAPPED, ACK_TLVS = 0x1, 0x300, 0x10, 0x100, 0x200
AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
MAIN_TABLE, UNICAST, LOCAL, NESTED = 254, 1, 2, 0x3FFF
HEADER = struct.Struct("=IHHII")


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message; `error` and `words` of an ERROR (0 is an acknowledgement)."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def error(self) -> int:
        """The errno, positive."""
        return -int(struct.unpack_from("=i", self.payload)[0])

    @property
    def words(self) -> str:
        """What the kernel says about it (extended acknowledgement), or nothing."""
        if not self.flags & ACK_TLVS:
            return ""
        skip = 20 if self.flags & CAPPED else 4 + int(struct.unpack_from("=I", self.payload, 4)[0])
        return attributes(self.payload, (skip + 3) & ~3).get(1, b"").rstrip(b"\0").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `master` 0 is none; `kind` "" for a physical one; `iflink` is a veth's peer index; `data`
    are the kind's own attributes."""

    index: int
    name: str
    alias: str
    mtu: int
    mac: str
    master: int
    kind: str
    up: bool
    iflink: int
    data: Mapping[int, bytes] = field(default_factory=dict)

    def number(self, attribute: int) -> int:
        """One number of the kind's own attributes (IFLA_INFO_DATA), 0 when it is not there."""
        return _number(self.data.get(attribute))


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of the link `index`; `scope` 0 is global."""

    index: int
    address: Interface
    scope: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `subnet` has prefix length 0 for a default; `table` 254 is the main one; `local` leads to this host."""

    version: int
    subnet: Subnet
    gateway: Address | None
    index: int
    table: int
    metric: int
    local: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of a neighbour table or, where `bridge`, of a forwarding database; `master` is its bridge, `maker` the
    number of who made it (NDA_PROTOCOL), 0 when nobody said so."""

    bridge: bool
    index: int
    mac: str
    address: Address | None
    master: int
    permanent: bool
    maker: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What comes from the link `source` is looked up in a table."""

    version: int
    source: str
    table: int


def of_family(family: int, flags: int = 0) -> bytes:
    """The body of a request for everything of a kind (rtgenmsg padded to the longest header; `flags` are ndmsg's)."""
    return bytes([family]) + bytes(9) + bytes([flags]) + bytes(5)


def named(name: str) -> bytes:
    """The body of a request for one link (ifinfomsg, IFLA_IFNAME)."""
    return bytes(16) + attribute(3, name.encode() + b"\0")


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute, padded."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        yield Message(kind, flags, sequence, data[offset + 16 : offset + length])
        offset += max(16, (length + 3) & ~3)


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type, flags of the type left out."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & NESTED] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def link(payload: bytes) -> Link:
    """A link from its ifinfomsg."""
    index, flags = struct.unpack_from("=iI", payload, 4)
    attrs = attributes(payload, 16)
    info = attributes(attrs.get(18, b""))
    return Link(
        index=index,
        name=_text(attrs.get(3, b"")),
        alias=_text(attrs.get(20, b"")),
        mtu=_number(attrs.get(4)),
        mac=attrs.get(1, b"").hex(":"),
        master=_number(attrs.get(10)),
        kind=_text(info.get(1, b"")),
        up=bool(flags & 1),
        iflink=_number(attrs.get(5)),
        data=attributes(info[2]) if 2 in info else {},
    )


def link_address(payload: bytes) -> LinkAddress:
    """An address from its ifaddrmsg."""
    _, prefix, _, scope, index = struct.unpack_from("=BBBBI", payload)
    attrs = attributes(payload, 8)
    return LinkAddress(index, ip_interface((attrs.get(2) or attrs[1], prefix)), scope)


def neighbour(payload: bytes) -> Neighbour:
    """A neighbour or forwarding entry from its ndmsg."""
    family, index, state = payload[0], *struct.unpack_from("=iH", payload, 4)
    attrs = attributes(payload, 12)
    return Neighbour(
        bridge=family == AF_BRIDGE,
        index=index,
        mac=attrs.get(2, b"").hex(":"),
        address=ip_address(attrs[1]) if 1 in attrs else None,
        master=_number(attrs.get(9)),
        permanent=bool(state & 0xC0),
        maker=attrs[12][0] if 12 in attrs else 0,
    )


def route(payload: bytes) -> Route | None:
    """A route from its rtmsg, or None for what is no unicast or local route of IPv4 or IPv6."""
    family, length, _, _, table, _, _, kind, flags = struct.unpack_from("=BBBBBBBBI", payload)
    if family not in (AF_INET, AF_INET6) or kind not in (UNICAST, LOCAL) or flags & 0x200:
        return None
    attrs = attributes(payload, 12)
    empty = bytes(4 if family == AF_INET else 16)
    gateway = ip_address(attrs[5]) if 5 in attrs else None
    return Route(
        version=4 if family == AF_INET else 6,
        subnet=ip_network((attrs.get(1, empty), length)),
        gateway=gateway,
        index=_number(attrs.get(4)),
        table=_number(attrs.get(15)) or table,
        metric=_number(attrs.get(6)),
        local=kind == LOCAL,
    )


def rule(payload: bytes) -> Rule | None:
    """A rule from its fib_rule_hdr, or None for one that asks for no link, or does not lead to a table."""
    family, table, action = payload[0], payload[4], payload[7]
    attrs = attributes(payload, 12)
    if action != TO_TABLE or 3 not in attrs or family not in (AF_INET, AF_INET6):
        return None
    return Rule(4 if family == AF_INET else 6, _text(attrs[3]), _number(attrs.get(15)) or table)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _number(data: bytes | None) -> int:
    return int.from_bytes(data[:4], "little") if data else 0
