"""From a forked process to the program of a container: namespaces, root, limits of power, exec.

Two stages. The first is still root of the machine: it joins the cgroups and the network namespace, makes a private mount
namespace and builds the root in it (overlay, /dev, files of the node), so that no mount ever exists on the host; then it
enters new user, PID, UTS, IPC and mount namespaces. The second is PID 1: it mounts what belongs to its namespaces,
changes root (pivot_root(2)), gives up what it must not have, and executes the program. Network comes first because its
namespace belongs to the machine's user namespace, which is also why /sys is the machine's, read-only.
"""

import os
import signal
import stat
from typing import Any

from . import syscalls as sys_

DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEV_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx"))
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/latency_stats")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")
SAFE = sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
NEW = (
    sys_.CLONE_NEWUSER
    | sys_.CLONE_NEWPID
    | sys_.CLONE_NEWUTS
    | sys_.CLONE_NEWIPC
    | sys_.CLONE_NEWNS
    | sys_.CLONE_NEWCGROUP
)
Config = dict[str, Any]


def outside(config: Config) -> None:
    """Stage one, up to the new namespaces; runs as root of the machine."""
    for directory in config["cgroups"]:
        with open(f"{directory}/cgroup.procs", "w") as procs:
            procs.write("0")
    if config["netns"]:
        namespace = os.open(config["netns"], os.O_RDONLY | os.O_CLOEXEC)
        sys_.setns(namespace, sys_.CLONE_NEWNET, f"join network namespace {config['netns']}")
        os.close(namespace)
        sys_.unshare(sys_.CLONE_NEWNS)
    else:
        sys_.unshare(sys_.CLONE_NEWNS | sys_.CLONE_NEWNET)
    sys_.mount("none", "/", None, sys_.MS_REC | sys_.MS_PRIVATE)
    root = config["rootfs"]
    _overlay(config)
    _devices(root, config["uid_base"])
    sys_.mount("/sys", _directory(root, "/sys"), None, sys_.MS_BIND | sys_.MS_REC)
    sys_.mount("none", f"{root}/sys", None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | SAFE)
    for source, target, read_only in config["binds"]:
        _bind(root, source, target, read_only)


def enter() -> None:
    """The new namespaces; the caller then waits for its user map."""
    sys_.unshare(NEW)


def become_root() -> None:
    """Be root of the new user namespace."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def inside(config: Config) -> None:
    """Stage two, as PID 1 of the container, up to exec; returns only by an OSError."""
    sys_.sethostname(config["hostname"])
    root = config["rootfs"]
    sys_.mount("proc", _directory(root, "/proc"), "proc", SAFE)
    sys_.mount("mqueue", _directory(root, "/dev/mqueue"), "mqueue", SAFE)
    sys_.mount(root, root, None, sys_.MS_BIND | sys_.MS_REC)
    os.chdir(root)
    sys_.pivot_root(".", ".")
    sys_.umount(".", sys_.MNT_DETACH)
    os.chdir("/")
    _mask()
    if config["read_only"]:
        sys_.mount("none", "/", None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY)
    execute(config)


def execute(config: Config) -> None:
    """Give up power and run the program: the last steps of a container's first process and of `exec`."""
    sys_.bound_capabilities(sys_.DEFAULT_CAPS)
    uid, gid, groups, home = identity(config["user"])
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    if uid == 0:
        sys_.limit_capabilities(sys_.DEFAULT_CAPS)
    os.setresuid(uid, uid, uid)
    sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    os.chdir(config["cwd"])
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, **config["env"]}
    os.execvpe(config["argv"][0], config["argv"], env)


def identity(user: str) -> tuple[int, int, list[int], str]:
    """uid, gid, supplementary groups and home of `uid[:gid]` or a name in the container's /etc/passwd."""
    name, _, group = user.partition(":")
    for line in _lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) > 5 and name in (fields[0], fields[2]):
            uid, gid, home = int(fields[2]), int(fields[3]), fields[5]
            break
    else:
        if not name.isdigit():
            raise OSError(2, f"no user {name} in the image's /etc/passwd")
        uid, gid, home = int(name), int(name), "/"
    if group:
        gid = int(group) if group.isdigit() else _group(group)
    groups = [
        int(f[2]) for f in (line.split(":") for line in _lines("/etc/group")) if len(f) > 3 and name in f[3].split(",")
    ]
    return uid, gid, groups, home or "/"


def _group(name: str) -> int:
    for line in _lines("/etc/group"):
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise OSError(2, f"no group {name} in the image's /etc/group")


def _lines(path: str) -> list[str]:
    try:
        with open(path) as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []


def _overlay(config: Config) -> None:
    options = f"lowerdir={config['lower']},upperdir={config['upper']},workdir={config['work']}"
    sys_.mount("overlay", config["rootfs"], "overlay", 0, options)


def _devices(root: str, base: int) -> None:
    dev = _directory(root, "/dev")
    owner = f"uid={base},gid={base}"
    sys_.mount("tmpfs", dev, "tmpfs", sys_.MS_NOSUID, f"mode=755,size=64k,{owner}")
    os.umask(0)
    for name, major, minor in DEVICES:
        os.mknod(f"{dev}/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        os.chown(f"{dev}/{name}", base, base)
    for name, target in DEV_LINKS:
        os.symlink(target, f"{dev}/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{dev}/{name}", 0o755)
        os.chown(f"{dev}/{name}", base, base)
    sys_.mount(
        "devpts",
        f"{dev}/pts",
        "devpts",
        sys_.MS_NOSUID | sys_.MS_NOEXEC,
        f"newinstance,ptmxmode=0666,mode=620,uid={base},gid={base + 5}",
    )
    sys_.mount("shm", f"{dev}/shm", "tmpfs", SAFE, f"mode=1777,size=64m,{owner}")
    os.umask(0o022)


def _bind(root: str, source: str, target: str, read_only: bool) -> None:
    if os.path.isdir(source):
        place = _directory(root, target)
    else:
        place = f"{_directory(root, os.path.dirname(target))}/{os.path.basename(target)}"
        if os.path.islink(place):
            os.unlink(place)
        if not os.path.exists(place):
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    sys_.mount(source, place, None, sys_.MS_BIND | sys_.MS_REC)
    if read_only:
        sys_.mount("none", place, None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY)


def _directory(root: str, path: str) -> str:
    """A directory below the root, made where missing; a link on the way is an error, never followed out."""
    place = root
    for part in path.strip("/").split("/"):
        if not part:
            continue
        place = f"{place}/{part}"
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            os.mkdir(place, 0o755)
            continue
        if not stat.S_ISDIR(mode):
            raise OSError(20, f"{path} of the image is no directory")
    return place


def _mask() -> None:
    for path in MASKED:
        if os.path.exists(path):
            sys_.mount("/dev/null", path, None, sys_.MS_BIND)
    for path in READ_ONLY:
        if os.path.exists(path):
            sys_.mount(path, path, None, sys_.MS_BIND | sys_.MS_REC)
            sys_.mount("none", path, None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | SAFE)
