"""Entries of the kernel's connection tracking, decoded: who began a connection, and with whom it speaks really.

Messages: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from ..model import Address
from ..policy.flush import Connection
from ..tenant_rules import CUT
from . import wire

STATUS, ASSURED = 3, 4
TUPLE_ORIG, TUPLE_REPLY, PROTOINFO, MARK, ID, MARK_MASK = 1, 2, 4, 8, 12, 21
TUPLE_IP, TUPLE_PROTO = 1, 2
PROTO_NUM, PROTO_SPORT, PROTO_DPORT, ICMP_TYPE, ICMPV6_TYPE = 1, 2, 3, 5, 8
PROTOINFO_TCP, FLAGS_ORIGINAL, FLAGS_REPLY, BE_LIBERAL = 1, 4, 5, 0x08
NAMES = {6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmpv6"}
# attributes of source and target by the version of IP
ENDS = {4: (1, 2), 6: (3, 4)}
# the bit of the mark that says which end began, though the connection was first seen in its middle
KNOWN = 1 << 29
Attributes = Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Connection):
    """An entry: `asked` is whom the source asked for, `seen` whom the target sees; `orig` and `id` name it to the
    kernel; `cut`: it carries the mark of those that are reset; `whole`: it was seen from its beginning, both ways."""

    asked: Address
    seen: Address
    orig: bytes
    id: bytes
    cut: bool
    whole: bool

    @property
    def ends(self) -> frozenset[tuple[Address, int | None]]:
        """Both ends."""
        return frozenset(((self.source, self.own), (self.target, self.port)))

    @property
    def translated(self) -> bool:
        """Whether it is another for one of its ends than for the other."""
        return (self.asked, self.seen) != (self.target, self.source)

    @property
    def family(self) -> int:
        """Its address family."""
        return socket.AF_INET if self.source.version == 4 else socket.AF_INET6


def entry(attrs: Attributes) -> Entry | None:
    """An entry, None for what is neither IPv4 nor IPv6."""
    original, reply = _ends(attrs[TUPLE_ORIG]), _ends(attrs[TUPLE_REPLY])
    if original is None or reply is None:
        return None
    (source, asked, proto), (target, seen, answer) = original, reply
    number, mark = proto[PROTO_NUM][0], int.from_bytes(attrs.get(MARK, b""), "big")
    types = proto.get(ICMP_TYPE) or proto.get(ICMPV6_TYPE)
    unsure = _picked_up(attrs.get(PROTOINFO, b"")) and not mark & KNOWN
    return Entry(
        source=source,
        target=target,
        proto=NAMES.get(number, str(number)),
        port=_port(answer.get(PROTO_SPORT)),
        icmp_type=types[0] if types else None,
        unsure=unsure,
        own=_port(proto.get(PROTO_SPORT)),
        asked=asked,
        seen=seen,
        orig=attrs[TUPLE_ORIG],
        id=attrs[ID],
        cut=bool(mark & CUT),
        whole=not unsure and bool(int.from_bytes(attrs.get(STATUS, b""), "big") & ASSURED),
    )


def asks(attrs: Attributes, protocol: int, port: int) -> bool:
    """Whether an entry's source asked for a port of a protocol."""
    proto = wire.attributes(wire.attributes(attrs[TUPLE_ORIG]).get(TUPLE_PROTO, b""))
    return proto.get(PROTO_NUM) == bytes([protocol]) and proto.get(PROTO_DPORT) == port.to_bytes(2, "big")


def _ends(half: bytes) -> tuple[Address, Address, dict[int, bytes]] | None:
    parts = wire.attributes(half)
    ends = sorted(wire.attributes(parts.get(TUPLE_IP, b"")).items())
    if len(ends) != 2:
        return None
    (_, source), (_, target) = ends
    return ip_address(source), ip_address(target), wire.attributes(parts[TUPLE_PROTO])


def _port(data: bytes | None) -> int | None:
    return int.from_bytes(data, "big") if data else None


def _picked_up(info: bytes) -> bool:
    """Whether a TCP connection was first seen in its middle: then both windows are liberal (tcp_new in
    nf_conntrack_proto_tcp.c)."""
    tcp = wire.attributes(wire.attributes(info).get(PROTOINFO_TCP, b""))
    return all(tcp.get(flags, b"\0")[0] & BE_LIBERAL for flags in (FLAGS_ORIGINAL, FLAGS_REPLY))
