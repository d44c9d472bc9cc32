"""Carries a plan out, and watches the kernel take it down.

One helper thread (netd's) enters the namespaces; each host costs one namespace, one bind mount and one batch. The
fabric's socket is opened inside it once and serves from any thread.
"""

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from hawser.netd.drivers import netns

from ..errors import LabError
from ..model import End
from ..render import Plan, Space
from .home import FABRIC, Home
from .rtnl import Batch, Rtnl, settle

SIOCGIFINDEX = 0x8933  # netdevice(7)
QUIET = ("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables", "bridge/bridge-nf-call-arptables")


def build(home: Home, plan: Plan) -> None:
    """Make everything of the plan; raises at the first refusal and leaves the rest to `down`."""
    netns.create(home.space(FABRIC), _fabric(plan))
    descriptor = os.open(home.space(FABRIC), os.O_RDONLY | os.O_CLOEXEC)
    try:
        for space in plan.spaces:
            netns.create(home.space(space.host), _host(space, descriptor))
    finally:
        os.close(descriptor)
    netns.inside(home.space(FABRIC), lambda: _patch(plan))


def _fabric(plan: Plan) -> Callable[[], None]:
    def setup() -> None:
        # Switches forward frames and speak to nobody: no addresses of their own, no firewall of the machine's kind.
        for scope in ("all", "default"):
            _quietly(f"ipv6/conf/{scope}/disable_ipv6", "1")
        for name in QUIET:
            _quietly(name, "0")
        batch = Batch()
        for bridge in plan.bridges:
            batch.bridge(bridge.name, bridge.index, bridge.mac)
        with Rtnl() as rtnl:
            rtnl.do(batch)

    return setup


def _quietly(name: str, value: str) -> None:
    if Path("/proc/sys/net", name).exists():
        netns.sysctl(name, value)


def _host(space: Space, fabric: int) -> Callable[[], None]:
    def setup() -> None:
        batch = Batch()
        batch.loopback()
        own = os.open(netns.SELF, os.O_RDONLY | os.O_CLOEXEC)
        for cable in space.cables:
            batch.cable(cable, fabric, own)
            if cable.address:
                batch.address(cable.index, cable.address)
        try:
            with Rtnl() as rtnl:
                rtnl.do(batch)
        finally:
            os.close(own)

    return setup


def _patch(plan: Plan) -> None:
    batch = Batch()
    for trunk in plan.trunks:
        batch.veth(trunk.name, trunk.peer)
    for port in plan.ports:
        batch.join(port.name, port.bridge)
    with Rtnl() as rtnl:
        rtnl.do(batch)
    ports = [cable.peer for space in plan.spaces for cable in space.cables]
    if dead := settle([*ports, *(port.name for port in plan.ports)]):
        raise LabError(f"link {dead[0]} has no carrier though both ends are up; see: dmesg")


class Witness:
    """A socket in one host of the lab: when that host's first link is gone, so is the fabric with every other link.

    The kernel takes namespaces down later and in batches, and all links of the fabric leave in one of them, with their
    peers (default_device_exit_batch, net/core/dev.c).
    """

    def __init__(self, home: Home) -> None:
        self.link = ""
        self._sock: socket.socket | None = None
        for path in home.kept():
            if path.name != FABRIC:
                self.link = End(path.name, 0).interface
                self._request = struct.pack("40s", self.link.encode())
                self._sock = netns.inside(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                return

    def __enter__(self) -> "Witness":
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock:
            self._sock.close()

    def wait(self, timeout: float) -> bool:
        """Wait until the links are gone; False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._sock and self._there(self._sock):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _there(self, sock: socket.socket) -> bool:
        try:
            fcntl.ioctl(sock, SIOCGIFINDEX, self._request)
        except OSError:
            return False
        return True
