"""The few rtnetlink messages about queues and the devices in front of them, packed by hand as in `netd.drivers.wire`.

Layouts: rtnetlink(7), linux/rtnetlink.h (tcmsg), linux/pkt_sched.h, linux/if_link.h. A socket belongs to the
namespace of the thread that made it; blocking, one owner at a time.
"""

import errno
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ...drivers import wire
from ...drivers.channel import Channel
from ...drivers.netlink import has_ipv6
from ...drivers.wire import attribute
from ...errors import Denied, NetError, NotFound, Unavailable

NEWLINK, DELLINK, NEWQDISC, DELQDISC, GETQDISC = 16, 17, 36, 37, 38
ACK, REPLACE, EXCL, CREATE = 0x4, 0x100, 0x200, 0x400
ROOT = 0xFFFFFFFF
HANDLE = 0x4857 << 16  # "HW"
GONE = (errno.ENODEV, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the link `index`."""

    index: int
    handle: int
    parent: int
    kind: str
    options: Mapping[int, bytes]


class Rtnl(Channel):
    """One socket."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE, "netlink", "the links")

    def new_ifb(self, name: str, alias: str) -> None:
        """Make an ifb device, up, without IPv6 of its own. Unavailable where the kernel has none; NetError."""
        named = attribute(3, name.encode() + b"\0")
        body = bytes(16) + named + attribute(20, alias.encode()) + attribute(18, attribute(1, b"ifb\0"))
        self.ask(NEWLINK, CREATE | EXCL, body, f"create shaper {name}")
        self.raise_link(name)

    def raise_link(self, name: str) -> None:
        """Set a link up, without IPv6 of its own; twice is once. NotFound, NetError."""
        body = struct.pack("=BxHiII", 0, 0, 0, 1, 1) + attribute(3, name.encode() + b"\0")
        if has_ipv6():
            body += attribute(26, attribute(socket.AF_INET6, attribute(8, b"\1")))  # IFLA_AF_SPEC, addr_gen_mode none
        self.ask(NEWLINK, 0, body, f"set {name} up")

    def delete_link(self, name: str) -> None:
        """Delete a link; nothing when it is not there."""
        body = bytes(16) + attribute(3, name.encode() + b"\0")
        self.ask(DELLINK, 0, body, f"delete link {name}", missing_ok=True)

    def set_queue(self, index: int, name: str, options: bytes) -> None:
        """Give a link this tbf, whatever it has. NotFound, NetError."""
        body = struct.pack("=BxxxiIII", 0, index, HANDLE, ROOT, 0)
        body += attribute(1, b"tbf\0") + attribute(2, options)
        self.ask(NEWQDISC, CREATE | REPLACE, body, f"set rate of {name}")

    def delete_queue(self, index: int, name: str) -> None:
        """Give a link back the queue it was born with; nothing when it or the link is gone."""
        body = struct.pack("=BxxxiIII", 0, index, HANDLE, ROOT, 0)
        self.ask(DELQDISC, 0, body, f"remove rate of {name}", missing_ok=True)

    def queues(self) -> list[Queue]:
        """The queues of every link."""
        found = []
        for payload in self.every(GETQDISC, NEWQDISC, bytes(20)):
            _, index, handle, parent, _ = struct.unpack_from("=BxxxiIII", payload)
            attrs = wire.attributes(payload, 20)
            kind = attrs.get(1, b"").rstrip(b"\0").decode(errors="replace")
            options = wire.attributes(attrs.get(2, b"")) if kind == "tbf" else {}
            found.append(Queue(index, handle, parent, kind, options))
        return found

    def links(self) -> list[bytes]:
        """Every link, as the kernel tells of it (ifinfomsg and attributes)."""
        return self.every(wire.GETLINK, wire.NEWLINK, bytes(16))

    def ask(self, command: int, flags: int, body: bytes, what: str, *, missing_ok: bool = False) -> None:
        """Have something done. Denied, NotFound, Unavailable, NetError."""
        sequence = self.send(command, ACK | flags, body)
        while True:
            for message in self.receive():
                if message.sequence == sequence and message.kind == wire.ERROR:
                    if message.error and not (missing_ok and message.error in GONE):
                        raise refused(what, message.error)
                    return

    def every(self, command: int, kind: int, body: bytes) -> list[bytes]:
        """The payloads of everything of a kind. NetError."""
        return self.dump(command, kind, body, lambda message: refused(f"dump {command}", message.error))


def refused(what: str, code: int) -> NetError:
    """The error for what the kernel did not do."""
    text = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})"
    if code in (errno.EPERM, errno.EACCES):
        return Denied(f"{text}; run as root")
    if code == errno.ENODEV:
        return NotFound(text)
    if code in (errno.EOPNOTSUPP, errno.ENOENT):  # a link kind, a kind of queue
        return Unavailable(f"{text}; this kernel lacks it, see: hawser check")
    return NetError(text)
