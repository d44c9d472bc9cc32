"""Readers of single values: from the text after `=` to what the model holds. Each raises Malformed with the reason."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from typing import TypeVar

from . import values, words
from .model import EnvironmentFile, Exec, Publish, Restart, Type, Volume
from .words import Malformed

Specify = Callable[[str], str]
E = TypeVar("E", bound=StrEnum)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def commands(value: str, specify: Specify) -> list[Exec]:
    """Exec lines: several commands stand apart by a lone `;` (systemd.service(5), "Command lines")."""
    groups: list[list[str]] = [[]]
    for word, bare in words.scan(value):
        if bare and word == ";":
            groups.append([])
        else:
            groups[-1].append(word)
    if len(groups) > 1 and not groups[-1]:
        groups.pop()
    return [_command(group, specify) for group in groups]


def _command(group: Sequence[str], specify: Specify) -> Exec:
    if not group:
        raise Malformed("an empty command")
    first = group[0]
    program = first.lstrip("-+:@!")
    prefixes = first[: len(first) - len(program)]
    for prefix, meaning in (("@", "a program name of its own"), ("!", "partial privileges")):
        if prefix in prefixes:
            raise Malformed(f"prefix {prefix} ({meaning}) is not supported; remove it")
    program = specify(program)
    if not program:
        raise Malformed("a command without a program")
    if program.startswith("$") and ":" not in prefixes:
        raise Malformed(f"the program {program!r} may not be a variable")
    if "/" in program and not program.startswith("/"):
        raise Malformed(f"the program {program!r} is neither an absolute path nor a bare name")
    return Exec(
        argv=(program, *(specify(word) for word in group[1:])),
        ignore_failure="-" in prefixes,
        host="+" in prefixes,
        literal=":" in prefixes,
    )


def environment(value: str, specify: Specify) -> list[tuple[str, str]]:
    """`KEY=VALUE` words."""
    pairs = []
    for word in words.split(value):
        key, sep, text = specify(word).partition("=")
        if not sep or not _VARIABLE.fullmatch(key):
            raise Malformed(f"{word!r} is not VARIABLE=VALUE")
        pairs.append((key, text))
    return pairs


def environment_file(value: str, specify: Specify) -> list[EnvironmentFile]:
    """A path; `-` before it allows that the file is missing."""
    optional = value.startswith("-")
    return [EnvironmentFile(path=absolute(specify(value[optional:])), optional=optional)]


def statuses(value: str, specify: Specify) -> list[int]:
    """Exit codes as they are, signals negative."""
    found = []
    for word in words.split(value):
        if re.fullmatch(r"\d+", word, re.ASCII):
            found.append(values.integer(word, 0, 255))
        else:
            found.append(-values.signal(word))
    return found


def units(value: str, specify: Specify) -> list[str]:
    """Names of units, apart by blanks."""
    return [specify(word) for word in words.split(value)]


def choice(kind: type[E], refused: Mapping[str, str]) -> Callable[[str, Specify], E]:
    """A reader of one of an enum's values; `refused` says why others that systemd knows are not run."""

    def read(value: str, specify: Specify) -> E:
        if value in refused:
            raise Malformed(f"{value} is not supported: {refused[value]}")
        try:
            return kind(value)
        except ValueError:
            raise Malformed(f"{value!r} is none of {', '.join(kind)}") from None

    return read


_NO_NOTIFY = "this version reads no notifications; use exec"
service_type = choice(
    Type,
    {
        "forking": "a daemon must stay in the foreground; use exec",
        "notify": _NO_NOTIFY,
        "notify-reload": _NO_NOTIFY,
        "dbus": "there is no bus; use exec",
        "idle": "use simple",
    },
)
restart = choice(Restart, {"on-watchdog": "there is no watchdog; use on-failure"})


