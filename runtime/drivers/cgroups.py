"""The control groups of containers: make, fill, kill, remove. Delete of nothing is success.

A group is a directory and the files to write into it, as `cgroup.settings` says. Light imports: the shims use it.
"""

import contextlib
import os
import signal
import time

from . import procfs

Group = tuple[str, list[tuple[str, str]]]
OPTIONAL = ("memory.memsw.limit_in_bytes", "memory.swap.max")


def create(groups: list[Group]) -> None:
    """Make the groups with their limits; OSError says which file refused."""
    for directory, files in groups:
        os.makedirs(directory, exist_ok=True)
        for name, value in files:
            try:
                write(f"{directory}/{name}", value)
            except FileNotFoundError:
                if name not in OPTIONAL:
                    raise


def spare_name(pid: int) -> str:
    """The group of the process that the shim `pid` has in reserve; no container's name begins with a dot."""
    return f".spare-{pid}-{procfs.start_time(pid)}"


def spare_lives(name: str) -> bool:
    """Whether the group is the reserve of a living shim."""
    pid, _, started = name.removeprefix(".spare-").partition("-")
    return name.startswith(".spare-") and pid.isdigit() and str(procfs.start_time(int(pid))) == started


def add(groups: list[Group], pid: int) -> None:
    """Move a process (0: the caller) into the groups."""
    for directory, _ in groups:
        write(f"{directory}/cgroup.procs", str(pid))


def members(directory: str) -> list[int]:
    """Processes of a group."""
    try:
        fd = os.open(f"{directory}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        text = b""
        while block := os.read(fd, 65536):
            text += block
        return [int(word) for word in text.split()]
    except OSError:
        return []
    finally:
        os.close(fd)


def kill(directory: str, timeout: float = 5.0) -> bool:
    """SIGKILL every process of the group until none is left; False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    with contextlib.suppress(OSError):
        write(f"{directory}/cgroup.kill", "1")
    while pids := members(directory):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def remove(directory: str, timeout: float = 2.0) -> bool:
    """Remove an emptied group and those below it; False when it stays busy."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    remove(entry.path, 0.0)
            os.rmdir(directory)
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        else:
            return True


def oom_kills(directory: str) -> int:
    """How many processes of the group died because memory ran out (both versions say `oom_kill N`)."""
    for name in ("memory.oom_control", "memory.events"):
        try:
            fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        text = os.read(fd, 4096).decode()
        os.close(fd)
        for line in text.splitlines():
            word, _, number = line.partition(" ")
            if word == "oom_kill":
                return int(number)
    return 0


def write(path: str, value: str) -> None:
    """One write(2), as such files want it; the OSError names file and value."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{path.rpartition('/')[2]} = {value}") from None
    finally:
        os.close(fd)
