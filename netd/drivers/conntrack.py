"""Forget UDP connections of a published port: they outlive what they lead to.

conntrack keeps a UDP "connection" as long as packets come, with the translation it began with: a client that goes on
sending would never reach a new container, nor one published after its first packet (moby#11998, plugins#123). So when a
UDP port's element comes or goes, the entries with that original destination port are deleted. Messages:
include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

import socket
import struct

from ..errors import NetError
from . import wire

NETLINK_NETFILTER = 12
GET, DELETE = (1 << 8) | 1, (1 << 8) | 2
NEW = 1 << 8
ACK = 0x4
TUPLE_ORIG, TUPLE_PROTO, PROTO_DPORT, PROTO_NUM, ID = 1, 2, 3, 1, 12
UDP = 17
NLA_NESTED = 0x8000


class Conntrack:
    """One ctnetlink socket, of the namespace of the thread that makes it; blocking."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._sock.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._sock.close()

    def forget_udp(self, port: int) -> int:
        """Delete every UDP entry whose original destination port is `port`; returns how many."""
        count = 0
        for family in (socket.AF_INET, socket.AF_INET6):
            for attrs in self._entries(family):
                proto = wire.attributes(wire.attributes(attrs[TUPLE_ORIG]).get(TUPLE_PROTO, b""))
                if proto.get(PROTO_NUM) == bytes([UDP]) and proto.get(PROTO_DPORT) == port.to_bytes(2, "big"):
                    body = _attribute(TUPLE_ORIG | NLA_NESTED, attrs[TUPLE_ORIG]) + _attribute(ID, attrs[ID])
                    self._send(DELETE, wire.REQUEST | ACK, family, body)
                    count += self._answer()
        return count

    def _entries(self, family: int) -> list[dict[int, bytes]]:
        self._send(GET, wire.REQUEST | wire.DUMP, family, b"")
        found: list[dict[int, bytes]] = []
        while True:
            for message in wire.messages(self._receive()):
                if message.sequence != self._sequence:
                    continue
                if message.kind in (wire.DONE, wire.ERROR):
                    return found
                if message.kind == NEW:
                    found.append(wire.attributes(message.payload, 4))

    def _answer(self) -> bool:
        while True:
            for message in wire.messages(self._receive()):
                if message.sequence == self._sequence and message.kind == wire.ERROR:
                    return message.error == 0  # one that ended by itself is no failure

    def _send(self, kind: int, flags: int, family: int, body: bytes) -> None:
        self._sequence += 1
        payload = struct.pack("=BBH", family, 0, 0) + body
        self._sock.send(wire.HEADER.pack(16 + len(payload), kind, flags, self._sequence, 0) + payload)

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(1 << 16)
        except OSError as error:
            raise NetError(f"conntrack: {error.strerror}") from error


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
