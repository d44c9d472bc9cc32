"""The few rtnetlink messages a lab needs, packed directly.

A lab of 256 hosts is some 1,500 messages from a process that lives a second: packing them with `struct` costs a few
microseconds each and nothing to import, where the general encoder costs a tenth of a second to import and more to run.
Layouts: rtnetlink(7), linux/if_link.h. One `Batch` is one sendmsg on a socket of the namespace the thread is in; the
kernel works it off before the call returns. The first refusal raises with what it was about.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface

from ..errors import Denied, LabError
from ..render import Cable

NEWLINK, SETLINK, NEWADDR, NEWNEIGH, DELNEIGH = 16, 19, 20, 28, 29
REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 10, 18, 28
INFO_KIND, INFO_DATA, VETH_PEER, BR_STP, BR_SNOOPING = 1, 2, 1, 5, 23
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
NDA_DST, NDA_LLADDR, PERMANENT = 1, 2, 0x80
ERROR, UP, LOOPBACK = 2, 1, 1
SO_RCVBUFFORCE = 33
SIOCETHTOOL, ETHTOOL_GLINK = 0x8946, 0x0A  # linux/sockios.h, linux/ethtool.h
RECEIVE = 1 << 17


def attribute(kind: int, data: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def _name(name: str) -> bytes:
    return attribute(IFLA_IFNAME, name.encode() + b"\0")


def _info(kind: str, data: bytes) -> bytes:
    return attribute(IFLA_LINKINFO, attribute(INFO_KIND, kind.encode()) + attribute(INFO_DATA, data))


def _ifinfo(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags)


def _mac(mac: str | None) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""


class Batch:
    """Messages to be sent at once, each with what it is for."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.what: list[str] = []

    def _add(self, command: int, flags: int, body: bytes, what: str) -> None:
        self._data += struct.pack("=IHHII", 16 + len(body), command, REQUEST | flags, len(self.what), 0) + body
        self.what.append(what)

    def bridge(self, name: str, index: int, mac: str) -> None:
        """Make a bridge, up: no spanning tree, no multicast snooping (without a querier it loses groups)."""
        body = _ifinfo(index, UP) + _name(name) + _mac(mac)
        body += _info("bridge", attribute(BR_STP, struct.pack("=I", 0)) + attribute(BR_SNOOPING, b"\0"))
        self._add(NEWLINK, ACK | CREATE | EXCL, body, f"create bridge {name}")

    def veth(self, name: str, peer: str) -> None:
        """Make a veth pair, this end up; the peer is born down (veth cannot open an end that has no other yet)."""
        body = _ifinfo(0, UP) + _name(name) + _info("veth", attribute(VETH_PEER, _ifinfo() + _name(peer)))
        self._add(NEWLINK, ACK | CREATE | EXCL, body, f"create link {name} - {peer}")

    def cable(self, cable: Cable, fabric: int, host: int) -> None:
        """Make a host's veth pair, both ends up; `fabric` and `host` (which is here) are descriptors of namespaces.

        A peer without one is born beside the first end, and takes its index only if that has one (veth_newlink).
        """
        name, port, index = cable.name, cable.peer, cable.index
        other = _ifinfo(index) + _name(name) + _mac(cable.mac) + attribute(IFLA_NET_NS_FD, struct.pack("=i", host))
        body = _ifinfo(cable.peer_index, UP) + _name(port) + attribute(IFLA_NET_NS_FD, struct.pack("=i", fabric))
        body += attribute(IFLA_MASTER, struct.pack("=I", cable.bridge)) + _info("veth", attribute(VETH_PEER, other))
        self._add(NEWLINK, ACK | CREATE | EXCL, body, f"create link {name} - {port}")
        self._add(SETLINK, ACK, _ifinfo(index, UP), f"set {name} up")

    def join(self, name: str, bridge: int) -> None:
        """Put a link, named, into a bridge and set it up."""
        body = _ifinfo(0, UP) + _name(name) + attribute(IFLA_MASTER, struct.pack("=I", bridge))
        self._add(SETLINK, ACK, body, f"put {name} into its bridge")

    def loopback(self) -> None:
        """Set the loopback up."""
        self._add(SETLINK, ACK, _ifinfo(LOOPBACK, UP), "set lo up")

    def address(self, index: int, address: IPv4Interface) -> None:
        """Give a link an address."""
        body = struct.pack("=BBBBI", socket.AF_INET, address.network.prefixlen, 0, 0, index)
        body += attribute(IFA_LOCAL, address.ip.packed) + attribute(IFA_ADDRESS, address.ip.packed)
        if address.network.prefixlen < 31:
            body += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
        self._add(NEWADDR, ACK | CREATE | EXCL, body, f"add address {address}")

    def neighbour(self, index: int, address: IPv4Address, mac: bytes) -> None:
        """A permanent neighbour, unless there is one already. Only a refusal is answered."""
        body = struct.pack("=BxxxiHBB", socket.AF_INET, index, PERMANENT, 0, 0)
        body += attribute(NDA_DST, address.packed) + attribute(NDA_LLADDR, mac)
        self._add(NEWNEIGH, CREATE | EXCL, body, f"add neighbour {address}")

    def forget(self, index: int, address: IPv4Address) -> None:
        """Drop a neighbour. Only a refusal is answered."""
        body = struct.pack("=BxxxiHBB", socket.AF_INET, index, 0, 0, 0) + attribute(NDA_DST, address.packed)
        self._add(DELNEIGH, 0, body, f"forget neighbour {address}")

    def data(self) -> bytes:
        return bytes(self._data)


