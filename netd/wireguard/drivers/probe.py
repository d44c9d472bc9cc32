"""Which WireGuard this machine has, found by making a link in a namespace that is thrown away."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ...drivers import netns
from ...drivers.netlink import Netlink, has_ipv6
from ...errors import Denied, NetError
from .kernel import new_wireguard

TUN = Path("/dev/net/tun")


class Flavour(StrEnum):
    """Who encrypts."""

    KERNEL = "kernel"
    USERSPACE = "userspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is; `reason`, one line, when there is none."""

    flavour: Flavour | None
    reason: str | None = None


def probe() -> Found:
    """The kernel's WireGuard where it has it, else wireguard-go's, else why there is none. Blocks; leaves nothing."""
    if not has_ipv6():
        return Found(flavour=None, reason="WireGuard's addresses are IPv6, which this kernel has not; use one that has")
    try:
        if in_kernel():
            return Found(flavour=Flavour.KERNEL)
    except Denied:
        return Found(flavour=None, reason="WireGuard cannot be looked for without the rights; run as root")
    if shutil.which("wireguard-go") is None:
        text = "the kernel has no WireGuard and wireguard-go is not installed; install wireguard-go"
        return Found(flavour=None, reason=text)
    if reason := _tun():
        text = f"the kernel has no WireGuard, and wireguard-go needs {TUN}: {reason}; load the module tun"
        return Found(flavour=None, reason=text)
    return Found(flavour=Flavour.USERSPACE)


def in_kernel() -> bool:
    """Whether the kernel makes WireGuard links, by the calling thread, which must not be the event loop's. Denied."""

    def make() -> None:
        with Netlink() as inner:
            inner.do([new_wireguard("probe")])

    with tempfile.TemporaryDirectory(prefix="hawser-probe-") as base:
        path = Path(base) / "netns"
        try:
            netns.create_here(path, make)
        except Denied:
            raise
        except NetError:
            return False
        netns.remove(path)
        return True


def _tun() -> str | None:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror
    return None
