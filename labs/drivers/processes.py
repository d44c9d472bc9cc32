"""Processes in a lab's namespaces: started there, found there, ended there.

A child inherits the network namespace of the thread that forks it, so a helper thread inside the namespace starts it,
and nothing runs between fork and exec. Those to be ended are found by the namespace they are in (/proc/PID/ns/net),
whoever started them, and killed through a pidfd after a second look: a recycled process number is never hit.
"""

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hawser.netd.drivers import netns

from ..errors import Conflict, LabError

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def popen(space: Path, argv: Sequence[str], options: Mapping[str, Any]) -> "subprocess.Popen[Any]":
    """Start a process inside; `options` are Popen's. Its OSErrors pass through."""

    def start() -> "subprocess.Popen[Any]":
        return subprocess.Popen(argv, **options)

    return netns.inside(space, start)


def become(space: Path, argv: Sequence[str]) -> int:
    """Turn this process into a command inside; returns only when that fails: 127 not found, 126 not executable."""
    descriptor = os.open(space, os.O_RDONLY | os.O_CLOEXEC)
    if _libc.setns(descriptor, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise LabError(f"enter {space}: {os.strerror(code)}")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        return 127
    except OSError:
        return 126


def inside(inodes: set[int]) -> list[int]:
    """The processes whose namespace is one of these."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _space(int(entry)) in inodes:
            found.append(int(entry))
    return found


def end(inodes: set[int], *, timeout: float = 10.0) -> int:
    """Kill until nobody is inside; how many there were. Conflict from inside, LabError after `timeout` seconds."""
    if _space(os.getpid()) in inodes:
        raise Conflict("this command runs inside the lab it is to remove; run it outside")
    deadline = time.monotonic() + timeout
    ended = 0
    while processes := inside(inodes):
        descriptors = [fd for pid in processes if (fd := _kill(pid, inodes)) is not None]
        ended += len(descriptors)
        _wait(descriptors, deadline)
        if time.monotonic() >= deadline:
            raise LabError(f"process {processes[0]} in the lab did not end within {timeout:g} s of SIGKILL")
    return ended


def holders(inodes: set[int]) -> list[int]:
    """The processes that have one of these namespaces open, though they may not be inside."""
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit() and inodes & _open(entry))


def _open(pid: str) -> set[int]:
    """The inode numbers of the namespaces that a process has open."""
    device, found = os.stat(netns.SELF).st_dev, set[int]()
    with suppress(OSError):  # it has ended
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                kept = os.stat(f"/proc/{pid}/fd/{descriptor}")
                if kept.st_dev == device:
                    found.add(kept.st_ino)
    return found


def _space(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:  # ended, or a zombie: it has no namespace any more
        return -1


def _kill(pid: int, inodes: set[int]) -> int | None:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if _space(pid) in inodes:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return descriptor
    os.close(descriptor)
    return None


def _wait(descriptors: list[int], deadline: float) -> None:
    for descriptor in descriptors:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        os.close(descriptor)
