"""From a forked process to the program of a container: namespaces, root, limits of power, exec.

The process starts as real root and PID 1 of a new PID namespace. It joins the network namespace, makes its mount, UTS
and IPC namespaces and the root; waits until its shim has put it into its cgroups; makes the cgroup namespace and, last,
the user namespace, and waits for its map. All other namespaces so belong to the machine's user namespace: root of the
container has no power over them, whatever it manages to get. Ports below 1024 and ping are opened to it by the network
namespace's sysctls instead. Then it gives up what it must not have and executes the program.
"""

import os
import signal
from typing import Any

from . import rootfs
from . import syscalls as sys_

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD_MAX = 1 << 20
SYSCTLS = (
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", b"0"),
    ("/proc/sys/net/ipv4/ping_group_range", b"0 2147483647"),
)
NULL = os.makedev(1, 3)
ENOENT, EACCES, ENOTDIR = 2, 13, 20
Config = dict[str, Any]
Identity = tuple[int, int, list[int], str]


def contained(config: Config, sync: int) -> None:
    """Stage of PID 1 up to exec; `sync` is a socket to the shim. Returns only by an OSError."""
    sys_.new_session_keyring()
    _network(config)
    config["step"] = "namespaces"
    sys_.unshare(sys_.CLONE_NEWNS | sys_.CLONE_NEWUTS | sys_.CLONE_NEWIPC)
    sys_.mount("none", "/", None, sys_.MS_REC | sys_.MS_PRIVATE)
    sys_.sethostname(config["hostname"])
    users = rootfs.build(config)
    rootfs.change(config)
    who = identity(config)
    give_output(who, config["uid_base"])
    _await(sync, b"c")
    config["step"] = "namespaces"
    sys_.unshare(sys_.CLONE_NEWCGROUP)
    sys_.unshare(sys_.CLONE_NEWUSER)
    _await(sync, b"u")
    _last_of_its_kind(users)
    confine(config, who)


def _last_of_its_kind(users: int) -> None:
    """No user namespace within the container's: its maker would have every capability there (user_namespaces(7)).

    The limit is that of the opener's own user namespace, and only a capability bounded away next can raise it again.
    """
    limit = os.open("max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=users)
    os.close(users)  # or it could be the program's working directory, by way of /proc/self/fd
    os.write(limit, b"0")
    os.close(limit)


def on_host(config: Config, sync: int) -> None:
    """The same for a process of the machine: cgroups, user, directory, and nothing else."""
    os.setsid()
    if config["netns"]:
        _join_network(config)
    _await(sync, b"c")
    become(config, identity(config))


def _await(sync: int, stage: bytes) -> None:
    os.write(sync, stage)
    if not os.read(sync, 1):
        raise OSError(ENOENT, "the shim ended", "launch")


def _network(config: Config) -> None:
    if config["host_network"]:
        return  # and its sysctls are the machine's
    if config["netns"]:
        _join_network(config)
    else:
        config["step"] = "namespaces"
        sys_.unshare(sys_.CLONE_NEWNET)
    for path, value in SYSCTLS:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        os.write(fd, value)
        os.close(fd)


def _join_network(config: Config) -> None:
    config["step"] = "netns"
    namespace = os.open(config["netns"], os.O_RDONLY | os.O_CLOEXEC)
    sys_.setns(namespace, sys_.CLONE_NEWNET, f"join network namespace {config['netns']}")
    os.close(namespace)


def give_output(who: Identity, base: int) -> None:
    """Let the program open /dev/stdout and /dev/stderr again, whatever user it runs as."""
    for fd in (1, 2):
        os.fchown(fd, base + who[0], base + who[1])


def confine(config: Config, who: Identity) -> None:
    """The restrictions of a container's first process and of `exec`, then the program."""
    config["step"] = "capabilities"
    sys_.bound_capabilities(sys_.DEFAULT_CAPS)
    config["step"] = "user"
    uid, gid, groups, _ = who
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    sys_.limit_capabilities(frozenset() if uid else sys_.DEFAULT_CAPS)
    sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    _finish(config, who)


def become(config: Config, who: Identity) -> None:
    """A host process takes its user and runs the program."""
    uid, gid, groups, _ = who
    config["step"] = "user"
    if (uid, gid) != (0, 0):
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _finish(config, who)


def _finish(config: Config, who: Identity) -> None:
    # set after the last change of credentials, which clears it (prctl(2))
    sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL, "PDEATHSIG")
    config["step"] = "cwd"
    os.chdir(config["cwd"])
    if not os.getcwd().startswith("/"):
        raise OSError(EACCES, "it lies outside the container's root", config["cwd"])
    config["step"] = "exec"
    os.umask(0o022)
    reset_signals()
    _own_null()
    sys_.close_on_exec(3)
    run(config["argv"], {"PATH": PATH, "HOME": who[3], **config["env"]})


