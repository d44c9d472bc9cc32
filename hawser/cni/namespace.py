"""A container's network namespace, looked at: what it is (stat, NS_GET_NSTYPE in ioctl_ns(2)) and what an interface in
it has. To look inside, the process moves there for good (setns(2)), so that is the last thing it does; the kernel's old
interfaces (netdevice(7), proc(5)) say enough, and importing a netlink library would take longer than the whole call.
"""

import os
import socket
import struct
from fcntl import ioctl

from . import errors
from .errors import Failure
from .verbs import Seen

OWN = "/proc/self/ns/net"
ROUTES, ROUTES6, ADDRESSES6 = ("/proc/thread-self/net/" + name for name in ("route", "ipv6_route", "if_inet6"))
CLONE_NEWNET, NS_GET_NSTYPE = 0x40000000, 0xB703
SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFHWADDR = 0x8912, 0x8913, 0x8927
UP, ENTRY, MOST = 0x1, 40, 1024


def check(path: str) -> None:
    """Failure unless a container's network namespace is at the path."""
    try:
        there, own = os.stat(path), os.stat(OWN)
    except OSError as error:
        raise Failure(errors.UNKNOWN, f"CNI_NETNS {path}: {error.strerror}; the container is gone") from None
    if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
        raise Failure(errors.ENVIRONMENT, f"CNI_NETNS {path} is this machine's own; give a container's")
    if not _is_network(path):
        raise Failure(errors.ENVIRONMENT, f"CNI_NETNS {path} is no network namespace; give one's path")


def _is_network(path: str) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return ioctl(file, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False
    finally:
        os.close(file)


def look(path: str, ifname: str) -> Seen | None:
    """An interface there; None when there is none. Moves this process into the namespace."""
    _enter(path)
    name = ifname.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            flags = ioctl(sock, SIOCGIFFLAGS, struct.pack("16s24x", name))
            hardware = ioctl(sock, SIOCGIFHWADDR, struct.pack("16s24x", name))
        except OSError:
            return None
        addresses = _addresses(sock, name) | _addresses6(ifname)
    up = bool(struct.unpack_from("16xH", flags)[0] & UP)
    return Seen(up, hardware[18:24].hex(":"), addresses, _gateways(ifname) | _gateways6(ifname))


def _enter(path: str) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(file)


def _addresses(sock: socket.socket, name: bytes) -> frozenset[str]:
    import ctypes

    room = ctypes.create_string_buffer(ENTRY * MOST)
    answer = ioctl(sock, SIOCGIFCONF, struct.pack("i4xP", len(room), ctypes.addressof(room)))
    entries = room.raw[: struct.unpack_from("i", answer)[0]]
    found = (entries[at : at + ENTRY] for at in range(0, len(entries), ENTRY))
    return frozenset(socket.inet_ntoa(one[20:24]) for one in found if one[:16].rstrip(b"\0").split(b":")[0] == name)


def _rows(path: str) -> list[list[str]]:
    """A table of /proc; nothing where the kernel has no IPv6."""
    try:
        with open(path) as file:
            return [line.split() for line in file]
    except FileNotFoundError:
        return []


def _six(text: str) -> str:
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(text))


def _addresses6(ifname: str) -> frozenset[str]:
    return frozenset(_six(row[0]) for row in _rows(ADDRESSES6) if row[5] == ifname)


def _gateways(ifname: str) -> frozenset[str]:
    """Gateways of default routes; numbers are in the machine's order of bytes."""
    rows = [row for row in _rows(ROUTES)[1:] if row[0] == ifname and row[1] == row[7] == "00000000"]
    return frozenset(socket.inet_ntoa(struct.pack("=I", int(row[2], 16))) for row in rows)


def _gateways6(ifname: str) -> frozenset[str]:
    rows = [row for row in _rows(ROUTES6) if row[9] == ifname and row[1] == "00"]
    return frozenset(_six(row[4]) for row in rows if int(row[4], 16))
