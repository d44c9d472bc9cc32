"""The system calls Python 3.11 does not have, each raising OSError with what it was for.

Called through PyDLL: the callers are single-threaded and short, so the interpreter lock need not be let go, and a
child made by `clone` goes on with it held.
"""

import ctypes
import os

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

CLONE_PARENT = 0x00008000
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
SIGCHLD = 17
KEYCTL_JOIN_SESSION_KEYRING = 1
CLOSE_RANGE_CLOEXEC = 4
_ARM = os.uname().machine == "aarch64"
SYS_CLONE = 220 if _ARM else 56
SYS_PIVOT_ROOT = 41 if _ARM else 155
SYS_CAPSET = 91 if _ARM else 126
SYS_KEYCTL = 219 if _ARM else 250
SYS_CLOSE_RANGE, SYS_MOUNT_SETATTR = 436, 442
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4

# Docker's default set: what programs in containers are used to have (capabilities(7) numbers).
DEFAULT_CAPS = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def clone(flags: int) -> int:
    """fork(2) with flags, as into new namespaces: 0 in the child. Only for a process with one thread (clone(2))."""
    pid = int(_syscall(SYS_CLONE, ctypes.c_ulong(flags | SIGCHLD), None, None, None, None))
    _check(pid, "new process")
    return pid


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "new namespaces")


def setns(fd: int, flags: int, what: str) -> None:
    _check(_libc.setns(fd, flags), what)


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            os.fsencode(options) if options else None,
        ),
        f"mount {kind or source} at {target}",
    )


def restrict_mount(fd: int, attributes: int) -> None:
    """Set `ATTR_…` on the mount a descriptor stands for and every mount below it (mount_setattr(2), Linux 5.12)."""
    data = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_EMPTY_PATH | AT_RECURSIVE
    _check(_syscall(SYS_MOUNT_SETATTR, fd, b"", flags, data, ctypes.sizeof(data)), "restrict a mount")


def umount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    _check(_syscall(SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)), "pivot_root")


def sethostname(name: str) -> None:
    data = name.encode()
    _check(_libc.sethostname(data, len(data)), "set the hostname")


def prctl(option: int, value: int, what: str) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), what)


def close_on_exec(first: int) -> None:
    """Every descriptor from `first` up goes away with exec (close_range(2), Linux 5.11)."""
    _check(_syscall(SYS_CLOSE_RANGE, first, ctypes.c_uint(0xFFFFFFFF), CLOSE_RANGE_CLOEXEC), "close_range")


def new_session_keyring() -> None:
    """Leave the caller's session keyring behind (keyrings(7)); a kernel without keys has nothing to leave."""
    _syscall(SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None)


def _last_capability() -> int:
    try:
        fd = os.open("/proc/sys/kernel/cap_last_cap", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 40
    try:
        return int(os.read(fd, 16))
    finally:
        os.close(fd)


LAST_CAP = _last_capability()


def bound_capabilities(keep: frozenset[int]) -> None:
    """Drop every capability not kept from the bounding set (capabilities(7))."""
    for capability in range(LAST_CAP + 1):
        if capability not in keep:
            prctl(PR_CAPBSET_DROP, capability, f"drop capability {capability}")


def limit_capabilities(keep: frozenset[int]) -> None:
    """Set the permitted and effective sets to `keep`, the inheritable one to nothing (capset(2), version 3)."""
    low = sum(1 << capability for capability in keep if capability < 32)
    high = sum(1 << (capability - 32) for capability in keep if capability >= 32)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_syscall(SYS_CAPSET, header, data), "set capabilities")
