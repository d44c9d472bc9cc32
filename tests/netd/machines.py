"""What the kernel tests are made of: sandboxes to speak from, servers that answer, and an outside world."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TypeVar

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox

T = TypeVar("T")
OUTSIDE4, NODE4 = "192.0.2.2", "192.0.2.1"
OUTSIDE6, NODE6 = "2001:db8:1::2", "2001:db8:1::1"
TIMEOUT, SHORT = 3.0, 0.2


def within(where: str | Path | None, act: Callable[[], T]) -> T:
    """`act` in a sandbox, or here."""
    return act() if where is None else netns.inside(Path(where), act)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def serving(where: str | Path | None, port: int, host: str = "0.0.0.0", *, udp: bool = False) -> Iterator[list[str]]:
    """A server that answers each client with the client's address; yields the addresses it saw."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    server = within(where, lambda: socket.socket(_family(host), kind))
    seen: list[str] = []
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    if not udp:
        server.listen(16)
    thread = threading.Thread(target=_serve, args=(server, udp, seen), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown(socket.SHUT_RDWR) if not udp else _stop_udp(server, where, host, port)
        thread.join(5)
        server.close()


def _stop_udp(server: socket.socket, where: str | Path | None, host: str, port: int) -> None:
    with within(where, lambda: socket.socket(_family(host), socket.SOCK_DGRAM)) as last:
        last.sendto(b"stop", ("127.0.0.1" if host == "0.0.0.0" else host, port))


def _serve(server: socket.socket, udp: bool, seen: list[str]) -> None:
    while True:
        try:
            if udp:
                data, peer = server.recvfrom(100)
                if data == b"stop":
                    return
                seen.append(peer[0])
                server.sendto(peer[0].encode(), peer)
                continue
            client, peer = server.accept()
        except OSError:
            return
        seen.append(peer[0])
        with client:
            client.sendall(peer[0].encode())


def ask(
    where: str | Path | None, host: object, port: int, *, udp: bool = False, timeout: float = TIMEOUT
) -> str | None:
    """Connect from a sandbox (or here) and return the answer; None when it did not come."""
    text = str(host)
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with within(where, lambda: socket.socket(_family(text), kind)) as client:
        client.settimeout(timeout)
        try:
            client.connect((text, port))
            if udp:
                client.send(b"hello")
            return client.recv(100).decode() or None
        except OSError:
            return None


def ping(where: str | Path | None, host: object, *, timeout: float = TIMEOUT) -> bool:
    """One echo request (an unprivileged ICMP socket)."""
    text = str(host)
    family, proto = _family(text), socket.IPPROTO_ICMPV6 if ":" in text else socket.IPPROTO_ICMP
    with within(where, lambda: socket.socket(family, socket.SOCK_DGRAM, proto)) as client:
        client.settimeout(timeout)
        try:
            client.sendto((b"\x80" if ":" in text else b"\x08") + b"\0\0\0\0\0\0\1hello", (text, 0))
            return b"hello" in client.recv(200)
        except OSError:
            return False


def shut(where: str | Path | None, host: object, port: int) -> bool:
    """Whether nothing answers a connection."""
    return ask(where, host, port, timeout=SHORT) is None


def silent(where: str | Path | None, host: object) -> bool:
    """Whether nothing answers an echo request."""
    return not ping(where, host, timeout=SHORT)


@contextmanager
def outside(directory: Path, mtu: int = 1500) -> Iterator[Path]:
    """A namespace that is the rest of the world: one cable from here, over which our default routes lead.

    It has no route back into our networks, so that only what is translated gets an answer.
    """
    path = directory / "outside"
    netns.create(path, prepare_sandbox)
    with Netlink() as here, open(path) as target:
        here.do([netlink.new_veth("up0", "world0", peer_netns=target.fileno(), mtu=mtu)])
        index = socket.if_nametoindex("up0")
        here.do([netlink.add_address(index, ip_interface(f"{NODE4}/24"))])
        here.do([netlink.add_address(index, ip_interface(f"{NODE6}/64"))])

        def far() -> None:
            with Netlink() as there:
                there.do([netlink.set_link("world0", mtu=mtu)])
                far_index = socket.if_nametoindex("world0")
                there.do([netlink.add_address(far_index, ip_interface(f"{OUTSIDE4}/24"))])
                there.do([netlink.add_address(far_index, ip_interface(f"{OUTSIDE6}/64"))])

        netns.inside(path, far)
        here.do([netlink.add_default(index, ip_address(OUTSIDE4)), netlink.add_default(index, ip_address(OUTSIDE6))])
        try:
            yield path
        finally:
            here.do([netlink.delete_link("up0")], missing_ok=True)
            netns.remove(path)


def route_back(world: Path, subnet: object, via: str = NODE4) -> None:
    """Give the outside a route into one of our networks, as a neighbour who knows it might have."""
    wanted = ip_network(str(subnet))

    def add() -> None:
        with Netlink() as there:
            request = netlink.add_default(socket.if_nametoindex("world0"), ip_address(via))
            request.message["dst_len"] = wanted.prefixlen
            request.message["attrs"] = [("RTA_DST", str(wanted.network_address)), *request.message["attrs"]]
            there.do([request])

    netns.inside(world, add)


def send_frame(where: str, ifname: str, to: str, payload: bytes, sender: str = "02:00:00:00:00:fe") -> None:
    """Put a frame on a sandbox's interface as a program with its own network stack would; MACs of both."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((ifname, 0))
            raw.send(bytes.fromhex(f"{to}{sender}".replace(":", "")) + b"\x08\0" + payload)

    within(where, send)


def udp4(source: str, target: str, port: int, data: bytes) -> bytes:
    """An IPv4 UDP packet (RFC 791, RFC 768), UDP checksum left out."""
    udp = struct.pack("!HHHH", 40000, port, 8 + len(data), 0) + data
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *map(socket.inet_aton, (source, target))
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + udp
