"""rtnetlink in batches: pyroute2's messages over one plain socket.

Several messages go to the kernel in one sendmsg, which handles them all before it returns: one system call for what
belongs together, and no kill can fall between them. The kernel goes on after a refusal, so a message that depends on
an earlier one of its batch must not be able to hit anything else: new links are given an index (`index_of`), and what
follows names the link by it. Each message is acknowledged (NLM_F_ACK, netlink(7)); the first refusal raises with the
verb, the key and the kernel's own words. Batches are cut so that the answers fit the receive buffer. A socket belongs
to the namespace of the thread that made it, for ever.
"""

import errno
import functools
import hashlib
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ..errors import Denied, Exists, NetError, NotFound, Unavailable
from ..model import Address, Interface, Subnet
from . import wire
from .channel import Channel

IFF_UP = 1
IFA_F_NODAD = 0x02
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
GONE = (errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT)
RULE_PRIORITY = 1000
BATCH_MESSAGES, BATCH_BYTES = 128, 1 << 16


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


@functools.cache
def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6; looked up once (procfs.py says why)."""
    return os.path.isdir("/proc/sys/net/ipv6")


def index_of(name: str) -> int:
    """An interface index to ask for when making `name`: from its hash, above what the kernel counts up to by itself."""
    return (1 << 29) | int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 3


def new_bridge(
    name: str, *, mtu: int | None = None, mac: str | None = None, index: int = 0, up: bool = True
) -> Request:
    """Make a bridge. A fixed MAC, or it would change with its ports. `index` 0 lets the kernel choose."""
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac)]
    attrs.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}))
    return _link(RTM_NEWLINK, NEW, f"create bridge {name}", attrs, index=index, flags=IFF_UP * up, change=IFF_UP)


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
    index: int = 0,
    peer_index: int = 0,
    up: bool = True,
) -> Request:
    """Make a veth pair, the first end up; `netns` and `peer_netns` are file descriptors, `master` a bridge's index. The
    kernel regards `peer_index` only beside an `index`.

    The peer cannot be born up: veth refuses to open an end that has no other yet (ENOTCONN, drivers/net/veth.c).
    """
    other = ifinfmsg()
    other["index"] = peer_index
    pairs = [("IFLA_IFNAME", peer), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", peer_mac), ("IFLA_NET_NS_FD", peer_netns)]
    other["attrs"] = [pair for pair in [*pairs, ("IFLA_MASTER", peer_master)] if pair[1] is not None]
    kind = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", other)]})]}
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", netns)]
    attrs.append(("IFLA_LINKINFO", kind))
    attrs.append(("IFLA_MASTER", master))
    return _link(
        RTM_NEWLINK, NEW, f"create veth {name} <-> {peer}", attrs, index=index, flags=IFF_UP * up, change=IFF_UP
    )


def up(index: int) -> Request:
    """Set the link with this index up."""
    return _link(RTM_SETLINK, 0, f"set link {index} up", [], index=index, flags=IFF_UP, change=IFF_UP)


def down(index: int) -> Request:
    """Set the link with this index down."""
    return _link(RTM_SETLINK, 0, f"set link {index} down", [], index=index, flags=0, change=IFF_UP)


def move_link(index: int, netns: int, *, name: str | None = None, alias: str | None = None) -> Request:
    """Move a link into the namespace of a file descriptor, where it is down; with another name and alias there."""
    attrs = [("IFLA_NET_NS_FD", netns), ("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias)]
    return _link(RTM_SETLINK, 0, f"move link {index}", attrs, index=index)


def rename_link(index: int, name: str) -> Request:
    """Give a link another name."""
    return _link(RTM_SETLINK, 0, f"rename link {index} to {name}", [("IFLA_IFNAME", name)], index=index)


def set_link(
    name: str,
    *,
    alias: str | None = None,
    mtu: int | None = None,
    master: int | None = None,
    mac: str | None = None,
) -> Request:
    """Change a link by name and set it up; `master` 0 takes it from its bridge."""
    attrs = [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias), ("IFLA_MTU", mtu)]
    attrs += [("IFLA_MASTER", master), ("IFLA_ADDRESS", mac)]
    return _link(RTM_SETLINK, 0, f"set link {name}", attrs, flags=IFF_UP, change=IFF_UP)


def mark_link(index: int, alias: str, *, mtu: int | None = None) -> Request:
    """Set the alias of the link with this index, whatever its name."""
    return _link(RTM_SETLINK, 0, f"mark link {alias}", [("IFLA_IFALIAS", alias), ("IFLA_MTU", mtu)], index=index)


def filter_bridge(index: int, on: bool) -> Request:
    """Whether br_netfilter shows a bridge's frames to the IP hooks of its namespace (nf_call_iptables)."""
    data = {"attrs": [("IFLA_BR_NF_CALL_IPTABLES", int(on)), ("IFLA_BR_NF_CALL_IP6TABLES", int(on))]}
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
    return _link(RTM_NEWLINK, 0, f"filter bridge {index}", [("IFLA_LINKINFO", info)], index=index)


