"""Connections that the kernel goes on with although they should end: found among all, and cut or forgotten.

conntrack keeps a UDP "connection" as long as packets come, with the translation it began with: a client that goes on
sending would never reach a new container, nor one published after its first packet (moby#11998, plugins#123). So when a
UDP port's element comes or goes, the entries with that original destination port are deleted; and those of a floating
address, when what it leads to changes.

What policies no longer allow (policy/flush.py) is deleted too, but for TCP, whose entries are marked and kept. Deleted,
a TCP connection would come back: the next packet of whichever end is taken for a first one (nf_conntrack_tcp_loose),
and where that end may speak to the other, the other's packets would be answers again. The entry knows who began; while
it is marked the tenant's table resets what belongs to it, and a change back only takes the mark away. (OVN marks such
connections for the same reason, ct_mark.blocked.) Messages: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from ..errors import NetError
from ..model import Address
from ..policy.flush import Connection
from ..tenant_rules import CUT
from . import tracked, wire
from .channel import Channel
from .sockets import End, Flow
from .tracked import ID, MARK, MARK_MASK, TUPLE_ORIG, Attributes, Entry
from .wire import attribute

T = TypeVar("T")
NETLINK_NETFILTER = 12
NEW, GET, DELETE = 1 << 8, (1 << 8) | 1, (1 << 8) | 2
ACK, BATCH = 0x4, 64
TCP, UDP = 6, 17
TIMEOUT, STATE, TCP_ESTABLISHED = 7, 1, 3
SEEN_REPLY, CONFIRMED = 2, 8
CREATE = 0x600  # and it must be new
DAYS = 5 * 24 * 3600  # nf_conntrack_tcp_timeout_established
NLA_NESTED = 0x8000
Request = tuple[int, int, bytes]


class Conntrack(Channel):
    """One ctnetlink socket, of the namespace of the thread that makes it; blocking."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER, "conntrack", "conntrack: the connections")

    def forget_udp(self, port: int) -> int:
        """Delete every UDP entry whose original destination port is `port`; returns how many."""
        found = self._dump(lambda attrs: tracked.entry(attrs) if tracked.asks(attrs, UDP, port) else None)
        return self._do([_deletion(entry) for entry in found])

    def forget_address(self, address: Address) -> int:
        """Delete every entry that asked for an address or is seen as it from outside; returns how many."""
        return self._do([_deletion(entry) for entry in self.entries() if address in (entry.asked, entry.seen)])

    def revise(self, stale: Callable[[Sequence[Connection]], Collection[Connection]]) -> int:
        """Cut the connections that are `stale`, and let those go on that were cut and are not any more; returns how
        many were cut. NetError."""
        entries = self.entries()
        gone = frozenset(stale(entries))
        asked = [_marking(entry, CUT) for entry in entries if entry in gone and entry.proto == "tcp" and not entry.cut]
        asked += [_deletion(entry) for entry in entries if entry in gone and entry.proto != "tcp"]
        count = self._do(asked)
        self._do([_marking(entry, 0) for entry in entries if entry.cut and entry not in gone])
        return count

    def know(self, flows: Iterable[Flow]) -> int:
        """Take TCP connections for established that go on unseen; returns how many were not known. NetError.

        What was seen of one until now, only where it was routed and perhaps one way only, is replaced.
        """
        wanted = {frozenset((flow.client, flow.server)): flow for flow in flows}
        entries = self._dump(tracked.entry) if wanted else []
        partial = [entry for entry in entries if not entry.whole and not entry.translated and entry.ends in wanted]
        self._do([_deletion(entry) for entry in partial])
        return self._do([_creation(flow) for flow in wanted.values()])

    def entries(self) -> list[Entry]:
        """Every connection."""
        return self._dump(tracked.entry)

    def _dump(self, read: Callable[[Attributes], T | None]) -> list[T]:
        return [one for family in (socket.AF_INET, socket.AF_INET6) for one in self._dumped(family, read)]

    def _dumped(self, family: int, read: Callable[[Attributes], T | None]) -> list[T]:
        def refused(message: wire.Message) -> NetError:
            return _refused("look at the connections", message.error)

        payloads = self.dump(GET, NEW, _head(family), refused)
        return [one for payload in payloads if (one := read(wire.attributes(payload, 4))) is not None]

    def _do(self, requests: Sequence[Request]) -> int:
        """Do all, a few at a time; returns how many were done: one that ended by itself is no failure, nor is
        one that is known. NetError."""
        count = 0
        for start in range(0, len(requests), BATCH):
            pending = {self.send(*request) for request in requests[start : start + BATCH]}
            while pending:
                for message in self.receive():
                    if message.kind == wire.ERROR and message.sequence in pending:
                        pending.remove(message.sequence)
                        if message.error not in (0, errno.ENOENT, errno.EEXIST):
                            raise _refused("change a connection", message.error)
                        count += message.error == 0
        return count


def _head(family: int) -> bytes:
    """nfgenmsg."""
    return struct.pack("=BBH", family, 0, 0)


def _deletion(entry: Entry) -> Request:
    return DELETE, ACK, _head(entry.family) + _name(entry) + attribute(ID, entry.id)


def _marking(entry: Entry, mark: int) -> Request:
    bits = attribute(MARK, struct.pack("!I", mark)) + attribute(MARK_MASK, struct.pack("!I", CUT))
    return NEW, ACK, _head(entry.family) + _name(entry) + bits


def _creation(flow: Flow) -> Request:
    """Windows are not watched, whose scale nobody knows; the mark says that the direction is known all the same."""
    flags = bytes([tracked.BE_LIBERAL, tracked.BE_LIBERAL])
    tcp = attribute(STATE, bytes([TCP_ESTABLISHED])) + attribute(tracked.FLAGS_ORIGINAL, flags)
    tcp += attribute(tracked.FLAGS_REPLY, flags)
    body = attribute(TUPLE_ORIG | NLA_NESTED, _half(flow.client, flow.server))
    body += attribute(tracked.TUPLE_REPLY | NLA_NESTED, _half(flow.server, flow.client))
    body += attribute(tracked.STATUS, struct.pack("!I", SEEN_REPLY | tracked.ASSURED | CONFIRMED))
    body += attribute(tracked.PROTOINFO | NLA_NESTED, attribute(tracked.PROTOINFO_TCP | NLA_NESTED, tcp))
    body += attribute(TIMEOUT, struct.pack("!I", DAYS)) + attribute(MARK, struct.pack("!I", tracked.KNOWN))
    family = socket.AF_INET if flow.client[0].version == 4 else socket.AF_INET6
    return NEW, ACK | CREATE, _head(family) + body


def _half(source: End, target: End) -> bytes:
    (first, near), (second, far) = source, target
    ends = tracked.ENDS[first.version]
    ip = attribute(ends[0], first.packed) + attribute(ends[1], second.packed)
    proto = attribute(tracked.PROTO_NUM, bytes([TCP])) + attribute(tracked.PROTO_SPORT, near.to_bytes(2, "big"))
    proto += attribute(tracked.PROTO_DPORT, far.to_bytes(2, "big"))
    return attribute(tracked.TUPLE_IP | NLA_NESTED, ip) + attribute(tracked.TUPLE_PROTO | NLA_NESTED, proto)


def _name(entry: Entry) -> bytes:
    return attribute(TUPLE_ORIG | NLA_NESTED, entry.orig)


def _refused(what: str, code: int) -> NetError:
    return NetError(f"conntrack: {what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})")
