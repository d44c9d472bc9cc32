"""`hawser check`: what this machine can do, part by part, found by doing it.

Reading version numbers lies (containers, custom kernels, security modules), so each probe performs the
operation in a throw-away process with its own network and mount namespace, and nothing of it stays. A probe
answers None when the part works (or FOUND and how), else one line: what is missing and what to do.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .installed import etcd_version

CLONE = {
    "mnt": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
FOUND = "found: "
ISOLATED = CLONE["net"] | CLONE["mnt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One probed part; `missing` is None when it works, and `found` may say how."""

    part: str
    used_for: str
    required: bool
    missing: str | None
    found: str | None = None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> str | None:
    return None if _libc().unshare(flags) == 0 else _isolation_error(ctypes.get_errno())


def root() -> str | None:
    return None if os.geteuid() == 0 else "not root; run hawser as root"


def namespaces() -> str | None:
    for name, flag in CLONE.items():
        if reason := _in_child(lambda flag=flag: _unshare(flag)):  # type: ignore[misc]
            return f"{name} namespace: {reason}"
    return None


def overlayfs() -> str | None:
    if reason := isolate():
        return reason
    with tempfile.TemporaryDirectory() as base:
        for name in ("tmp", "lower", "upper", "work", "target"):
            Path(base, name).mkdir()
        # a tmpfs below, so that the probe holds even where /tmp itself is an overlay
        if _libc().mount(b"tmpfs", f"{base}/tmp".encode(), b"tmpfs", 0, None):
            return f"tmpfs: {os.strerror(ctypes.get_errno())}"
        for name in ("lower", "upper", "work", "target"):
            Path(base, "tmp", name).mkdir()
        options = ",".join(
            f"{key}={base}/tmp/{value}"
            for key, value in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        )
        failed = _libc().mount(b"overlay", f"{base}/tmp/target".encode(), b"overlay", 0, options.encode())
        reason = os.strerror(ctypes.get_errno()) if failed else None
        if not failed:
            _libc().umount2(f"{base}/tmp/target".encode(), 2)
        _libc().umount2(f"{base}/tmp".encode(), 2)
    return f"overlay mount: {reason}; load the kernel module `overlay`" if reason else None


def links() -> str | None:
    if reason := isolate():
        return reason
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as ip:
        for kind, extra in (("bridge", {}), ("veth", {"peer": "probe-peer"})):
            try:
                ip.link("add", ifname=f"probe-{kind}", kind=kind, **extra)
            except NetlinkError as error:
                return f"link kind {kind}: {os.strerror(error.code)}; load the kernel module `{kind}`"
    return None


def nftables() -> str | None:
    if reason := isolate():
        return reason
    try:
        lib = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return "libnftables.so.1 not found; apt-get install libnftables1"
    lib.nft_ctx_new.restype = ctypes.c_void_p
    lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    context = lib.nft_ctx_new(0)
    lib.nft_ctx_buffer_error(ctypes.c_void_p(context))
    rules = (
        b"table inet p { chain n { type nat hook prerouting priority 0; ip daddr 192.0.2.1 dnat ip to 192.0.2.2; }; }"
    )
    return None if lib.nft_run_cmd_from_buffer(context, rules) == 0 else "NAT rules refused; load the module `nft_nat`"


def limits() -> str | None:
    if reason := isolate():
        return reason
    from hawser.netd.errors import NetError
    from hawser.netd.qos import rates
    from hawser.netd.qos.drivers import copies
    from hawser.netd.qos.drivers.rtnl import Rtnl

    lo, rtnl = 1, Rtnl()
    try:
        rtnl.set_queue(lo, "lo", rates.tbf(rates.bucket(10**6)))
        copies.put(rtnl, lo, "lo", [lo])
        rtnl.new_ifb("probe-ifb", "probe")
    except NetError as error:
        words = str(error).partition(";")[0]
        return f"{words}; load the kernel modules `sch_tbf`, `ifb`, `cls_bpf` and `act_mirred`"
    finally:
        rtnl.close()
    return None


def bridge_filter() -> str | None:
    """What shows bridged frames to policies: there, or a module that the node loads."""
    if Path("/proc/sys/net/bridge").is_dir():
        return None
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if modprobe and subprocess.run([modprobe, "-n", "-q", "br_netfilter"], check=False).returncode == 0:
        return None
    return "the kernel has no br_netfilter; policies on networks of kind bridge are refused"


def hierarchies() -> str | None:
    """At least one cgroup tree, so that all of a container can be found and ended."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith(("cgroup ", "cgroup2 ")) and os.access(before.split()[4], os.W_OK):
            return None
    return "no cgroup tree is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup"


def controllers() -> str | None:
    """The cgroup controllers cpu, memory and pids, in either version of the hierarchy."""
    found: set[str] = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            found |= set(Path(before.split()[4], "cgroup.controllers").read_text().split())
        elif kind == "cgroup":
            found |= set(options.split(","))
    if missing := sorted({"cpu", "memory", "pids"} - found):
        return f"no {', '.join(missing)} controller is mounted; limits of that kind are refused"
    return None


def forwarding() -> str | None:
    """Chains of others (Docker's, a firewall's) that drop what the machine forwards, networks' traffic included."""
    from hawser.netd.drivers.foreign import foreign_drops

    chains = foreign_drops()
    if not chains:
        return None
    return (
        f"{', '.join(chains)} drops forwarded packets; let networks through: "
        "iptables -I FORWARD -i hwu+ -j ACCEPT; iptables -I FORWARD -o hwu+ -j ACCEPT"
    )


