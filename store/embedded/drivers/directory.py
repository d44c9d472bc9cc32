"""A directory that one process at a time has: a `flock` on its `lock` file, which names the holder. The kernel lets go
when the process ends, however it ends."""

import fcntl
import os
from io import FileIO
from pathlib import Path

from ...errors import Conflict


def lock(directory: Path) -> FileIO:
    """Take the directory until the file is closed. Conflict when another process has it, OSError."""
    held = FileIO(os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # same length always: on a full disk the pid is written over the last one
        os.pwrite(held.fileno(), f"{os.getpid():<10}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(held.fileno(), 32, 0).decode(errors="replace").strip() or "unknown"
        held.close()
        raise Conflict(f"{directory} is in use by process {holder}; stop it or choose another directory") from None
    except OSError:
        held.close()
        raise
    return held


def sync(directory: Path) -> None:
    """The files' names, and the directory's own, survive a power cut too."""
    for path in (directory, directory.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
