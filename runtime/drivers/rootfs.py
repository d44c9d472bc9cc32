"""The root of a container, built in its own mount namespace: no mount of ours ever exists on the host.

An overlay of the image's layer and the container's own, a fresh /dev, a sysfs of the container's network, the caller's
bind mounts, proc; then pivot_root(2), and what tells too much about the machine is masked. Places below the root are
opened part by part without following links, and mounted on through the descriptor: a volume that somebody changes
meanwhile cannot move a mount elsewhere (the class of CVE-2021-30465 and CVE-2024-45310).
"""

import errno
import os
import stat
from typing import Any

from . import syscalls as sys_

DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEV_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx"))
MASKED = (
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/latency_stats",
    "/proc/interrupts",
    "/proc/acpi",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SAFE = sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Config = dict[str, Any]


def build(config: Config) -> int:
    """Mount everything below `config["root"]`; the caller is real root in a private mount namespace.

    Returns a descriptor of /proc/sys/user as it is below the read-only mount over it.
    """
    root, base = config["root"], config["uid_base"]
    config["step"] = "overlay"
    layers = f"lowerdir={escape(config['lower'])},upperdir={escape(config['upper'])},workdir={escape(config['work'])}"
    sys_.mount("overlay", root, "overlay", sys_.MS_NODEV, layers)
    config["step"] = "root"
    top = os.open(root, FOLDER)
    _devices(root, top, base)
    _mount_on(top, "/sys", "sysfs", SAFE | sys_.MS_RDONLY)
    _mount_on(top, "/proc", "proc", SAFE)
    users = os.open(f"{root}/proc/sys/user", FOLDER)
    _mask(root)
    config["step"] = "bind"
    for source, target, read_only in config["binds"]:
        _bind(top, source, target, read_only)
    os.close(top)
    return users


def change(config: Config) -> None:
    """Make it the root of this mount namespace; nothing of the host's tree is reachable afterwards."""
    config["step"] = "root"
    os.chdir(config["root"])
    sys_.pivot_root(".", ".")
    sys_.umount(".", sys_.MNT_DETACH)
    os.chdir("/")
    if config["read_only"]:
        flags = sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | sys_.MS_NODEV
        sys_.mount("none", "/", None, flags)


def escape(path: str) -> str:
    """A path as an overlay option takes it (overlayfs.rst: colons and commas are separators)."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _devices(root: str, top: int, base: int) -> None:
    owner = f"uid={base},gid={base}"
    _mount_on(top, "/dev", "tmpfs", sys_.MS_NOSUID | sys_.MS_NOEXEC, f"mode=755,size=64k,{owner}")
    dev = os.open("dev", FOLDER, dir_fd=top)
    mask = os.umask(0)
    for name, major, minor in DEVICES:
        os.mknod(name, 0o666 | stat.S_IFCHR, os.makedev(major, minor), dir_fd=dev)
        os.chown(name, base, base, dir_fd=dev)
    for name, target in DEV_LINKS:
        os.symlink(target, name, dir_fd=dev)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
    os.umask(mask)
    os.close(dev)
    ids = f"newinstance,ptmxmode=0666,mode=620,uid={base},gid={base + 5}"
    sys_.mount("devpts", f"{root}/dev/pts", "devpts", sys_.MS_NOSUID | sys_.MS_NOEXEC, ids)
    sys_.mount("shm", f"{root}/dev/shm", "tmpfs", SAFE, f"mode=1777,size=64m,{owner}")
    sys_.mount("mqueue", f"{root}/dev/mqueue", "mqueue", SAFE)


def _mount_on(top: int, path: str, kind: str, flags: int, options: str | None = None) -> None:
    place = folder(top, path)
    try:
        sys_.mount(kind, f"/proc/self/fd/{place}", kind, flags, options)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"mount {kind} at {path}") from None
    finally:
        os.close(place)


def folder(top: int, path: str) -> int:
    """A descriptor of a directory below `top`, made where missing; a link on the way is an error, never followed."""
    place = os.dup(top)
    for part in path.split("/"):
        if not part:
            continue
        try:
            try:
                inner = os.open(part, FOLDER, dir_fd=place)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=place)
                inner = os.open(part, FOLDER, dir_fd=place)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise OSError(error.errno, "a link or a file stands where a directory is needed", path) from None
            raise
        finally:
            os.close(place)
        place = inner
    return place


def _bind(top: int, source: str, target: str, read_only: bool) -> None:
    origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(origin).st_mode):
        place = folder(top, target)
    else:
        place = _file(top, target)
    sys_.mount(f"/proc/self/fd/{origin}", f"/proc/self/fd/{place}", None, sys_.MS_BIND | sys_.MS_REC)
    os.close(place)
    parent, _, name = target.rstrip("/").rpartition("/")
    holder = folder(top, parent)
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=holder)
    sys_.restrict_mount(place, sys_.ATTR_NOSUID | sys_.ATTR_NODEV | (sys_.ATTR_RDONLY if read_only else 0))
    for fd in (place, holder, origin):
        os.close(fd)


def _file(top: int, target: str) -> int:
    """A regular file to mount on; what is no file (a link to the host's resolver, say) is replaced."""
    parent, _, name = target.rstrip("/").rpartition("/")
    holder = folder(top, parent)
    try:
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=holder)
        if stat.S_ISLNK(os.fstat(place).st_mode):
            os.close(place)
            os.unlink(name, dir_fd=holder)
            raise FileNotFoundError
    except FileNotFoundError:
        place = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=holder)
    os.close(holder)
    return place


def _mask(root: str) -> None:
    """Masks and read-only parts (runtime-spec, `maskedPaths` and `readonlyPaths`); /proc and /sys are ours by now."""
    empty = ""
    for path in MASKED:
        place = root + path
        try:
            directory = stat.S_ISDIR(os.lstat(place).st_mode)
        except FileNotFoundError:
            continue
        if not directory:
            sys_.mount(f"{root}/dev/null", place, None, sys_.MS_BIND)
        elif empty:
            sys_.mount(empty, place, None, sys_.MS_BIND)
        else:
            sys_.mount("tmpfs", place, "tmpfs", SAFE | sys_.MS_RDONLY, "size=4k,mode=555")
            empty = place
    for path in READ_ONLY:
        place = root + path
        if os.path.exists(place):
            sys_.mount(place, place, None, sys_.MS_BIND | sys_.MS_REC)
            sys_.mount("none", place, None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | SAFE)
