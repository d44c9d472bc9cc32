"""The demo's private world, beside whatever else runs on the machine.

The process moves into a network and mount namespace of its own; a second namespace is the outside, joined by a veth as
an uplink. The node process inherits all this and keeps its files in a temporary directory, so nothing of the machine is
touched. Control groups are the machine's, below the node's own mark.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from ipaddress import ip_interface
from pathlib import Path

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink

from ..check import isolate
from ..client import Client
from ..faults import Fault
from . import probes

UPLINK, OUTSIDE = "198.51.100.1", "198.51.100.2"
MTU = 1450


class Stage:
    """A node in a private world."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise Fault("the demo makes namespaces and containers; run it as root", "denied")
        self.directory = Path(tempfile.mkdtemp(prefix="hawser-demo-"))
        self.directory.chmod(0o755)
        self.outside = self.directory / "outside"
        self.socket = self.directory / "run" / "hawser.sock"
        self.client = Client(str(self.socket))
        self._node: subprocess.Popen[bytes] | None = None
        self._build()

    def start_node(self) -> bool:
        """Start the node process; whether it came up."""
        data, run = self.directory / "data", self.directory / "run"
        with (self.directory / "node.log").open("ab") as log:
            self._node = subprocess.Popen(
                [sys.executable, "-m", "hawser.main", "node", "up", "--data", str(data), "--run", str(run)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return probes.until(self.answers, 10)

    def answers(self) -> bool:
        """Whether the node's API answers."""
        try:
            self.client.get("/v1/status")
        except Fault:
            return False
        return True

    def kill_node(self) -> None:
        """SIGKILL, as a crash would."""
        if self._node is not None:
            self._node.kill()
            self._node.wait()

    def node_ended(self) -> bool:
        """Wait for the node to end by itself."""
        return self._node is None or probes.until(lambda: self._node is None or self._node.poll() is not None, 10)

    def links(self) -> set[str]:
        """Names of the node's links."""
        with Netlink() as kernel:
            return {link.name for link in kernel.links()}

    def log(self) -> str:
        """The last lines of the node's log."""
        path = self.directory / "node.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def remove(self) -> None:
        """Take the world down, whatever state it is in."""
        if self._node is not None and self._node.poll() is None:
            try:
                self.client.post("/v1/leave")
            except Fault:
                self._node.send_signal(signal.SIGTERM)
            if not self.node_ended():
                self.kill_node()
        netns.remove(self.outside)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _build(self) -> None:
        if reason := isolate():
            shutil.rmtree(self.directory)
            raise Fault(reason, "unavailable")
        netns.lo_up()
        netns.create(self.outside, netns.lo_up)
        target = os.open(self.outside, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink() as kernel:
                kernel.do([netlink.new_veth("uplink", "eth0", peer_netns=target, mtu=MTU)])
                index = _index("uplink")
                kernel.do([netlink.add_address(index, ip_interface(f"{UPLINK}/24"))])
                netns.inside(self.outside, _outside)
                kernel.do([netlink.add_default(index, ip_interface(OUTSIDE).ip)])
        finally:
            os.close(target)


def _outside() -> None:
    with Netlink() as kernel:
        kernel.do([netlink.set_link("eth0"), netlink.add_address(_index("eth0"), ip_interface(f"{OUTSIDE}/24"))])


def _index(name: str) -> int:
    return socket.if_nametoindex(name)
