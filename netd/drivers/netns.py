"""Network namespaces without a process in them: made by a helper thread, kept by a bind mount.

A thread may change its own network namespace (setns(2), unshare(2)), and the event loop's thread never does. One worker
thread does it for those who have no thread of their own for it, and always comes back; making a namespace costs 0.5 ms
this way, a forked helper 5 ms. The mount keeps the namespace alive (network_namespaces(7)); unmounting it gives it to
the kernel to take down.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..errors import Denied, Exists, Invalid, NetError, NotFound, Unavailable
from .procfs import Procfs

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
MS_BIND, MNT_DETACH = 4096, 2
SELF = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)
_procfs = Procfs()
_worker = ThreadPoolExecutor(1, thread_name_prefix="netns")


def _call(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        name = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})"
        raise Denied(f"{name}; run as root") if code in (errno.EPERM, errno.EACCES) else NetError(name)


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """The calling thread comes back to the namespace it is in now."""
    home = os.open(SELF, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        back = _libc.setns(home, CLONE_NEWNET)
        os.close(home)
        _call(back, "return to the own network namespace")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file descriptor of the namespace kept at `path`. NotFound."""
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"network namespace {path}: {error.strerror}") from error
    try:
        yield target
    finally:
        os.close(target)


@contextlib.contextmanager
def _kept(path: Path) -> Iterator[None]:
    """A new file to keep a namespace at; what fails in the block leaves none. Exists."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except FileExistsError:
        raise Exists(f"network namespace {path} exists") from None
    except OSError as error:
        raise NetError(f"network namespace {path}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        remove(path)
        raise


def _bind(source: str, path: Path) -> None:
    bound = _libc.mount(os.fsencode(source), os.fsencode(path), None, MS_BIND, None)
    _call(bound, f"keep network namespace {path}")


def create_here(path: Path, setup: Callable[[], None] | None = None) -> None:
    """As `create`, on the calling thread, which must not be the event loop's."""
    with _kept(path), _elsewhere():
        _call(_libc.unshare(CLONE_NEWNET), "new network namespace")
        _bind(SELF, path)
        if setup:
            setup()


def keep(source: Path, path: Path) -> None:
    """Keep another's namespace at `path`, too. Invalid when `source` is none, Exists."""
    if not alive(source):
        raise Invalid(f"{source} is no network namespace; give one's path, as /run/netns/NAME or /proc/PID/ns/net")
    with _kept(path):
        _bind(str(source), path)


def inside_here(path: Path, act: Callable[[], T]) -> T:
    """As `inside`, on the calling thread, which must not be the event loop's."""
    with opened(path) as target, _elsewhere():
        _call(_libc.setns(target, CLONE_NEWNET), f"enter network namespace {path}")
        return act()


def enter(path: Path) -> None:
    """Move the calling thread into the namespace kept at `path`, for good. NotFound, Denied."""
    with opened(path) as target:
        _call(_libc.setns(target, CLONE_NEWNET), f"enter network namespace {path}")


def create(path: Path, setup: Callable[[], None] | None = None) -> None:
    """Make a namespace kept at `path` (a file that must not exist); `setup` runs inside. Blocks; Exists, Denied."""
    _worker.submit(create_here, path, setup).result()


def inside(path: Path, act: Callable[[], T]) -> T:
    """Run `act` in the namespace kept at `path` and return its result. Blocks."""
    return _worker.submit(inside_here, path, act).result()


def remove(path: Path) -> None:
    """Let the namespace go; nothing when it is not there. A process inside keeps it until it ends."""
    while _libc.umount2(os.fsencode(path), MNT_DETACH) == 0:
        pass
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise NetError(f"remove network namespace {path}: {error.strerror}") from error


def alive(path: Path) -> bool:
    """Whether `path` still keeps a namespace (a reboot leaves empty files)."""
    try:
        return os.stat(path).st_dev == os.stat(SELF).st_dev
    except OSError:
        return False


def sysctl(name: str, value: str) -> None:
    """Set `/proc/sys/net/<name>` of the calling thread's namespace, unless it has this value. Denied, NetError."""
    directory, _, leaf = name.rpartition("/")
    sysctls(directory, {leaf: value})


def sysctls(directory: str, values: Mapping[str, str]) -> None:
    """As `sysctl`, several of one directory, which is looked up once (procfs.py says why)."""
    name = directory
    try:
        where = _procfs.opened(directory)
        try:
            for leaf, value in values.items():
                name = f"{directory}/{leaf}"
                _set(where, leaf, value)
        finally:
            os.close(where)
    except OSError as error:
        text = f"set sysctl net/{name}: {error.strerror}"
        if error.errno in (errno.EPERM, errno.EACCES):
            raise Denied(f"{text}; run as root") from error
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise Unavailable(f"{text}; remove what is not needed, or raise the limit") from error
        raise NetError(f"{text}; set it on this host") from error


def _set(where: int, leaf: str, value: str) -> None:
    file = os.open(leaf, os.O_RDONLY | os.O_CLOEXEC, dir_fd=where)  # a read-only /proc/sys may have the value already
    try:
        same = os.read(file, 256).decode().strip().replace("\t", " ") == value
    finally:
        os.close(file)
    if not same:
        file = os.open(leaf, os.O_WRONLY | os.O_CLOEXEC, dir_fd=where)
        try:
            os.write(file, value.encode())
        finally:
            os.close(file)


def lo_up() -> None:
    """Set the loopback up in the calling thread's namespace (SIOCSIFFLAGS, netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
