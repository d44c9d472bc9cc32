"""The sysctls netd needs (kernel Documentation/networking/ip-sysctl.rst), each set only where it differs."""

import os
import shutil
import subprocess
from pathlib import Path

from ..errors import Unavailable
from . import netns
from .netlink import has_ipv6

BRIDGE_FILTER = Path("/proc/sys/net/bridge")
CONF6 = Path("/proc/sys/net/ipv6/conf")


def open_forwarding() -> None:
    """Let the host route. Where IPv6 forwarding was off, keep its own router advertisements working (accept_ra 2)."""
    netns.sysctl("ipv4/ip_forward", "1")
    if not has_ipv6() or (CONF6 / "all/forwarding").read_text().strip() != "0":
        return
    for accept in CONF6.glob("*/accept_ra"):
        if accept.read_text().strip() == "1":
            netns.sysctl(f"ipv6/conf/{accept.parent.name}/accept_ra", "2")
    netns.sysctl("ipv6/conf/all/forwarding", "1")


BRIDGED = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")


def load_bridge_filter() -> None:
    """Have the kernel's `br_netfilter`, by which bridged frames meet policies, and leave the calling thread's namespace
    as it was without: there the module would show every bridge's frames to the IP hooks. Nothing where it is already,
    or cannot be loaded (`need_bridge_filter` says so)."""
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if BRIDGE_FILTER.is_dir() or modprobe is None:
        return
    subprocess.run([modprobe, "-q", "br_netfilter"], check=False, capture_output=True, timeout=30)
    if BRIDGE_FILTER.is_dir():
        netns.sysctls("bridge", dict.fromkeys(BRIDGED, "0"))


def need_bridge_filter() -> None:
    """Inside: Unavailable, where frames on a bridge would pass without being asked about; other bridges are left out,
    also where the module came after them."""
    if not BRIDGE_FILTER.is_dir():
        raise Unavailable("policies on a bridge need the kernel's br_netfilter; run: modprobe br_netfilter")
    netns.sysctls("bridge", dict.fromkeys(BRIDGED, "0"))


def prepare_tenant() -> None:
    """Inside: loopback up, the namespace routes, and bridged frames pass by the IP hooks unless a bridge asks."""
    netns.lo_up()
    open_forwarding()
    if BRIDGE_FILTER.is_dir():
        netns.sysctls("bridge", dict.fromkeys(BRIDGED, "0"))
    if has_ipv6():
        netns.sysctls("ipv6/conf/default", {"accept_ra": "0", "accept_dad": "0"})


def harden_bridge(ifname: str) -> None:
    """A bridge or way out takes 127.0.0.1's translated packets (published ports), and no router advertisement of a
    container; to be called before it is up."""
    netns.sysctl(f"ipv4/conf/{ifname}/route_localnet", "1")
    if has_ipv6():
        # no neighbour is asked for while the link-local address is in doubt: a second without IPv6 (RFC 4862 §5.4)
        values = {"accept_ra": "0", "accept_redirects": "0", "disable_ipv6": "0", "accept_dad": "0"}
        netns.sysctls(f"ipv6/conf/{ifname}", values)


def prepare_sandbox() -> None:
    """Inside: loopback up, ports below 1024 and ping open to everybody; no neighbour's router advertisement is taken,
    and addresses are not in doubt at first."""
    netns.lo_up()
    netns.sysctls("ipv4", {"ip_unprivileged_port_start": "0", "ping_group_range": "0 2147483647"})
    if has_ipv6():
        netns.sysctls("ipv6/conf/default", {"accept_ra": "0", "accept_dad": "0"})
