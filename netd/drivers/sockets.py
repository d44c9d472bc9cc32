"""TCP connections as the sandboxes themselves know them: who speaks with whom, and which end began.

While nothing is filtered on a network, its frames pass the bridge unseen, and conntrack knows none of its connections.
Picked up in its middle, a connection's first packet says nothing about who began it; but policy asks for exactly that.
So before frames are shown, the sandboxes' sockets are asked (sock_diag(7)): the end whose port somebody listens on was
begun to; where nobody listens any more, the lower port was.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from ..errors import NetError, Unavailable
from ..model import Address
from . import wire
from .channel import Channel

NETLINK_SOCK_DIAG, BY_FAMILY = 4, 20
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 1, 4, 5, 8, 9, 10, 11
STATES = sum(1 << state for state in (ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING))
# a kernel or a machine without sock_diag for TCP
ABSENT = (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP)
End = tuple[Address, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """A TCP connection from `client` to `server`."""

    client: End
    server: End


@dataclass(frozen=True, slots=True)
class Sockets:
    """What one namespace has: ports that are listened on, and both ends of connections, the own first."""

    listened: frozenset[int]
    pairs: tuple[tuple[End, End], ...]


def look() -> Sockets:
    """The TCP sockets of the calling thread's namespace; none where the kernel does not tell. NetError."""
    listened, pairs = set[int](), list[tuple[End, End]]()
    with Channel(NETLINK_SOCK_DIAG, "look at sockets", "the sockets") as channel:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, STATES)
            payloads: list[bytes] = []
            with contextlib.suppress(Unavailable):
                payloads = channel.dump(BY_FAMILY, BY_FAMILY, request, _refused)
            for state, near, far in map(_socket, payloads):
                if state == LISTEN:
                    listened.add(near[1])
                else:
                    pairs.append((near, far))
    return Sockets(frozenset(listened), tuple(pairs))


def flows(places: Mapping[Address, Sockets]) -> list[Flow]:
    """The connections of `places`, each once, as the namespaces that have the addresses tell."""
    found: dict[frozenset[End], Flow] = {}
    for address, place in places.items():
        for near, far in place.pairs:
            if near[0] == address:
                found.setdefault(frozenset((near, far)), _directed(near, far, places))
    return list(found.values())


def _directed(near: End, far: End, places: Mapping[Address, Sockets]) -> Flow:
    for end, other in ((near, far), (far, near)):
        if end[0] in places and end[1] in places[end[0]].listened:
            return Flow(other, end)
    return Flow(far, near) if near[1] < far[1] else Flow(near, far)


def _refused(message: wire.Message) -> NetError:
    text = f"look at sockets: {errno.errorcode.get(message.error, message.error)}"
    return Unavailable(text) if message.error in ABSENT else NetError(text)


def _socket(payload: bytes) -> tuple[int, End, End]:
    """State and ends, from an inet_diag_msg."""
    family, state = payload[0], payload[1]
    near, far = struct.unpack_from("!HH", payload, 4)
    size = 4 if family == socket.AF_INET else 16
    return state, (_address(payload[8 : 8 + size]), near), (_address(payload[24 : 24 + size]), far)


def _address(data: bytes) -> Address:
    address = ip_address(data)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
