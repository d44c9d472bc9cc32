"""What a unit is: the meaning of its text, frozen. Times in seconds, sizes in bytes.

`Service` is the whole of one unit file. Specifiers are already replaced in it; variables of commands are not
(`prepare` does that, when the environment files have been read).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from . import words

NOTHING: Mapping[str, str] = MappingProxyType({})


class Type(StrEnum):
    """When a service counts as started: `simple` and `exec` once its program runs, `oneshot` once it has ended well."""

    SIMPLE = "simple"
    EXEC = "exec"
    ONESHOT = "oneshot"


class Restart(StrEnum):
    """After which ends a service is started again (systemd.service(5), Restart=): `on-success` a clean one,
    `on-failure` any other, `on-abnormal` a signal or a timeout, `on-abort` a signal that ended it, `always` any; after
    a stop that was ordered, never."""

    NO = "no"
    ON_SUCCESS = "on-success"
    ON_FAILURE = "on-failure"
    ON_ABNORMAL = "on-abnormal"
    ON_ABORT = "on-abort"
    ALWAYS = "always"


class Desired(StrEnum):
    """What an operator wants of a unit: kept only, given a machine, or running (fleet's target states)."""

    INACTIVE = "inactive"
    LOADED = "loaded"
    LAUNCHED = "launched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """One command: `ignore_failure` is the prefix `-`, `host` is `+`, `literal` (no variables) is `:`."""

    argv: tuple[str, ...]
    ignore_failure: bool = False
    host: bool = False
    literal: bool = False

    def __str__(self) -> str:
        return " ".join(words.quote(word) for word in self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFile:
    """A file of `KEY=VALUE` lines; a missing one fails the start unless `optional`."""

    path: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """[X-Fleet]: where a unit may run. `metadata` maps a key to the values that satisfy it (any of them)."""

    machine_id: str | None = None
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machine_of: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    is_global: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A host port that leads to a port of the unit; `host_ip` None is every address of the host."""

    host_port: int
    port: int
    proto: str = "tcp"
    host_ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A host path bound to an absolute path inside."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """[X-Container]: the image and its surroundings. Limits: None is no limit; `cpus` in cores."""

    image: str
    network: str = "default"
    tenant: str = "default"
    publish: tuple[Publish, ...] = ()
    addresses: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    user: str | None = None
    hostname: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """[X-Announce]: the service others find. `check` is `tcp`, `http:/path`, `ttl` or `exec:COMMAND`."""

    service: str
    port: int
    check: str = "tcp"
    interval: float = 2.0
    ttl: float = 10.0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Other units of the same machine: ordering, and what must be active for this one to start or to go on."""

    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    binds_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service unit; `hash` is the SHA-1 of its text. Timeouts may be infinite."""

    name: str
    hash: str
    exec_start: tuple[Exec, ...]
    description: str = ""
    exec_start_pre: tuple[Exec, ...] = ()
    exec_start_post: tuple[Exec, ...] = ()
    exec_stop: tuple[Exec, ...] = ()
    exec_stop_post: tuple[Exec, ...] = ()
    type: Type = Type.SIMPLE
    remain_after_exit: bool = False
    restart: Restart = Restart.NO
    restart_sec: float = 0.1
    start_limit_interval: float = 10.0
    start_limit_burst: int = 5
    timeout_start: float = 90.0
    timeout_stop: float = 90.0
    kill_signal: int = 15
    success_codes: frozenset[int] = frozenset({0})
    success_signals: frozenset[int] = frozenset()
    restart_prevent_codes: frozenset[int] = frozenset()
    restart_prevent_signals: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_files: tuple[EnvironmentFile, ...] = ()
    user: str | None = None
    working_directory: str | None = None
    dependencies: Dependencies = field(default_factory=Dependencies)
    fleet: Fleet = field(default_factory=Fleet)
    container: Container | None = None
    announce: Announce | None = None

    @property
    def command(self) -> Exec:
        """What to start: the first (after `prepare`, the only) ExecStart."""
        return self.exec_start[0]


def prepare(service: Service, index: int, files: Mapping[str, str] = NOTHING) -> Service:
    """The service with one ExecStart, its variables replaced; `files` (the environment files) win over Environment=."""
    environment = {**service.environment, **files}
    return replace(
        service,
        environment=environment,
        environment_files=(),
        exec_start=(arguments(service.exec_start[index], environment),),
    )


def arguments(command: Exec, environment: Mapping[str, str]) -> Exec:
    """The command with its variables replaced."""
    argv: Sequence[str] = command.argv
    return replace(command, argv=tuple(argv) if command.literal else words.expand(argv, environment))
