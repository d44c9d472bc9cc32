"""What a container is asked to be, and what became of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .errors import Invalid

REQUEST_MAX = 128 << 10
ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
HOSTNAME, HOSTNAME_MAX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"), 64
MIN_MEMORY = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`cpu` in cores, `memory` in bytes (swap included), `pids` processes and threads; None is no limit."""

    cpu: float | None = None
    memory: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A bind mount of a host path at an absolute path of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container; without an image a process of the machine, in its namespaces, with cgroups and log of its own.

    `netns` is the path of a network namespace (None: a new, empty one; without an image, the machine's); with
    `host_network` it is the machine's with an image, too.

    `user` is `uid[:gid]` or a name of the image's /etc/passwd. `dns` and `hosts` are the texts of /etc/resolv.conf and
    /etc/hosts. `stop_timeout` in seconds.
    """

    id: str
    image: str | None
    argv: tuple[str, ...]
    name: str = ""
    tenant: str = "default"
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    hostname: str = ""
    user: str = "0:0"
    netns: str | None = None
    limits: Limits = field(default_factory=Limits)
    mounts: tuple[Mount, ...] = ()
    dns: str | None = None
    hosts: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = 15
    stop_timeout: float = 10.0
    read_only: bool = False
    host_network: bool = False


class State(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How it ended: exit code (128 + signal when killed, as shells say it), and whether memory ran out."""

    code: int
    signal: int = 0
    oom: bool = False
    finished: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """A container as it is now; times in seconds since the epoch."""

    spec: ContainerSpec
    state: State
    created: float
    pid: int | None = None
    started: float | None = None
    exit: Exit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """The end of a command run in a container, and what it wrote (of each stream, the first MiB; `cut` says that there
    was more).

    `timed_out`: it was killed for being late, `code` is 124 as of timeout(1).
    """

    code: int
    stdout: bytes = b""
    stderr: bytes = b""
    cut: bool = False
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; `time` is RFC 3339 UTC, `stream` stdout or stderr."""

    time: str
    stream: str
    text: str


def command_problems(argv: Sequence[str], env: Mapping[str, str], user: str, cwd: str) -> list[str]:
    """Why a command cannot run as it is written, for a container's own and for `exec` in it."""
    problems = []
    texts = (*argv, *env, *env.values(), user, cwd)
    if not argv:
        problems.append("no command; give one")
    if any("\0" in text for text in texts):
        problems.append("a NUL byte in command, environment, user or directory")
    if any(not _is_bytes(text) for text in texts):
        problems.append("characters that are no text (lone surrogates) in command, environment, user or directory")
    size = sum(len(text.encode(errors="replace")) + 1 for text in texts)
    if size > REQUEST_MAX:
        problems.append(f"command and environment of {size} bytes; at most {REQUEST_MAX}")
    if any(not name or "=" in name for name in env):
        problems.append("an environment variable's name is empty or has a '='")
    if not user or ":" in user.partition(":")[2]:
        problems.append(f"user {user!r}: use UID, UID:GID, NAME or NAME:GROUP")
    if not cwd.startswith("/"):
        problems.append(f"working directory {cwd!r} is not absolute")
    return problems


def _is_bytes(text: str) -> bool:
    """Whether the text stands for bytes, as the kernel takes them; what is no UTF-8 is escaped (PEP 383)."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def check(spec: ContainerSpec) -> None:
    """Invalid, with every problem, for a spec that cannot run."""
    problems = [] if ID.fullmatch(spec.id) else [f"id {spec.id!r}: use 1-63 of a-z, 0-9, '.', '_' and '-'"]
    problems += command_problems(spec.argv, spec.env, spec.user, spec.cwd)
    if any("\0" in path for mount in spec.mounts for path in (mount.source, mount.target)):
        problems.append("a NUL byte in a mount")
    if len(spec.hostname) > HOSTNAME_MAX:
        problems.append(f"hostname of {len(spec.hostname)} characters; the kernel takes {HOSTNAME_MAX}")
    elif spec.hostname and not HOSTNAME.fullmatch(spec.hostname):
        problems.append(f"hostname {spec.hostname!r}: use letters, digits, '-', '_' and single dots")
    problems += [f"mount target {m.target!r} is not absolute" for m in spec.mounts if not m.target.startswith("/")]
    problems += [f"mount target {m.target!r} climbs" for m in spec.mounts if ".." in m.target.split("/")]
    problems += [f"mount target {m.target!r} is the root" for m in spec.mounts if not m.target.strip("/")]
    problems += [f"mount source {m.source!r} is not absolute" for m in spec.mounts if not m.source.startswith("/")]
    if spec.image is None and (spec.mounts or spec.hostname or spec.read_only):
        problems.append("mounts, hostname and read-only need an image: a host process has the machine's")
    if spec.host_network and spec.netns is not None:
        problems.append("the machine's network and another; give one of them")
    if spec.limits.cpu is not None and spec.limits.cpu < 0.01:
        problems.append(f"cpu limit {spec.limits.cpu}: give at least 0.01 cores")
    if spec.limits.memory is not None and spec.limits.memory < MIN_MEMORY:
        problems.append(f"memory limit {spec.limits.memory}: give at least {MIN_MEMORY >> 20} MiB")
    if spec.limits.pids is not None and spec.limits.pids < 1:
        problems.append(f"pids limit {spec.limits.pids}: give at least 1")
    if problems:
        raise Invalid(f"container {spec.name or spec.id}: " + "; ".join(problems))