def new_vxlan(name: str, *, vni: int, local: Address, port: int, netns: int, mtu: int) -> Request:
    """Make a VXLAN device (RFC 7348) at a UDP port that learns nothing, in the namespace `netns` (a file descriptor);
    its socket stays in the namespace of the socket this is sent by."""
    data: list[tuple[str, Any]] = [("IFLA_VXLAN_ID", vni), ("IFLA_VXLAN_PORT", port), ("IFLA_VXLAN_LEARNING", 0)]
    data.append(("IFLA_VXLAN_LOCAL" if local.version == 4 else "IFLA_VXLAN_LOCAL6", str(local)))
    info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]}
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", netns)]
    return _link(RTM_NEWLINK, NEW, f"create tunnel {name}", [*attrs, ("IFLA_LINKINFO", info)])


def join_tunnel(index: int, *, alias: str, flood: bool) -> Request:
    """Have a tunnel that is on its bridge be marked and up: it carries what is known, answers for known neighbours, and
    takes broadcast only when it is to `flood`."""
    wanted = [("NEIGH_SUPPRESS", 1), ("LEARNING", 0), ("UNICAST_FLOOD", 0)]
    wanted += [("MCAST_FLOOD", int(flood)), ("BCAST_FLOOD", int(flood))]
    data = {"attrs": [(f"IFLA_BRPORT_{name}", value) for name, value in wanted]}
    slave = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]
    attrs = [("IFLA_IFALIAS", alias), ("IFLA_LINKINFO", {"attrs": slave})]
    return _link(RTM_NEWLINK, 0, f"set tunnel {alias}", attrs, index=index, flags=IFF_UP, change=IFF_UP)


def enslave(index: int, master: int) -> Request:
    """Put the link with this index on a bridge."""
    return _link(RTM_SETLINK, 0, f"put link {index} on {master}", [("IFLA_MASTER", master)], index=index)


NUD_NOARP, NUD_PERMANENT, NTF_SELF, NTF_MASTER, NTF_PROXY, NLM_F_APPEND = 0x40, 0x80, 0x02, 0x04, 0x08, 0x800
# who made a proxy entry (NDA_PROTOCOL): none of the numbers of rtnetlink.h
MAKER = 104
NOBODY = "00:00:00:00:00:00"
FAMILY = {4: wire.AF_INET, 6: wire.AF_INET6}


def _neighbour(
    command: int,
    what: str,
    index: int,
    fields: Mapping[str, int],
    *,
    mac: str | None = None,
    address: Address | None = None,
    mode: int = 0,
) -> Request:
    message = ndmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | mode
    for name, value in fields.items():
        message[name] = value
    message["ifindex"] = index
    pairs = (("NDA_LLADDR", mac), ("NDA_DST", None if address is None else str(address)))
    message["attrs"] = [(name, value) for name, value in pairs if value is not None]
    return Request(message, what)