def absolute(path: str) -> str:
    """A path from the root, normalized; as systemd, none that climbs."""
    if not path.startswith("/") or "\0" in path:
        raise Malformed(f"path {path!r} is not absolute")
    if ".." in path.split("/"):
        raise Malformed(f"path {path!r} climbs; write it without ..")
    return posixpath.normpath("/" + path.lstrip("/"))


def label(value: str) -> str:
    """A DNS label: tenants, networks, services, host names."""
    if not _LABEL.fullmatch(value):
        raise Malformed(f"{value!r}: use 1-63 of a-z, 0-9 and '-'")
    return value


def address(value: str) -> str:
    """An IP address in its one form; an IPv4-mapped one (RFC 4291 §2.5.5.2) is IPv4."""
    try:
        found = ip_address(value)
    except ValueError:
        raise Malformed(f"{value!r} is no IP address") from None
    if isinstance(found, IPv4Address):
        return str(found)
    if found.scope_id is not None:
        raise Malformed(f"{value!r} has a scope id; leave out the % and what follows")
    return str(found.ipv4_mapped or found)


def host_address(value: str) -> str | None:
    """An address of the host; None (every one) for 0.0.0.0 and ::."""
    found = address(value)
    return None if ip_address(found).is_unspecified else found


def publish(value: str) -> Publish:
    """`[HOST_IP:]HOST:PORT[/proto]`; an IPv6 host address stands in brackets."""
    ports, _, proto = value.partition("/")
    match = re.fullmatch(r"(?:(\[[^\]]+\]|[^:\[\]]+):)?(\d+):(\d+)", ports, re.ASCII)
    if match is None or proto not in ("", "tcp", "udp"):
        raise Malformed(f"{value!r} is not [HOST_IP:]HOST:PORT[/tcp|udp]")
    return Publish(
        host_ip=host_address(match[1].strip("[]")) if match[1] else None,
        host_port=values.integer(match[2], 1, 65535),
        port=values.integer(match[3], 1, 65535),
        proto=proto or "tcp",
    )


def volume(value: str) -> Volume:
    """`SRC:DST[:ro]`."""
    source, *rest = value.split(":")
    if len(rest) not in (1, 2) or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
        raise Malformed(f"{value!r} is not SRC:DST[:ro]")
    return Volume(source=absolute(source), target=absolute(rest[0]), read_only=rest[1:] == ["ro"])


def check(value: str) -> str:
    """`tcp`, `ttl`, `http:/path`, `exec:COMMAND`."""
    kind, _, rest = value.partition(":")
    if (kind in ("tcp", "ttl") and value == kind) or (kind == "http" and rest.startswith("/")):
        return value
    if kind == "exec" and words.split(rest):
        return value
    raise Malformed(f"{value!r} is none of tcp, http:/path, ttl, exec:COMMAND")


def positive(value: str) -> float:
    """A time span above 0."""
    result = values.seconds(value)
    if not 0 < result < 1e9:
        raise Malformed(f"{value!r} is not a time above 0")
    return result


def timeout(value: str) -> float:
    """A time span; 0 is none at all (systemd.service(5))."""
    return values.seconds(value) or values.INFINITY


def pair(value: str) -> tuple[str, str]:
    """`KEY=VALUE`."""
    key, sep, text = value.partition("=")
    if not sep or not key:
        raise Malformed(f"{value!r} is not KEY=VALUE")
    return key, text


def each(read: Callable[[str], object]) -> Callable[[str, Specify], list[object]]:
    """A list reader of one item a line."""
    return lambda value, specify: [read(specify(value))]


def one(read: Callable[[str], object]) -> Callable[[str, Specify], object]:
    """A reader of a single value."""
    return lambda value, specify: read(specify(value))


def codes(found: Iterable[int]) -> frozenset[int]:
    """The exit codes among `statuses`."""
    return frozenset(code for code in found if code >= 0)


def signal_numbers(found: Iterable[int]) -> frozenset[int]:
    """The signals among `statuses`."""
    return frozenset(-code for code in found if code < 0)
