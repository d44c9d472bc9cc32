"""Who a process is: its id and when it started, for an id alone is given out again. Light imports: the shims use it."""

import os
import select
import signal


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), stat field 22); None when there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return int(os.read(fd, 4096).rpartition(b")")[2].split()[19])
    except OSError:
        return None
    finally:
        os.close(fd)


def boot_id() -> str:
    """The name of this boot of the machine (random(4))."""
    fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def hold(pid: int, started: int) -> int | None:
    """A pidfd of exactly that process, or None when it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if start_time(pid) == started:
        return fd
    os.close(fd)
    return None


def kill(pid: int, started: int, timeout: float = 5.0) -> None:
    """SIGKILL exactly that process and wait until it has ended; nothing when it is gone."""
    fd = hold(pid, started)
    if fd is None:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(timeout * 1000)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