REPLACE = NLM_F_CREATE | NLM_F_REPLACE


def add_neighbour(index: int, address: Address, mac: str) -> Request:
    """A permanent neighbour of a link."""
    what, entry = f"add neighbour {address}", {"family": FAMILY[address.version], "state": NUD_PERMANENT}
    return _neighbour(RTM_NEWNEIGH, what, index, entry, mac=mac, address=address, mode=REPLACE)


def delete_neighbour(index: int, address: Address) -> Request:
    """Forget a neighbour."""
    what, entry = f"delete neighbour {address}", {"family": FAMILY[address.version]}
    return _neighbour(RTM_DELNEIGH, what, index, entry, address=address)


def add_proxy(index: int, address: Address) -> Request:
    """Have a link answer for an address."""
    request = _neighbour(
        RTM_NEWNEIGH,
        f"answer for {address}",
        index,
        {"family": FAMILY[address.version], "flags": NTF_PROXY},
        address=address,
        mode=REPLACE,
    )
    request.message["attrs"].append(("NDA_PROTOCOL", MAKER))
    return request


def delete_proxy(index: int, address: Address) -> Request:
    """Have it answer no more."""
    what, entry = f"stop answering for {address}", {"family": FAMILY[address.version], "flags": NTF_PROXY}
    return _neighbour(RTM_DELNEIGH, what, index, entry, address=address)


def add_forwarding(index: int, mac: str, endpoint: Address) -> tuple[Request, Request]:
    """Have a MAC lead into a tunnel, for its bridge, and there to an endpoint, for the tunnel."""
    what = f"forward {mac} to {endpoint}"
    own = {"family": wire.AF_BRIDGE, "state": NUD_PERMANENT, "flags": NTF_SELF}
    bridges = {"family": wire.AF_BRIDGE, "state": NUD_NOARP, "flags": NTF_MASTER}
    return (
        _neighbour(RTM_NEWNEIGH, what, index, own, mac=mac, address=endpoint, mode=REPLACE),
        _neighbour(RTM_NEWNEIGH, what, index, bridges, mac=mac, mode=REPLACE),
    )


def delete_forwarding(index: int, mac: str) -> tuple[Request, Request]:
    """Forget where a MAC leads."""
    what, family = f"stop forwarding {mac}", wire.AF_BRIDGE
    return (
        _neighbour(RTM_DELNEIGH, what, index, {"family": family, "flags": NTF_MASTER}, mac=mac),
        _neighbour(RTM_DELNEIGH, what, index, {"family": family, "flags": NTF_SELF}, mac=mac),
    )


def flood_to(index: int, endpoint: Address) -> Request:
    """Have a tunnel send to one more endpoint what is for everybody (the entry of all-zero, bridge(8))."""
    what, entry = f"flood to {endpoint}", {"family": wire.AF_BRIDGE, "state": NUD_PERMANENT, "flags": NTF_SELF}
    mode = NLM_F_CREATE | NLM_F_APPEND
    return _neighbour(RTM_NEWNEIGH, what, index, entry, mac=NOBODY, address=endpoint, mode=mode)


def stop_flooding(index: int, endpoint: Address) -> Request:
    """Do not send it there any more."""
    what, entry = f"stop flooding to {endpoint}", {"family": wire.AF_BRIDGE, "flags": NTF_SELF}
    return _neighbour(RTM_DELNEIGH, what, index, entry, mac=NOBODY, address=endpoint)


