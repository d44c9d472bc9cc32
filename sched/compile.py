"""From the text of a unit to its meaning, with every problem at once.

A table says which keys each section knows, how a value is read and whether it repeats: the last of a single key
counts, a repeated one collects, and an empty assignment takes back what came before (systemd.syntax(7)). A key nobody
knows is refused with the nearest one; a key systemd acts on and this version does not is refused too, since a unit
that seems to be protected or limited and is not would be worse. [Install] and documentation keys change nothing and
are kept.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import fleet, readers, unitfile, values, words
from .errors import Invalid, Problem
from .model import NOTHING, Announce, Container, Dependencies, Fleet, Service, Type
from .names import Name, parse_name
from .readers import each, one
from .unitfile import Entry, UnitFile
from .unsupported import UNSUPPORTED
from .words import Malformed

Reader = Callable[[str, readers.Specify], Any]
HOST_SPECIFIERS = "Hm"
_NAMED = re.compile(r"\[([^\]]+)\] ([A-Za-z]+)=")


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is read; `field` empty: only kept."""

    field: str
    read: Reader
    many: bool = False


def _text(value: str) -> str:
    return value


KEPT = Key("", one(_text))
_DEPENDENCY = {
    "After": "after",
    "Before": "before",
    "Wants": "wants",
    "Requires": "requires",
    "BindsTo": "binds_to",
}
_UNIT = {
    "Description": Key("description", one(_text)),
    "Documentation": KEPT,
    "StartLimitIntervalSec": Key("start_limit_interval", one(values.seconds)),
    "StartLimitInterval": Key("start_limit_interval", one(values.seconds)),
    "StartLimitBurst": Key("start_limit_burst", one(partial(values.integer, low=0, high=1 << 20))),
    **{key: Key(name, readers.units, many=True) for key, name in _DEPENDENCY.items()},
}


def _only(*allowed: str) -> Reader:
    def read(value: str) -> str:
        if value not in allowed:
            raise Malformed(f"{value!r} is not supported; this version has {', '.join(allowed)}")
        return value

    return one(read)


_SERVICE = {
    "Type": Key("type", readers.service_type),
    "RemainAfterExit": Key("remain_after_exit", one(values.boolean)),
    "ExecStartPre": Key("exec_start_pre", readers.commands, many=True),
    "ExecStart": Key("exec_start", readers.commands, many=True),
    "ExecStartPost": Key("exec_start_post", readers.commands, many=True),
    "ExecStop": Key("exec_stop", readers.commands, many=True),
    "ExecStopPost": Key("exec_stop_post", readers.commands, many=True),
    "Restart": Key("restart", readers.restart),
    "RestartSec": Key("restart_sec", one(values.seconds)),
    "TimeoutSec": Key("timeout", one(readers.timeout)),
    "TimeoutStartSec": Key("timeout_start", one(readers.timeout)),
    "TimeoutStopSec": Key("timeout_stop", one(readers.timeout)),
    "KillSignal": Key("kill_signal", one(values.signal)),
    "KillMode": Key("", _only("control-group")),
    "SuccessExitStatus": Key("success", readers.statuses, many=True),
    "RestartPreventExitStatus": Key("prevent", readers.statuses, many=True),
    "Environment": Key("environment", readers.environment, many=True),
    "EnvironmentFile": Key("environment_files", readers.environment_file, many=True),
    "User": Key("user", one(_text)),
    "WorkingDirectory": Key("working_directory", one(readers.absolute)),
    "StartLimitInterval": _UNIT["StartLimitInterval"],
    "StartLimitBurst": _UNIT["StartLimitBurst"],
}
_CONTAINER = {
    "Image": Key("image", one(_text)),
    "Network": Key("network", one(readers.label)),
    "Tenant": Key("tenant", one(readers.label)),
    "Publish": Key("publish", each(readers.publish), many=True),
    "Address": Key("addresses", each(readers.address), many=True),
    "Volume": Key("volumes", each(readers.volume), many=True),
    "Memory": Key("memory", one(values.size)),
    "CPUs": Key("cpus", one(partial(values.number, low=0.001, high=4096))),
    "Pids": Key("pids", one(partial(values.integer, low=1, high=1 << 22))),
    "User": Key("user", one(_text)),
    "Hostname": Key("hostname", one(readers.label)),
    "ReadOnly": Key("read_only", one(values.boolean)),
}
_ANNOUNCE = {
    "Service": Key("service", one(readers.label)),
    "Port": Key("port", one(partial(values.integer, low=1, high=65535))),
    "Check": Key("check", one(readers.check)),
    "Interval": Key("interval", one(readers.positive)),
    "TTL": Key("ttl", one(readers.positive)),
    "Label": Key("labels", each(readers.pair), many=True),
}
_INSTALL = dict.fromkeys(("WantedBy", "RequiredBy", "Alias", "Also", "DefaultInstance"), KEPT)
SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "Unit": _UNIT,
    "Service": _SERVICE,
    "Install": _INSTALL,
    "X-Fleet": dict.fromkeys((*fleet.KEYS, *fleet.OLD), KEPT),
    "X-Container": _CONTAINER,
    "X-Announce": _ANNOUNCE,
}


