"""One packet from within a sandbox, and what comes back: an echo request, a SYN, a datagram.

Made and bound first, so that who wants to see it go by knows what to look for. Whoever listens at the target sees a
connection that is closed at once, or a datagram.
"""

import errno
import os
import select
import socket
import struct
import time
from pathlib import Path

from ...drivers import netns
from ...errors import Denied, Invalid, NetError
from ...model import Address
from ..echo import answer, request
from ..trace import ICMP, Flow

PAYLOAD = b"hawser net trace"
CLOSED = (errno.ECONNREFUSED, errno.ECONNRESET)
LINGER = struct.pack("ii", 1, 0)


class Shot:
    """Use as a context. `flow` is what to look for."""

    def __init__(self, space: Path, source: Address, target: Address, proto: str, port: int) -> None:
        """NetError, Invalid when the sandbox does not have the source's address."""
        self._mark = os.urandom(8)
        self._sock = netns.inside_here(space, lambda: _socket(source, proto))
        ident = int.from_bytes(self._mark[:2], "big") if proto in ICMP.values() else self._sock.getsockname()[1]
        self.flow = Flow(source=source, target=target, proto=proto, port=port, ident=ident)

    def __enter__(self) -> "Shot":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def fire(self, timeout: float) -> tuple[bool, str, float]:
        """Send it; whether anything came back within `timeout` seconds, what, and after how many seconds."""
        began = time.monotonic()
        try:
            heard, words = self._fire(began + timeout)
        except OSError as error:
            heard, words = error.errno in CLOSED, _words(error, self.flow)
        return heard, words, time.monotonic() - began

    def _fire(self, deadline: float) -> tuple[bool, str]:
        flow = self.flow
        if flow.proto == "tcp":
            if (code := self._sock.connect_ex((str(flow.target), flow.port))) not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            if not self._ready(select.POLLOUT, deadline):
                return False, "no answer"
            if code := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            return True, f"the connection was accepted at port {flow.port}"
        if flow.proto == "udp":
            self._sock.connect((str(flow.target), flow.port))
            self._sock.send(PAYLOAD)
            if not self._ready(select.POLLIN, deadline):
                return False, "no answer; of UDP only a program answers, or the system that nobody listens"
            self._sock.recv(1 << 16)
            return True, f"a datagram came back from port {flow.port}"
        self._sock.sendto(request(flow.source.version, self._mark, 0, 0), (str(flow.target), 0))
        while self._ready(select.POLLIN, deadline):
            packet, peer = self._sock.recvfrom(1 << 16)
            if answer(flow.source.version, packet, self._mark) and peer[0].partition("%")[0] == str(flow.target):
                return True, "the echo was answered"
        return False, "no answer"

    def _ready(self, events: int, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, events)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _words(error: OSError, flow: Flow) -> str:
    if error.errno in CLOSED:
        return f"nobody listens at {flow.proto} port {flow.port}, says the target"
    if error.errno == errno.EHOSTUNREACH:
        return f"{flow.target} is not there: nobody answers for it, or a router says so"
    return f"not sent, or refused: {error.strerror}"


def _socket(source: Address, proto: str) -> socket.socket:
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    kinds = {
        "tcp": (socket.SOCK_STREAM, 0),
        "udp": (socket.SOCK_DGRAM, 0),
        "icmp": (socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "icmpv6": (socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    }
    kind, number = kinds[proto]
    try:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, number)
    except PermissionError as error:
        raise Denied(f"trace: {error.strerror}; run as root") from error
    except OSError as error:
        raise NetError(f"trace by {proto}: {error.strerror}") from error
    try:
        sock.bind((str(source), 0))
    except OSError as error:
        sock.close()
        raise Invalid(f"trace from {source}: {error.strerror}; the sandbox does not have that address") from error
    return sock
