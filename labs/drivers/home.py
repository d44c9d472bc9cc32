"""Where a lab is kept: `<run>/labs/<name>/` with its state file and, on a small private tmpfs, its namespaces.

The directory is the mark: it is made before anything else and goes last, so a killed `up` leaves a lab that `ls` shows
and `down` removes. Whoever builds or removes holds a lock on the directory; the kernel drops it with the process, by
which a lab under construction differs from the remains of one. Every namespace is a bind mount on the tmpfs, so one
lazy unmount of it gives them all back at once, and nothing outside is ever matched by name.
"""

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hawser.netd.drivers import netns

from ..errors import Conflict, Denied, Exists, LabError, NotFound

FABRIC = "fabric"
MS_PRIVATE, MNT_DETACH = 1 << 18, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Home:
    """The directory of one lab."""

    def __init__(self, run: Path, name: str) -> None:
        self.name = name
        self.path = run / "labs" / name
        self.spaces = self.path / "ns"
        self.hosts = self.path / "hosts"
        self.state_file = self.path / "state.json"

    def space(self, node: str) -> Path:
        """The file that keeps the namespace of a host, or of the fabric."""
        return self.spaces / node

    def claim(self) -> int:
        """Make the directory and lock it; the descriptor of the lock. Exists, Denied."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise Exists(f"lab {self.name} exists; remove it: hawser lab down {self.name}") from None
        except OSError as error:
            raise _wrapped(error, f"make {self.path}") from error
        return self.lock()

    def lock(self) -> int:
        """Lock an existing lab against others; NotFound, Conflict."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"there is no lab {self.name}; see: hawser lab ls") from None
        except OSError as error:
            raise _wrapped(error, f"open {self.path}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Conflict(f"lab {self.name} is being worked on by another process; try again") from None
        return descriptor

    def busy(self) -> bool:
        """Whether somebody builds or removes it now."""
        try:
            os.close(self.lock())
        except Conflict:
            return True
        except LabError:
            return False
        return False

    def mount(self) -> None:
        """The tmpfs for the namespaces, private: other mount namespaces must not keep copies."""
        self.spaces.mkdir()
        target = os.fsencode(self.spaces)
        if _libc.mount(b"hawser-lab", target, b"tmpfs", 0, b"size=4m,mode=0700,nr_inodes=0"):
            raise _failed(f"mount {self.spaces}")
        if _libc.mount(None, target, None, MS_PRIVATE, None):
            raise _failed(f"make {self.spaces} private")

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state file, all or nothing."""
        new = self.state_file.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.replace(self.state_file)

    def read(self) -> dict[str, Any]:
        """The state; empty when it was never written. NotFound, Denied."""
        if not self.path.is_dir():
            raise NotFound(f"there is no lab {self.name}; see: hawser lab ls")
        try:
            state = json.loads(self.state_file.read_text())
        except PermissionError as error:
            raise _wrapped(error, f"read {self.state_file}") from error
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def whole(self) -> bool:
        """Whether `up` came to its end and the machine has not been restarted since."""
        return self.read().get("state") == "up" and netns.alive(self.space(FABRIC))

    def kept(self) -> list[Path]:
        """The files that keep a namespace now. Denied."""
        try:
            return [node for node in self.spaces.iterdir() if netns.alive(node)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _wrapped(error, f"read {self.spaces}") from error

    def inodes(self) -> set[int]:
        """The inode numbers of the lab's namespaces, as /proc/*/ns/net shows them."""
        return {node.stat().st_ino for node in self.kept()}

    def host(self, name: str) -> Path:
        """The directory of a host, made when it is missing. NotFound, Denied, LabError."""
        path = self.hosts / name
        try:
            for directory in (self.hosts, path):
                directory.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise NotFound(f"there is no lab {self.name}; see: hawser lab ls") from None
        except OSError as error:
            raise _wrapped(error, f"make {path}") from error
        return path

    def disk(self, host: str, name: str, size: int) -> Path:
        """A small file system in a host's directory, which is full at `size` bytes. Exists, Denied, LabError."""
        path = self.host(host) / name
        try:
            path.mkdir()
        except FileExistsError:
            raise Exists(f"{path} exists; take another name for the disk of {host}") from None
        except OSError as error:
            raise _wrapped(error, f"make {path}") from error
        if _libc.mount(b"hawser-lab", os.fsencode(path), b"tmpfs", 0, f"size={size},mode=0755".encode()):
            raise _failed(f"mount {path}")
        return path

    def release(self) -> None:
        """Let all namespaces go, remove the hosts' files and the directory; repeatable."""
        for point in [*_mounts(self.hosts), str(self.spaces)]:
            while _libc.umount2(os.fsencode(point), MNT_DETACH) == 0:
                pass
            if ctypes.get_errno() == errno.EPERM:
                raise _failed(f"unmount {point}")
        if left := _mounts(self.hosts):  # what is in it belongs to somebody
            raise LabError(f"unmount {left[0]}: it is still there; unmount it, then: hawser lab down {self.name}")
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.hosts)
            for path in (self.state_file, self.state_file.with_suffix(".new")):
                path.unlink(missing_ok=True)
            for directory in (self.spaces, self.path):
                with suppress(FileNotFoundError):
                    directory.rmdir()
        except OSError as error:
            raise _wrapped(error, f"remove {self.path}") from error
        with suppress(OSError):
            self.path.parent.rmdir()


def homes(run: Path) -> Iterator[Home]:
    """Every lab under a run directory, by name. Denied."""
    try:
        names = sorted(entry.name for entry in os.scandir(run / "labs") if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _wrapped(error, f"read {run / 'labs'}") from error
    for name in names:
        yield Home(run, name)


@contextmanager
def locked(home: Home, *, new: bool = False, patience: float = 0.0) -> Iterator[None]:
    """Hold the lab while working on it; Conflict when somebody else does for longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            descriptor = home.claim() if new else home.lock()
            break
        except Conflict:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
    try:
        yield
    finally:
        os.close(descriptor)


def _mounts(under: Path) -> list[str]:
    """What is mounted below a directory, the deepest first (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4] for line in file]
    plain = [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point) for point in points]
    inside = f"{os.path.realpath(under)}/"
    return sorted((point for point in plain if point.startswith(inside)), key=len, reverse=True)


def _failed(what: str) -> LabError:
    code = ctypes.get_errno()
    return _wrapped(OSError(code, os.strerror(code)), what)


def _wrapped(error: OSError, what: str) -> LabError:
    text = f"{what}: {error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
    return Denied(f"{text}; run as root") if error.errno in (errno.EPERM, errno.EACCES) else LabError(text)