def compile_unit(name: str, text: str, host: Mapping[str, str] = NOTHING) -> Service:
    """The meaning of a unit's text; `host` gives %H and %m, which stay as written without it. Invalid."""
    parsed = parse_name(name)
    file = unitfile.parse(text, name)
    problems: list[Problem] = []
    found = _read(file, {**parsed.specifiers(), **host}, problems)
    where, wrong = fleet.read(file.entries("X-Fleet"), parsed.specifiers())
    problems += wrong
    service = _service(parsed, text, found, where, problems)
    if problems or service is None:
        raise Invalid.of(name, problems)
    return service


def locate(text: str, problems: Iterable[str]) -> list[Problem]:
    """Problems that others found in a unit; one that begins with `[Section] Key=` gets the line of that key."""
    sections = unitfile.parse(text)
    found = []
    for problem in problems:
        named = _NAMED.match(problem)
        entries = [entry for entry in sections.entries(named[1]) if entry.key == named[2]] if named else []
        found.append(Problem(entries[-1].line if entries else 0, problem))
    return found


def _read(file: UnitFile, specifiers: Mapping[str, str], problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """Section → field → value."""
    found: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    specify = partial(words.specify, specifiers=specifiers, known=HOST_SPECIFIERS)
    for section in file.sections:
        if section.name not in SECTIONS:
            problems += _unknown_section(section.name, section.line)
            continue
        for entry in section.entries:
            key = SECTIONS[section.name].get(entry.key)
            if key is None:
                problems += _unknown_key(section.name, entry)
            elif key.field or key is not KEPT:
                try:
                    _assign(found[section.name], key, entry.value, specify)
                except Malformed as error:
                    problems.append(Problem(entry.line, f"[{section.name}] {entry.key}=: {error}"))
    return found


def _assign(fields: dict[str, Any], key: Key, value: str, specify: readers.Specify) -> None:
    if not value:
        fields.pop(key.field, None)
    elif key.many:
        fields[key.field] = [*fields.get(key.field, ()), *key.read(value, specify)]
    else:
        fields[key.field] = key.read(value, specify)


def _unknown_section(name: str, line: int) -> Iterator[Problem]:
    near = difflib.get_close_matches(name, SECTIONS, 1, 0.75)
    if near:
        yield Problem(line, f"unknown section [{name}]; did you mean [{near[0]}]?")
    elif not name.startswith("X-"):
        yield Problem(line, f"unknown section [{name}]; a service unit has {', '.join(f'[{s}]' for s in SECTIONS)}")


def _unknown_key(section: str, entry: Entry) -> Iterator[Problem]:
    if entry.key in UNSUPPORTED.get(section, frozenset()):
        yield Problem(entry.line, f"{entry.key}= in [{section}] is not acted on by this version; remove it")
        return
    if section in ("Unit", "Service", "Install") and entry.key.startswith("X-"):
        return
    home = next((other for other, keys in SECTIONS.items() if entry.key in keys), None)
    near = difflib.get_close_matches(entry.key, SECTIONS[section], 1, 0.5)
    if home:
        hint = f"it belongs in [{home}]"
    elif near:
        hint = f"did you mean {near[0]}=?"
    else:
        hint = f"[{section}] has {', '.join(sorted(SECTIONS[section]))}"
    yield Problem(entry.line, f"unknown key {entry.key}= in [{section}]; {hint}")


def _service(
    name: Name, text: str, found: Mapping[str, Mapping[str, Any]], where: Fleet, problems: list[Problem]
) -> Service | None:
    fields = {**found["Unit"], **found["Service"]}
    for list_ in ("exec_start", "exec_start_pre", "exec_start_post", "exec_stop", "exec_stop_post"):
        fields[list_] = tuple(fields.get(list_, ()))
    success, prevent = fields.pop("success", ()), fields.pop("prevent", ())
    timeout = fields.pop("timeout", None)
    oneshot = fields.get("type") is Type.ONESHOT
    fields.setdefault("timeout_start", timeout or (values.INFINITY if oneshot else 90.0))
    fields.setdefault("timeout_stop", timeout or 90.0)
    dependencies = {field: tuple(fields.pop(field, ())) for field in _DEPENDENCY.values()}
    fields["environment"] = dict(fields.get("environment", ()))
    fields["environment_files"] = tuple(fields.get("environment_files", ()))
    _check_commands(fields, problems)
    container = _container(found["X-Container"], problems)
    announce = _announce(name, found["X-Announce"], problems)
    if problems:
        return None
    return Service(
        name=name.full,
        hash=text_hash(text),
        success_codes=readers.codes(success) | {0},
        success_signals=readers.signal_numbers(success),
        restart_prevent_codes=readers.codes(prevent),
        restart_prevent_signals=readers.signal_numbers(prevent),
        dependencies=Dependencies(**dependencies),
        fleet=where,
        container=container,
        announce=announce,
        **fields,
    )


def _check_commands(fields: Mapping[str, Any], problems: list[Problem]) -> None:
    oneshot = fields.get("type") is Type.ONESHOT
    starts = len(fields["exec_start"])
    if not starts and not any(problem.text.startswith("[Service] ExecStart=:") for problem in problems):
        problems.append(Problem(0, "[Service] has no ExecStart=; say what to run"))
    if starts > 1 and not oneshot:
        several = f"[Service] has {starts} ExecStart= commands"
        problems.append(Problem(0, f"{several}; only Type=oneshot may have more than one"))
    if oneshot and fields.get("restart") in ("always", "on-success"):
        again = f"[Service] Restart={fields['restart']}"
        problems.append(Problem(0, f"{again} makes no sense with Type=oneshot; use on-failure"))


def _container(fields: Mapping[str, Any], problems: list[Problem]) -> Container | None:
    if not fields:
        return None
    if "image" not in fields:
        problems.append(Problem(0, "[X-Container] has no Image="))
        return None
    frozen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Container(**frozen)


def _announce(name: Name, fields: Mapping[str, Any], problems: list[Problem]) -> Announce | None:
    if not fields:
        return None
    if "port" not in fields:
        problems.append(Problem(0, "[X-Announce] has no Port="))
        return None
    service = fields.get("service")
    if service is None:
        try:
            service = readers.label(name.prefix)
        except Malformed as error:
            problems.append(Problem(0, f"[X-Announce] has no Service= and the unit's name is no service: {error}"))
            return None
    return Announce(**{**fields, "service": service, "labels": dict(fields.get("labels", ()))})


def text_hash(text: str) -> str:
    """The identity of a unit's text: SHA-1 in hex, as fleet's."""
    return hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