def mark_port(index: int, alias: str) -> Request:
    """Set a bridge port's alias. The port itself needs no IPv6 address; made before it is up, the kernel spares the
    work of one (duplicate detection and multicast reports, under the lock of all links)."""
    attrs: list[tuple[str, Any]] = [("IFLA_IFALIAS", alias)]
    if has_ipv6():
        none = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]}
        attrs.append(("IFLA_AF_SPEC", {"attrs": [("AF_INET6", none)]}))
    return _link(RTM_NEWLINK, 0, f"mark port {alias}", attrs, index=index)


def delete_link(name: str | None = None, *, index: int = 0) -> Request:
    """Delete a link (of a veth pair: both) by name or by index."""
    return _link(RTM_DELLINK, 0, f"delete link {name or index}", [("IFLA_IFNAME", name)], index=index)


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
    return _default(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, index, gateway, "add")


def delete_default(index: int, gateway: Address) -> Request:
    """Take a default route away."""
    return _default(RTM_DELROUTE, 0, index, gateway, "delete")


def _default(command: int, flags: int, index: int, gateway: Address, verb: str) -> Request:
    attrs = [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)]
    return _route(command, flags, gateway.version, 0, attrs, f"{verb} default route via {gateway}")


def _route(
    command: int, flags: int, version: int, length: int, attrs: Sequence[tuple[str, Any]], what: str, kind: int = 1
) -> Request:
    message = rtmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message["family"] = FAMILY[version]
    message["table"], message["proto"], message["scope"], message["type"] = 254, 4, 0, kind
    message["dst_len"] = length
    message["attrs"] = list(attrs)
    return Request(message, what)


def add_route(subnet: Subnet, index: int, gateway: Address, *, table: int = wire.MAIN_TABLE) -> Request:
    """A route over a link. Exists."""
    return _to(RTM_NEWROUTE, NEW, subnet, index, gateway, table, "add")


def delete_route(subnet: Subnet, index: int, gateway: Address, *, table: int = wire.MAIN_TABLE) -> Request:
    """Take a route away."""
    return _to(RTM_DELROUTE, 0, subnet, index, gateway, table, "delete")


def _to(command: int, flags: int, subnet: Subnet, index: int, gateway: Address, table: int, verb: str) -> Request:
    attrs: list[tuple[str, Any]] = [("RTA_DST", str(subnet.network_address))] if subnet.prefixlen else []
    attrs += [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index), ("RTA_TABLE", table)]
    request = _route(command, flags, subnet.version, subnet.prefixlen, attrs, f"{verb} route {subnet} via {gateway}")
    request.message["table"] = table if table < 256 else 0
    return request


def add_rule(ifname: str, table: int, version: int) -> Request:
    """Look at a routing table first for what comes from a link. Exists."""
    return _rule(RTM_NEWRULE, NEW, ifname, table, version)


def delete_rule(ifname: str, table: int, version: int) -> Request:
    """Look there no more."""
    return _rule(RTM_DELRULE, 0, ifname, table, version)


def _rule(command: int, flags: int, ifname: str, table: int, version: int) -> Request:
    message = fibmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message["family"], message["action"] = FAMILY[version], wire.TO_TABLE
    message["attrs"] = [("FRA_IIFNAME", ifname), ("FRA_TABLE", table), ("FRA_PRIORITY", RULE_PRIORITY)]
    return Request(message, f"look at table {table} for {ifname}")


