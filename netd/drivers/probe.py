"""Whether a host port is free, or an address the host's own: by taking it for a moment."""

import errno
import socket

from ..errors import Conflict, Denied, Invalid, NetError
from ..model import Address, Publish


def probe(host: str, publish: Publish) -> None:
    """Conflict when a process of the host listens on the port; Invalid when the address is not the host's."""
    kind = socket.SOCK_STREAM if publish.proto == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if ":" in host:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if publish.proto == "tcp":  # what only waits out TIME_WAIT has no listener
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, publish.host_port))
        except OSError as error:
            raise _not_free(publish, error) from error


def has(address: Address) -> bool:
    """Whether an address is this host's own."""
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def _not_free(publish: Publish, error: OSError) -> NetError:
    text = f"cannot publish {publish}: {error.strerror}"
    if error.errno == errno.EADDRNOTAVAIL:
        return Invalid(f"{text}: {publish.host_ip} is no address of this host")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Denied(f"{text}; run as root")
    return Conflict(f"{text}; a process of this host has the port, choose another")
