"""/proc/sys/net of the calling thread's namespace, in a time that does not grow with the number of namespaces.

Every namespace has directories of the same names, and the kernel keeps all that were looked up in one chain, which it
goes through to find the caller's (proc_sys_compare in fs/proc/proc_sysctl.c): at a thousand namespaces half a
millisecond each time. An instance of procfs has chains of its own (since Linux 5.8, fsmount(2)), so that we have one
that nobody else sees and take another before its chains are long. Where that is refused /proc does it, more slowly.
"""

import ctypes
import os
from threading import Lock

SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432  # the same on every architecture
FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC = 1, 6, 1
MOUNT_ATTR_NOSUID_NODEV_NOEXEC = 0xE
TIMES = 64
_libc = ctypes.CDLL(None, use_errno=True)


class Procfs:
    """An instance of procfs that is used `TIMES` times and then replaced; for any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._root: int | None = None
        self._left = 0
        self._refused = False

    def opened(self, directory: str) -> int:
        """A file descriptor (O_PATH) of /proc/sys/net/`directory`, the caller's to close. OSError."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        with self._lock:
            self._renew()
            if self._root is None:
                return os.open(f"/proc/sys/net/{directory}", flags)
            return os.open(f"sys/net/{directory}", flags, dir_fd=self._root)

    def _renew(self) -> None:
        if self._left == 0 and not self._refused:
            if self._root is not None:
                os.close(self._root)
            self._root = _mounted()
            self._refused, self._left = self._root is None, TIMES
        self._left -= 1


def _mounted() -> int | None:
    """The root of a new instance, mounted nowhere; None when the kernel does not make one."""
    context = _libc.syscall(SYS_FSOPEN, b"proc", FSOPEN_CLOEXEC)
    if context < 0:
        return None
    try:
        if _libc.syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0) != 0:
            return None
        root: int = _libc.syscall(SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID_NODEV_NOEXEC)
    finally:
        os.close(context)
    return root if root >= 0 else None
