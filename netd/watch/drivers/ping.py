"""A full mesh of ICMP echo from within namespaces, from one loop.

Every source has a raw socket a version, made inside its namespace; a socket stays where it was made. In step s of a
round source i asks target i + s, so that nobody is asked by all at once, and answers are taken between any two
requests, so that times are those of the network and not of the queue in front of this loop. Rounds begin `interval`
apart; the end is `timeout` after the last request, whatever comes. It blocks and enters namespaces: never on the event
loop's thread.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from ...drivers import netns
from ...errors import Denied, Invalid, NetError
from ...model import Address
from ..echo import REPLY, answer, request
from ..matrix import Sample

MOST = 1 << 16  # requests of one run
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
UNREACHABLE = (
    *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENOBUFS, errno.EPERM, errno.EACCES),
    *(errno.EADDRNOTAVAIL, errno.EINVAL, errno.ECONNREFUSED, errno.EHOSTDOWN),
)
Post = tuple[int, int]  # number of the source, version


def probe(
    paths: Mapping[str, Path],
    targets: Mapping[str, Address],
    *,
    count: int = 3,
    interval: float = 0.2,
    timeout: float = 1.0,
) -> list[Sample]:
    """Ask every target from every namespace (None of itself: a target of the source's name) `count` times.

    `interval` and `timeout` in seconds; an answer later than `timeout` after its request is a loss, and so is a request
    that cannot be sent. Samples by source, then target, in the order given. Invalid, Denied, NetError for a namespace
    that is not there.
    """
    _check(len(paths) * len(targets) * count, count, interval, timeout)
    with ExitStack() as stack:
        posts: dict[Post, socket.socket] = {}
        for number, path in enumerate(paths.values()):
            for version in sorted({address.version for address in targets.values()}):
                posts[number, version] = stack.enter_context(netns.inside_here(path, _opener(version)))
        run = _Run(list(paths), list(targets), list(targets.values()), posts, count, timeout)
        run.go(interval)
        return run.samples()


def _check(requests: int, count: int, interval: float, timeout: float) -> None:
    if count < 1 or interval < 0 or not 0 < timeout <= 60 or interval > 60:
        raise Invalid(f"ping {count} times, {interval} s apart, {timeout} s each: give 1 or more, 0-60 s, up to 60 s")
    if requests > MOST:
        raise Invalid(f"ping of {requests} requests: at most {MOST} at once; ask fewer pairs or fewer times")


def _opener(version: int) -> Callable[[], socket.socket]:
    def make() -> socket.socket:
        family, proto = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        try:
            sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, proto)
        except PermissionError as error:
            raise Denied(f"ping: {error.strerror}; run as root") from error
        except OSError as error:
            raise NetError(f"ping over IPv{version}: {error.strerror}") from error
        if version == 4:
            sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << REPLY[4]) & 0xFFFFFFFF))
        else:
            blocked = bytearray(b"\xff" * 32)  # icmp6_filter: 8 words of 32 types
            struct.pack_into("=I", blocked, REPLY[6] // 32 * 4, ~(1 << REPLY[6] % 32) & 0xFFFFFFFF)
            sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, blocked)
        return sock

    return make


class _Run:
    """The requests under way; times in nanoseconds of the monotonic clock."""

    def __init__(
        self,
        sources: list[str],
        names: list[str],
        addresses: list[Address],
        posts: dict[Post, socket.socket],
        count: int,
        timeout: float,
    ) -> None:
        self._sources, self._names, self._addresses, self._posts = sources, names, addresses, posts
        self._count, self._timeout = count, int(timeout * 1e9)
        self._mark = os.urandom(8)
        self._sent: dict[tuple[int, int, int], int] = {}
        self._times: dict[tuple[int, int, int], float] = {}
        self._by_descriptor = {sock.fileno(): post for post, sock in posts.items()}

    def go(self, interval: float) -> None:
        """Every round, then what is still under way."""
        with select.epoll() as self._epoll:
            for descriptor in self._by_descriptor:
                self._epoll.register(descriptor, select.EPOLLIN)
            begin = time.monotonic_ns()
            for number in range(self._count):
                self._wait(begin + int(number * interval * 1e9))
                self._round(number)
            self._wait(time.monotonic_ns() + self._timeout, until_all=True)

    def samples(self) -> list[Sample]:
        """What was found."""
        return [
            Sample(
                source=name,
                target=other,
                times=tuple(self._times.get((source, target, number)) for number in range(self._count)),
            )
            for source, name in enumerate(self._sources)
            for target, other in enumerate(self._names)
            if name != other
        ]

    def _round(self, number: int) -> None:
        for step in range(len(self._names)):
            for source, name in enumerate(self._sources):
                target = (source + step) % len(self._names)
                if self._names[target] != name:
                    self._send(source, target, number)
                    self._collect(0)

    def _send(self, source: int, target: int, number: int) -> None:
        address = self._addresses[target]
        packet = request(address.version, self._mark, target, number)
        for _ in range(3):
            self._sent[source, target, number] = time.monotonic_ns()
            try:
                self._posts[source, address.version].sendto(packet, (str(address), 0))
            except BlockingIOError:
                self._collect(0.01)
                continue
            except OSError as error:
                if error.errno not in UNREACHABLE:
                    raise NetError(f"ping {address} from {self._sources[source]}: {error.strerror}") from error
            else:
                return
            break
        del self._sent[source, target, number]

    def _wait(self, deadline: int, *, until_all: bool = False) -> None:
        while (left := deadline - time.monotonic_ns()) > 0 and not (until_all and len(self._times) == len(self._sent)):
            self._collect(left / 1e9)

    def _collect(self, wait: float) -> None:
        for descriptor, _ in self._epoll.poll(wait, 64):
            source, version = post = self._by_descriptor[descriptor]
            while True:
                try:
                    packet, peer = self._posts[post].recvfrom(2048)
                except BlockingIOError:
                    break
                except OSError:  # an ICMP error about a request
                    continue
                found = answer(version, packet, self._mark)
                if found is not None:
                    self._note(source, *found, peer[0].partition("%")[0])

    def _note(self, source: int, target: int, number: int, peer: str) -> None:
        now, asked = time.monotonic_ns(), self._sent.get((source, target, number))
        known = asked is not None and str(self._addresses[target]).partition("%")[0] == peer
        if asked is not None and known and now - asked <= self._timeout:
            self._times.setdefault((source, target, number), (now - asked) / 1e9)