class Netlink(Channel):
    """One rtnetlink socket, made in the calling thread's namespace; blocking, one owner at a time."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE, "netlink", "the links")
        self._sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)

    def do(self, requests: Iterable[Request], *, missing_ok: bool = False) -> None:
        """Send in one system call (a long batch in several); raises for the first the kernel refused (the others were
        done). Exists, NotFound (unless `missing_ok`), Denied, NetError.
        """
        failure: NetError | None = None
        pending: dict[int, str] = {}
        data = bytearray()
        for request in requests:
            sequence = self.number()
            encoded = _encoded(request.message, sequence)
            if len(pending) >= BATCH_MESSAGES or len(data) + len(encoded) > BATCH_BYTES:
                refused = self._exchange(data, pending, missing_ok)
                failure = failure or refused
                pending, data = {}, bytearray()
            pending[sequence] = request.what
            data += encoded
        refused = self._exchange(data, pending, missing_ok)
        if failure or refused:
            raise failure or refused  # type: ignore[misc]

    def _exchange(self, data: bytearray, pending: dict[int, str], missing_ok: bool) -> NetError | None:
        failure: NetError | None = None
        if pending:
            self._sock.send(data)
        while pending:
            for message in self.receive():
                if message.kind != wire.ERROR or message.sequence not in pending:
                    continue
                what = pending.pop(message.sequence)
                code = message.error
                if code and not (missing_ok and code in GONE):
                    failure = failure or _refused(what, code, message.words)
        return failure

    def link(self, name: str) -> wire.Link | None:
        """One link by name, or None."""
        sequence = self.send(wire.GETLINK, 0, wire.named(name))
        while True:
            for message in self.receive():
                if message.sequence != sequence:
                    continue
                if message.kind == wire.NEWLINK:
                    return wire.link(message.payload)
                if message.error == errno.ENODEV:
                    return None
                raise _refused(f"look at link {name}", message.error, message.words)

    def links(self) -> tuple[wire.Link, ...]:
        """Every link of the namespace."""
        return tuple(wire.link(payload) for payload in self._dump(wire.GETLINK, wire.NEWLINK))

    def addresses(self) -> tuple[wire.LinkAddress, ...]:
        """Every address of the namespace."""
        return tuple(wire.link_address(payload) for payload in self._dump(wire.GETADDR, wire.NEWADDR))

    def neighbours(self, family: int) -> tuple[wire.Neighbour, ...]:
        """Every entry of a neighbour table (AF_INET, AF_INET6), or of the bridges' and tunnels' (AF_BRIDGE)."""
        return tuple(wire.neighbour(payload) for payload in self._dump(wire.GETNEIGH, wire.NEWNEIGH, family))

    def proxied(self, family: int) -> tuple[wire.Neighbour, ...]:
        """The addresses of others that links answer for (NTF_PROXY)."""
        found = self._dump(wire.GETNEIGH, wire.NEWNEIGH, family, NTF_PROXY)
        return tuple(wire.neighbour(payload) for payload in found)

    def routes(self) -> tuple[wire.Route, ...]:
        """Every unicast route of every table."""
        found = (wire.route(payload) for payload in self._dump(wire.GETROUTE, wire.NEWROUTE))
        return tuple(route for route in found if route is not None)

    def rules(self) -> tuple[wire.Rule, ...]:
        """Which tables are looked at for what comes from which link."""
        return tuple(rule for payload in self._dump(wire.GETRULE, wire.NEWRULE) if (rule := wire.rule(payload)))

    def _dump(self, command: int, kind: int, family: int = 0, flags: int = 0) -> list[bytes]:
        def refused(message: wire.Message) -> NetError:
            return _refused(f"dump {command}", message.error, message.words)

        return self.dump(command, kind, wire.of_family(family, flags), refused)


def _encoded(message: Any, sequence: int) -> bytes:
    message["header"]["sequence_number"] = sequence
    message["header"]["pid"] = 0
    message.reset()
    message.encode()
    data = bytes(message.data)
    return data + bytes(-len(data) % 4)


def _refused(what: str, code: int, words: str = "") -> NetError:
    text = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})" + (f": {words}" if words else "")
    if code in (errno.EPERM, errno.EACCES):
        return Denied(f"{text}; run as root")
    if code == errno.EEXIST:
        return Exists(text)
    if code in GONE:
        return NotFound(text)
    if code == errno.EXFULL:
        return Unavailable(f"{text}; a bridge takes 1023 ports, use another network")
    if code == errno.EOPNOTSUPP:
        return NetError(f"{text}; this kernel lacks the link kind, see: hawser check")
    return NetError(text)
