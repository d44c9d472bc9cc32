"""Clients of the demo: sockets made inside a namespace stay there, so one process can be everywhere at once."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hawser.netd.drivers import netns

TIMEOUT = 1.0
KINDS = {"A": 1, "AAAA": 28, "SRV": 33}


def within(namespace: Path | None, kind: socket.SocketKind, family: socket.AddressFamily) -> socket.socket:
    """A socket of a namespace (None: the caller's own)."""

    def make() -> socket.socket:
        sock = socket.socket(family, kind)
        sock.settimeout(TIMEOUT)
        return sock

    return netns.inside(namespace, make) if namespace else make()


def http(namespace: Path | None, address: str, port: int) -> str | None:
    """The body of `GET /`, or None when nobody answers."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with within(namespace, socket.SOCK_STREAM, family) as sock:
        try:
            sock.connect((address, port))
            sock.sendall(b"GET / HTTP/1.0\r\nHost: demo\r\n\r\n")
            answer = b""
            while block := sock.recv(4096):
                answer += block
        except OSError:
            return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode() if b" 200 " in head.split(b"\r\n")[0] + b" " else None


def reaches(namespace: Path | None, address: str, port: int) -> bool:
    """Whether a TCP connection can be made."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with within(namespace, socket.SOCK_STREAM, family) as sock:
        try:
            sock.connect((address, port))
        except OSError:
            return False
    return True


def resolve(namespace: Path, server: str, name: str, kind: str = "A") -> tuple[int, int]:
    """Ask a DNS server for records (RFC 1035): response code and number of answers; -1 when it is silent."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
    number = os.getpid() & 0xFFFF
    query = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", KINDS[kind], 1)
    with within(namespace, socket.SOCK_DGRAM, socket.AF_INET) as sock:
        try:
            sock.connect((server, 53))
            sock.send(query)
            answer = sock.recv(1500)
        except OSError:
            return -1, 0
    _, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    return flags & 15, answers


def until(condition: Callable[[], object], timeout: float) -> bool:
    """Poll a condition; False when it has not come about after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def seen_as(inside: Path, outside: Path, address: str, port: int = 7000) -> str | None:
    """Whom a server at `address` of the namespace `outside` sees when a client in `inside` connects; None: nobody."""
    with within(outside, socket.SOCK_STREAM, socket.AF_INET) as server:
        server.bind((address, port))
        server.listen()
        if not reaches(inside, address, port):
            return None
        connection, peer = server.accept()
        connection.close()
        return str(peer[0])


class Requests:
    """Requests in a row from a thread, until stopped."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._sent = self._lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        until(lambda: self._sent > 3, 5)

    def _go(self) -> None:
        while not self._stop.is_set():
            self._lost += not self._ask()
            self._sent += 1
            self._stop.wait(0.01)

    def stop(self) -> tuple[int, int]:
        """How many were sent and lost."""
        self._stop.set()
        self._thread.join()
        return self._sent, self._lost
