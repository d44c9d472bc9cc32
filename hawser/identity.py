"""Who this machine is, and that only one node has its directories."""

import fcntl
import os
import secrets
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TextIO

from .faults import Fault


def machine_id(data: Path) -> str:
    """32 hexadecimal digits, made once and kept in the data directory (the form of machine-id(5))."""
    path = data / "machine-id"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = ""
    if len(text) == 32 and all(c in "0123456789abcdef" for c in text):
        return text
    fresh = secrets.token_hex(16)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".new")
    with part.open("w") as stream:
        stream.write(f"{fresh}\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)
    return fresh


def hold(run: Path, option: str = "--run") -> TextIO:
    """Hold a directory until the file is closed; `option` chooses another. Fault (conflict) when another node has
    it."""
    try:
        if not run.is_dir():
            run.mkdir(parents=True)
            # others may pass to the socket and be told that they may not; a directory that was there keeps its mode
            run.chmod(0o711)
        lock = (run / "lock").open("a+")
    except OSError as error:
        raise Fault(f"directory {run}: {error.strerror}; choose another with {option}", "unavailable") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise Fault(
            f"{run} is in use by node process {holder}; stop it or choose another with {option}", "conflict"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _source(far: IPv4Address | IPv6Address, port: int) -> IPv4Address | IPv6Address | None:
    """The address this machine sends from to another; None when there is no way there."""
    with socket.socket(socket.AF_INET if far.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            # connecting a datagram socket sends nothing; it only chooses the source (ip(7))
            probe.connect((str(far), port))
        except OSError:
            return None
        return ip_address(probe.getsockname()[0])


def address_towards(host: str, port: int) -> IPv4Address | IPv6Address | None:
    """The address this machine has towards another; None when that is no address, or this machine itself."""
    try:
        far = ip_address(host)
    except ValueError:
        return None
    found = _source(far, port)
    return None if found is None or found.is_loopback or found == far else found


def own_addresses() -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses this machine has towards the default route, IPv4 first; 127.0.0.1 without one."""
    found = (_source(ip_address(far), 9) for far in ("198.51.100.255", "2001:db8:ffff::1"))
    return tuple(address for address in found if address) or (ip_address("127.0.0.1"),)
