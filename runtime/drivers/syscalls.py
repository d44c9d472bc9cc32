"""The system calls Python 3.11 does not have, each raising OSError with what it was for."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 24, 38, 36
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}[os.uname().machine]

# Docker's default set: what programs in containers are used to have (capabilities(7) numbers).
DEFAULT_CAPS = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "new namespaces")


def setns(fd: int, flags: int, what: str) -> None:
    _check(_libc.setns(fd, flags), what)


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    _check(
        _libc.mount(
            source.encode(),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            options.encode() if options else None,
        ),
        f"mount {kind or source} at {target}",
    )


def umount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    _check(_libc.syscall(SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)), "pivot_root")


def sethostname(name: str) -> None:
    data = name.encode()
    _check(_libc.sethostname(data, len(data)), "set the hostname")


def prctl(option: int, value: int, what: str) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), what)


def bound_capabilities(keep: frozenset[int]) -> None:
    """Drop every capability not kept from the bounding set and the process (capabilities(7))."""
    last = int(open("/proc/sys/kernel/cap_last_cap").read()) if os.path.exists("/proc/sys/kernel/cap_last_cap") else 40
    for capability in range(last + 1):
        if capability not in keep:
            prctl(PR_CAPBSET_DROP, capability, f"drop capability {capability}")


def limit_capabilities(keep: frozenset[int]) -> None:
    """Set the permitted and effective sets to `keep`, the inheritable one to nothing (capset(2), version 3)."""
    low = sum(1 << capability for capability in keep if capability < 32)
    high = sum(1 << (capability - 32) for capability in keep if capability >= 32)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.syscall(SYS_CAPSET, header, data), "set capabilities")