def _own_null() -> None:
    """The container's /dev/null as standard input; if something else stands there (a fifo would block for ever), it
    stays the machine's, as the launcher has it."""
    try:
        null = os.open("/dev/null", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    found = os.fstat(null)
    if found.st_mode & 0o170000 == 0o020000 and found.st_rdev == NULL:
        os.dup2(null, 0)


def reset_signals() -> None:
    """As a program expects them: Python ignores SIGPIPE and SIGXFSZ, and the launcher SIGCHLD."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def run(argv: list[str], env: dict[str, str]) -> None:
    """execve(2) along PATH; raises the OSError that tells most, with the path it is about."""
    name = argv[0]
    places = [name] if "/" in name else [f"{part or '.'}/{name}" for part in env["PATH"].split(":")]
    worst = OSError(ENOENT, "command not found", name)
    for place in places:
        try:
            os.execve(place, argv, env)
        except OSError as error:
            if error.errno not in (ENOENT, ENOTDIR):
                worst = OSError(error.errno, error.strerror, place)
                if error.errno != EACCES:
                    break
            elif os.path.exists(place):
                worst = OSError(EACCES, "the interpreter of its first line or its dynamic loader is missing", place)
    raise worst


def identity(config: Config) -> Identity:
    """uid, gid, supplementary groups and home of `uid[:gid]` or a name in the root's /etc/passwd."""
    config["step"] = "user"
    name, _, group = config["user"].partition(":")
    uid = gid = -1
    home = "/"
    for line in _lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) > 5 and name in (fields[0], fields[2]):
            uid, gid, home, name = int(fields[2]), int(fields[3]), fields[5] or "/", fields[0]
            break
    if uid < 0:
        if not name.isdigit():
            raise OSError(ENOENT, f"no user {name} in /etc/passwd", config["user"])
        uid, gid = int(name), int(name) if not group else 0
    entries = [fields for fields in (line.split(":") for line in _lines("/etc/group")) if len(fields) > 3]
    if group:
        gid = int(group) if group.isdigit() else _group(group, entries)
    limit = config["uid_range"]
    if uid >= limit or gid >= limit:
        raise OSError(ENOENT, f"uid or gid not below {limit}", config["user"])
    return uid, gid, [int(f[2]) for f in entries if name in f[3].split(",") and int(f[2]) < limit], home


def _group(name: str, entries: list[list[str]]) -> int:
    for fields in entries:
        if fields[0] == name:
            return int(fields[2])
    raise OSError(ENOENT, f"no group {name} in /etc/group", name)


def _lines(path: str) -> list[str]:
    """The lines of a regular file of at most 1 MiB; anything else (a FIFO would block for ever) has none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if os.fstat(fd).st_mode & 0o170000 != 0o100000:
            return []
        return os.read(fd, PASSWD_MAX).decode(errors="replace").splitlines()
    finally:
        os.close(fd)
