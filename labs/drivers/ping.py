"""ICMP echo between all pairs of hosts from one loop.

Each host has one raw socket, opened inside its namespace by the helper thread; a socket stays where it was made. The
pings go round-robin: in round r host i pings host i + r, so nobody's queue ever holds more than a few answers, and
answers are collected after every round. The first round goes host by host, since the bridges flood until they have
learnt. The kernel's neighbour table is one for the whole machine and holds 1,024 entries (gc_thresh3, arp(7)), which
all pairs of a few dozen hosts exceed: from MANY hosts on, neighbours are permanent entries while the pings run, as
with Mininet's `--arp`; those do not count against the limit.
"""

import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from hawser.netd.drivers import netns

from ..errors import LabError
from ..model import End, Host
from ..render import FIRST_PORT
from .home import Home
from .rtnl import Batch, Rtnl

MANY = 20
ECHO, ECHO_REPLY = 8, 0
SOL_RAW, ICMP_FILTER = 255, 1  # linux/socket.h, raw(7)
SIOCGIFHWADDR = 0x8927
DATA = b"hawser pingall"


def pingall(home: Home, hosts: Sequence[Host], timeout: float) -> set[tuple[int, int]]:
    """Ping every ordered pair once; the pairs (indexes) unanswered `timeout` seconds after the last was sent."""
    with ExitStack() as stack:
        posts = [netns.inside(home.space(host.name), _post(host)) for host in _checked(hosts)]
        for post in posts:
            stack.callback(post.close)
        if len(hosts) >= MANY:
            stack.callback(_introduce(home, hosts, posts))
        return _Round(hosts, posts).run(timeout)


def _checked(hosts: Sequence[Host]) -> Sequence[Host]:
    if len(hosts) > 1 << 16:
        raise LabError(f"pingall of {len(hosts)} hosts: an echo request numbers 65536")
    return hosts


class _Post:
    """One host's socket and MAC."""

    def __init__(self, sock: socket.socket, mac: bytes) -> None:
        self.sock = sock
        self.mac = mac
        self.close = sock.close


def _post(host: Host) -> Callable[[], _Post]:
    def make() -> _Post:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF))
        try:
            answer = fcntl.ioctl(sock, SIOCGIFHWADDR, struct.pack("40s", End(host.name, 0).interface.encode()))
        except OSError:
            return _Post(sock, b"")
        return _Post(sock, answer[18:24])

    return make


def _introduce(home: Home, hosts: Sequence[Host], posts: Sequence[_Post]) -> Callable[[], None]:
    """Give every host permanent neighbours; the returned call takes back those that were added."""
    known = [(host, post.mac) for host, post in zip(hosts, posts, strict=True) if post.mac]
    add, drop = Batch(), Batch()
    for host, mac in known:
        add.neighbour(FIRST_PORT, host.address.ip, mac)
        drop.forget(FIRST_PORT, host.address.ip)
    width, narrow = len(add.data()) // max(len(known), 1), len(drop.data()) // max(len(known), 1)
    adding, dropping = add.data(), drop.data()
    added: list[tuple[Host, set[int]]] = []
    for number, (host, _) in enumerate(known):
        data = adding[: number * width] + adding[(number + 1) * width :]
        refused = netns.inside(home.space(host.name), partial(_tell, data))
        added.append((host, refused | {number}))

    def take_back() -> None:
        for host, skip in added:
            parts = (dropping[i * narrow : (i + 1) * narrow] for i in range(len(known)) if i not in skip)
            netns.inside(home.space(host.name), partial(_tell, b"".join(parts)))

    return take_back


def _tell(data: bytes) -> set[int]:
    with Rtnl() as rtnl:
        return rtnl.tell(data)


class _Round:
    """The pings under way."""

    def __init__(self, hosts: Sequence[Host], posts: Sequence[_Post]) -> None:
        self._socks = [post.sock for post in posts]
        self._targets = [(str(host.address.ip), 0) for host in hosts]
        self._mark = int.from_bytes(os.urandom(2), "big")
        self._requests = [_request(self._mark, number) for number in range(len(hosts))]
        self._sources = [host.address.ip.packed for host in hosts]
        self._open = [bytearray(b"\1") * len(hosts) for _ in hosts]
        self._missing = len(hosts) * (len(hosts) - 1)
        self._epoll = select.epoll()
        self._index = {sock.fileno(): number for number, sock in enumerate(self._socks)}
        for sock in self._socks:
            self._epoll.register(sock, select.EPOLLIN)

    def run(self, timeout: float) -> set[tuple[int, int]]:
        count = len(self._socks)
        try:
            for step in range(1, count):
                for number in range(count):
                    self._send(number, (number + step) % count)
                    if step == 1:
                        self._collect(0)
                self._collect(0)
            deadline = time.monotonic() + timeout
            while self._missing and (left := deadline - time.monotonic()) > 0:
                self._collect(left)
        finally:
            self._epoll.close()
        return {(a, b) for a in range(count) for b in range(count) if a != b and self._open[a][b]}

    def _send(self, source: int, target: int) -> None:
        for _ in range(3):
            try:
                self._socks[source].sendto(self._requests[target], self._targets[target])
            except BlockingIOError:
                self._collect(0.01)
            except OSError as error:
                if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENOBUFS):
                    raise LabError(f"ping from {self._targets[source][0]}: {error.strerror}") from error
                return
            else:
                return

    def _collect(self, wait: float) -> None:
        for descriptor, _ in self._epoll.poll(wait, len(self._socks)):
            number = self._index[descriptor]
            sock, unanswered = self._socks[number], self._open[number]
            while True:
                try:
                    packet = sock.recv(256)
                except BlockingIOError:
                    break
                self._note(packet, unanswered)

    def _note(self, packet: bytes, unanswered: bytearray) -> None:
        start = (packet[0] & 15) * 4
        mark, target = struct.unpack_from("!HH", packet, start + 4)
        known = mark == self._mark and target < len(unanswered) and packet[12:16] == self._sources[target]
        if known and unanswered[target]:
            unanswered[target] = 0
            self._missing -= 1


def _request(mark: int, number: int) -> bytes:
    """An echo request with its checksum (RFC 792, RFC 1071)."""
    body = struct.pack("!BBHHH", ECHO, 0, 0, mark, number) + DATA
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    total += total >> 16
    return body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