class Rtnl:
    """A socket in the calling thread's namespace; it stays there."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        self._sock.bind((0, 0))

    def __enter__(self) -> "Rtnl":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def do(self, batch: Batch) -> None:
        """Send and wait for every acknowledgement; raises for the first refusal (the others were done)."""
        for what, code in self.ask(batch):
            if code:
                raise refused(what, code)

    def ask(self, batch: Batch) -> list[tuple[str, int]]:
        """Send and wait for every acknowledgement: what each message was about, and its error number or 0."""
        if not batch.what:
            return []
        self._send(batch.data())
        codes: dict[int, int] = {}
        while len(codes) < len(batch.what):
            codes.update(_answers(self._sock.recv(RECEIVE)))
        return [(what, codes[sequence]) for sequence, what in enumerate(batch.what)]

    def tell(self, data: bytes) -> set[int]:
        """Send messages that are answered only when refused; the numbers of those."""
        self._send(data)
        refused: set[int] = set()
        while True:
            try:
                answer = self._sock.recv(RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return refused
            refused |= {sequence for sequence, code in _answers(answer) if code}

    def _send(self, data: bytes) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(len(data) + 4096, 1 << 16))
        self._sock.send(data)


def _messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, sequence, offset + 16
        offset += (length + 3) & ~3


def _answers(data: bytes) -> Iterator[tuple[int, int]]:
    for kind, sequence, offset in _messages(data):
        if kind == ERROR:
            yield sequence, -int.from_bytes(data[offset : offset + 4], "little", signed=True)


def refused(what: str, code: int) -> LabError:
    """The error for what the kernel did not do."""
    text = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})"
    if code in (errno.EPERM, errno.EACCES):
        return Denied(f"{text}; run as root")
    if code == errno.EOPNOTSUPP:
        return LabError(f"{text}; this kernel lacks the link kind, see: hawser check")
    return LabError(text)


def settle(links: Iterable[str]) -> list[str]:
    """Make the kernel finish the news of these links' carriers now; those that have none.

    Its link watch tells bridges and queues of a new carrier a hundred links at a time, up to a second apart
    (net/core/link_watch.c), and frames sent before are lost, the first ping for example. Asking by ETHTOOL_GLINK does
    it at once for the link asked about.
    """
    value = bytearray(8)
    address = ctypes.addressof(ctypes.c_char.from_buffer(value))
    dead = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for name in links:
            struct.pack_into("=II", value, 0, ETHTOOL_GLINK, 0)
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("=16sQ16x", name.encode(), address))
            if not value[4]:
                dead.append(name)
    return dead
