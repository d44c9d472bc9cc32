"""rtnetlink in batches: pyroute2's messages over one plain socket.

Several messages go to the kernel in one sendmsg, which handles them all before it returns: one system call for what
belongs together, and no kill can fall between them. Each is acknowledged (NLM_F_ACK, netlink(7)); the first refusal
raises with the verb and the key. A socket belongs to the namespace of the thread that made it, for ever.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ..errors import Denied, Exists, NetError, NotFound
from ..model import Address, Interface

NLMSG_ERROR, NLMSG_DONE = 2, 3
IFF_UP = 1
IFA_F_NODAD = 0x02
RECEIVE = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """One message with what it is for, in the words of an error."""

    message: Any
    what: str


def _link(command: int, mode: int, what: str, attrs: Sequence[tuple[str, Any]], **fields: int) -> Request:
    message = ifinfmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | mode
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [(name, value) for name, value in attrs if value is not None]
    return Request(message, what)


NEW = NLM_F_CREATE | NLM_F_EXCL


def new_bridge(name: str, *, mtu: int | None = None, mac: str | None = None) -> Request:
    """Make a bridge, up. A fixed MAC, or it would change with its ports."""
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac)]
    attrs.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}))
    return _link(RTM_NEWLINK, NEW, f"create bridge {name}", attrs, flags=IFF_UP, change=IFF_UP)


def new_veth(
    name: str,
    peer: str,
    *,
    peer_netns: int | None = None,
    netns: int | None = None,
    mtu: int | None = None,
    master: int | None = None,
    peer_mac: str | None = None,
    peer_master: int | None = None,
) -> Request:
    """Make a veth pair, the first end up; `netns` and `peer_netns` are file descriptors, `master` a bridge's index.

    The peer cannot be born up: veth refuses to open an end that has no other yet (ENOTCONN, drivers/net/veth.c).
    """
    other = ifinfmsg()
    pairs = [("IFLA_IFNAME", peer), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", peer_mac), ("IFLA_NET_NS_FD", peer_netns)]
    other["attrs"] = [pair for pair in [*pairs, ("IFLA_MASTER", peer_master)] if pair[1] is not None]
    kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", other)]})]}
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", netns)]
    attrs.append(("IFLA_LINKINFO", kind))
    attrs.append(("IFLA_MASTER", master))
    return _link(RTM_NEWLINK, NEW, f"create veth {name} <-> {peer}", attrs, flags=IFF_UP, change=IFF_UP)


def set_link(name: str, *, alias: str | None = None, mtu: int | None = None, master: int | None = None) -> Request:
    """Change a link by name and set it up; `master` 0 takes it from its bridge."""
    attrs = [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias), ("IFLA_MTU", mtu), ("IFLA_MASTER", master)]
    return _link(RTM_SETLINK, 0, f"set link {name}", attrs, flags=IFF_UP, change=IFF_UP)


def mark_port(name: str, alias: str) -> Request:
    """Set a bridge port's alias and its hairpin mode: where br_netfilter translates a frame on its way through the
    bridge, a container may be led back to itself."""
    slave = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_MODE", 1)]})]
    attrs = [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias), ("IFLA_LINKINFO", {"attrs": slave})]
    return _link(RTM_NEWLINK, 0, f"mark port {name}", attrs)


def delete_link(name: str) -> Request:
    """Delete a link (of a veth pair: both)."""
    return _link(RTM_DELLINK, 0, f"delete link {name}", [("IFLA_IFNAME", name)])


def _address(command: int, flags: int, index: int, address: Interface, verb: str) -> Request:
    message = ifaddrmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
    message["prefixlen"] = address.network.prefixlen
    message["index"] = index
    message["flags"] = IFA_F_NODAD if address.version == 6 else 0
    attrs = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    if address.version == 4 and address.network.prefixlen < 31:
        attrs.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    message["attrs"] = attrs if address.version == 4 else attrs[1:]
    return Request(message, f"{verb} address {address}")


def add_address(index: int, address: Interface) -> Request:
    """Give a link an address; IPv6 without duplicate detection, since we own the subnet."""
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address, "add")


def delete_address(index: int, address: Interface) -> Request:
    """Take an address from a link."""
    return _address(RTM_DELADDR, 0, index, address, "delete")


def add_default(index: int, gateway: Address) -> Request:
    """A default route over a link."""
    message = rtmsg()
    message["header"]["type"] = RTM_NEWROUTE
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    message["family"] = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    message["table"], message["proto"], message["scope"], message["type"] = 254, 4, 0, 1
    message["attrs"] = [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)]
    return Request(message, f"add default route via {gateway}")


class Netlink:
    """One rtnetlink socket, made in the calling thread's namespace; blocking, one owner at a time."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._sock.bind((0, 0))
        self._marshal = MarshalRtnl()
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def do(self, requests: Iterable[Request], *, missing_ok: bool = False) -> None:
        """Send all in one system call; raises for the first the kernel refused (the others were done).

        Exists, NotFound (unless `missing_ok`), Denied, NetError.
        """
        pending: dict[int, str] = {}
        data = bytearray()
        for request in requests:
            self._sequence += 1
            pending[self._sequence] = request.what
            data += self._encode(request)
        if not pending:
            return
        self._sock.send(data)
        failure: NetError | None = None
        while pending:
            for kind, sequence, payload in _messages(self._sock.recv(RECEIVE)):
                what = pending.pop(sequence, None)
                if what is None or kind != NLMSG_ERROR:
                    continue
                code = -int.from_bytes(payload[:4], "little", signed=True)
                if code and not (missing_ok and code in (errno.ENODEV, errno.EADDRNOTAVAIL)):
                    failure = failure or _refused(what, code)
        if failure:
            raise failure

    def links(self) -> list[Any]:
        """Every link, as pyroute2 decodes it."""
        message = ifinfmsg()
        message["header"]["type"] = RTM_GETLINK
        return self._dump(message)

    def addresses(self) -> list[Any]:
        """Every address."""
        message = ifaddrmsg()
        message["header"]["type"] = RTM_GETADDR
        return self._dump(message)

    def routes(self) -> list[Any]:
        """Every route of every table."""
        message = rtmsg()
        message["header"]["type"] = RTM_GETROUTE
        return self._dump(message)

    def _dump(self, message: Any) -> list[Any]:
        self._sequence += 1
        message["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
        self._sock.send(self._encode(Request(message, "dump")))
        found: list[Any] = []
        while True:
            data = self._sock.recv(RECEIVE)
            found += [entry for entry in self._marshal.parse(data, None, None) if entry["header"]["type"] > NLMSG_DONE]
            if any(kind in (NLMSG_DONE, NLMSG_ERROR) for kind, _, _ in _messages(data)):
                return found

    def _encode(self, request: Request) -> bytes:
        message = request.message
        message["header"]["sequence_number"] = self._sequence
        message["header"]["pid"] = 0
        message.reset()
        message.encode()
        return bytes(message.data)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "little")
        kind = int.from_bytes(data[offset + 4 : offset + 6], "little")
        sequence = int.from_bytes(data[offset + 8 : offset + 12], "little")
        yield kind, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _refused(what: str, code: int) -> NetError:
    text = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})"
    if code in (errno.EPERM, errno.EACCES):
        return Denied(f"{text}; run as root")
    if code == errno.EEXIST:
        return Exists(text)
    if code in (errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH):
        return NotFound(text)
    if code == errno.EOPNOTSUPP:
        return NetError(f"{text}; this kernel lacks the link kind, see: hawser check")
    return NetError(text)