def ipv6() -> str | None:
    return None if Path("/proc/net/if_inet6").exists() else "IPv6 is off in this kernel; networks have IPv4 only"


def isolate() -> str | None:
    """Move this process into a network and a mount namespace of its own; None, or why that is refused."""
    if reason := _unshare(ISOLATED):
        return f"private namespaces: {reason}"
    if _libc().mount(b"none", b"/", None, 0x4000 | 0x40000, None):
        return f"private mounts: {_isolation_error(ctypes.get_errno())}"
    return None


def _isolation_error(number: int) -> str:
    """Why a process could not get namespaces of its own, and what to do."""
    if number == errno.EINVAL:
        return "the root directory is no mount point (a plain chroot); bind-mount it onto itself before chroot"
    if number in (errno.EPERM, errno.EACCES):
        return f"{os.strerror(number)}; run as root"
    return f"{os.strerror(number)}; the kernel or a security module forbids it"


def _in_child(probe: Callable[[], str | None]) -> str | None:
    """Run a probe in a forked child; a crash or a silent end counts as missing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = probe() or ""
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode() + b"\n")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer.strip() or (None if answer else "the probe died")


def wireguard() -> str | None:
    """Which WireGuard there is, and what it costs."""
    from hawser.netd.wireguard.drivers.probe import Flavour, probe

    found = probe()
    if found.flavour is Flavour.KERNEL:
        return f"{FOUND}the kernel's: cheap"
    if found.flavour is Flavour.USERSPACE:
        return f"{FOUND}wireguard-go: costly, every packet passes a process"
    return found.reason


def openvswitch() -> str | None:
    """Open vSwitch's programs, and whether its packets are moved by the kernel."""
    from hawser.netd.errors import Unavailable
    from hawser.netd.ovs.drivers import programs

    try:
        programs.find()
    except Unavailable as error:
        return f"{error}; networks are of kind bridge"
    if not programs.kernel_datapath():
        return "no kernel module `openvswitch`: in user space it is a tenth as fast; the default is bridge"
    return None


def etcd() -> str | None:
    program = shutil.which("etcd")
    if program is None:
        return "etcd is not found; install Debian's etcd-server, or use an etcd that runs elsewhere: --store"
    version = etcd_version()
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        return f"{program} says its version is {version!r}; hawser knows etcd 3.4 and later"
    return None if (int(parts[0]), int(parts[1])) >= (3, 4) else f"etcd {version} is too old; use 3.4 or later"


def grpc() -> str | None:
    if find_spec("grpc") is None:
        return "the package grpcio is not installed; the slower JSON gateway of etcd is used instead"
    return None


PROBES: tuple[tuple[str, str, bool, Callable[[], str | None]], ...] = (
    ("root", "everything", True, root),
    ("namespaces", "containers, networks, labs", True, namespaces),
    ("bridge, veth", "networks, labs", True, links),
    ("nftables", "NAT, published ports, isolation", True, nftables),
    ("tbf, ifb, mirred", "limits and mirrors of ports", False, limits),
    ("br_netfilter", "policies on networks of kind bridge", False, bridge_filter),
    ("overlayfs", "containers on images", True, overlayfs),
    ("cgroups", "containers", True, hierarchies),
    ("cpu, memory, pids", "limits of containers", False, controllers),
    ("ipv6", "IPv6 addresses of networks", False, ipv6),
    ("forwarding", "networks' way out, published ports", False, forwarding),
    ("wireguard", "encrypted networks between machines", False, wireguard),
    ("open vswitch", "networks of kind ovs, the default with it", False, openvswitch),
    ("etcd", "clusters that hawser founds or joins as a member", False, etcd),
    ("grpc", "the client of etcd", False, grpc),
)


def findings() -> Iterator[Finding]:
    """Probe everything, each part in its own process (this one must have a single thread)."""
    for part, used_for, required, probe in PROBES:
        said = _in_child(probe)
        found = said.removeprefix(FOUND) if said and said.startswith(FOUND) else None
        yield Finding(part=part, used_for=used_for, required=required, missing=None if found else said, found=found)


def findings_apart() -> list[Finding]:
    """As `findings`, from a process with threads: in a fresh interpreter."""
    import json

    answer = subprocess.run([sys.executable, "-m", "hawser.check"], capture_output=True, check=True, text=True)
    return [Finding(**entry) for entry in json.loads(answer.stdout)]


if __name__ == "__main__":
    import json
    from dataclasses import asdict

    print(json.dumps([asdict(finding) for finding in findings()]))
