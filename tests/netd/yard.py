"""A tenant's namespace with one bridge and some ports, for tests of what is done to ports."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from hawser.labs.drivers.rtnl import settle
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.place import Place
from hawser.netd.drivers.tune import prepare_sandbox, prepare_tenant
from hawser.netd.watch.drivers import counters
from tests.wait import until

PORT = 5201


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """Sandboxes `c1`… at 10.9.0.1… and fd09::1…, their host ends `h1`… on the bridge of `tenant`."""

    tenant: Path
    sandboxes: tuple[Path, ...]
    place: Place

    def sandbox(self, number: int) -> Path:
        return self.sandboxes[number - 1]

    def transfer(self, source: int, target: int, seconds: float = 0.8, warm: float = 0.4) -> float:
        """Bit/s of a TCP stream from one sandbox to another as its frames arrive, measured after `warm` seconds."""
        server = netns.inside_here(self.sandbox(target), lambda: socket.create_server(("", PORT)))
        client = netns.inside_here(self.sandbox(source), lambda: socket.socket(socket.AF_INET))
        with server, client:
            client.settimeout(5)
            client.connect((f"10.9.0.{target}", PORT))
            taker, _ = server.accept()
            with taker, _streaming(client, taker):
                time.sleep(warm)
                first, begin = self.received(target), time.monotonic()
                time.sleep(seconds)
                return (self.received(target) - first) * 8 / (time.monotonic() - begin)

    def received(self, number: int) -> int:
        """Bytes that a sandbox's interface was given so far."""
        read = netns.inside_here(self.tenant, lambda: counters.read([f"h{number}"]))
        return read[f"h{number}"].receive_bytes


@contextmanager
def _streaming(client: socket.socket, taker: socket.socket) -> Iterator[None]:
    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                client.send(bytes(1 << 16))

    def take() -> None:
        with contextlib.suppress(OSError):
            while taker.recv(1 << 18):
                pass

    threads = [threading.Thread(target=act, daemon=True) for act in (send, take)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for sock in (client, taker):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


@contextmanager
def yard(directory: Path, ports: int = 3) -> Iterator[Yard]:
    """Made and taken down again."""
    tenant = directory / "tenant"
    sandboxes = tuple(directory / f"c{number}" for number in range(1, ports + 1))
    netns.create_here(tenant, prepare_tenant)
    for path in sandboxes:
        netns.create_here(path, prepare_sandbox)
    place = Place(tenant)
    try:
        place.netlink.do([netlink.new_bridge("br0")])
        link = place.netlink.link("br0")
        assert link is not None
        for number, path in enumerate(sandboxes, 1):
            with path.open() as target:
                pair = netlink.new_veth(f"h{number}", "eth0", peer_netns=target.fileno(), master=link.index)
                place.netlink.do([pair])
            netns.inside_here(path, lambda n=number: _address(n))  # type: ignore[misc]
        ends = [f"h{number}" for number in range(1, ports + 1)]
        until(lambda: place.inside(lambda: settle([*ends, "br0"])) == [], what="links")
        yield Yard(tenant=tenant, sandboxes=sandboxes, place=place)
    finally:
        place.close()
        for path in (*sandboxes, tenant):
            netns.remove(path)


def _address(number: int) -> None:
    with Netlink() as inner:
        inner.do([netlink.set_link("eth0", mac=f"02:00:00:00:00:{number:02x}")])
        index = socket.if_nametoindex("eth0")
        inner.do([netlink.add_address(index, ip_interface(f"10.9.0.{number}/24"))])
        inner.do([netlink.add_address(index, ip_interface(f"fd09::{number}/64"))])
    settle(["eth0"])


def sniffer(path: Path, ifname: str) -> socket.socket:
    """A socket that sees every frame of a link, one that waits 2 s for the next."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((ifname, 3))
        sock.settimeout(2)
        return sock

    return netns.inside_here(path, make)


def frames(sock: socket.socket, needle: bytes, wait: float = 2.0) -> list[bytes]:
    """Frames with `needle` in them, until one came or `wait` seconds are over."""
    end = time.monotonic() + wait
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            frame = sock.recv(1 << 16)
        except TimeoutError:
            break
        if needle in frame:
            return [frame]
    return []


def say(path: Path, target: str, data: bytes) -> None:
    """One UDP packet to nobody's port."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with netns.inside_here(path, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.sendto(data, (target, 9))


def dscp(frame: bytes) -> int:
    """Of an Ethernet frame with IPv4 or IPv6 (RFC 2474)."""
    if frame[12:14] == b"\x08\x00":
        return frame[15] >> 2
    word: int = struct.unpack_from("!H", frame, 14)[0]
    return (word >> 6) & 63
