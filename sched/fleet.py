"""[X-Fleet] as fleet reads it (coreos/fleet job/job.go), minus one trap.

Of several MachineID only the first counts; MachineMetadata with the same key is a choice, with different keys all must
hold; MachineOf names are exact and all must be here; Conflicts and Replaces are globs of Go's path.Match, split at
blanks; of Global the last counts. Only %n %N %p %i are replaced, everywhere, and `%%` stays. fleet silently loses a
MachineMetadata that is not `key=value`; here it is refused.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from .errors import Problem
from .model import Fleet
from .unitfile import Entry
from .words import Malformed

TRUTHY = ("true", "yes", "1", "on", "t")
OLD = {
    "X-ConditionMachineID": "MachineID",
    "X-ConditionMachineOf": "MachineOf",
    "X-ConditionMachineMetadata": "MachineMetadata",
    "X-Conflicts": "Conflicts",
}
KEYS = ("MachineID", "MachineMetadata", "MachineOf", "Conflicts", "Global", "Replaces")


def read(entries: Sequence[Entry], specifiers: Mapping[str, str]) -> tuple[Fleet, list[Problem]]:
    """The section's meaning; unknown keys are the caller's."""
    found: dict[str, list[tuple[int, str]]] = {key: [] for key in KEYS}
    for entry in entries:
        key = OLD.get(entry.key, entry.key)
        if key in found:
            found[key] += [(entry.line, _replace(value, specifiers)) for value in _values(entry.value)]
    problems: list[Problem] = []
    fleet = Fleet(
        machine_id=next((value for _, value in found["MachineID"] if value), None),
        metadata=_metadata(found["MachineMetadata"], problems),
        machine_of=tuple(value for _, value in found["MachineOf"] if value),
        conflicts=_globs(found["Conflicts"], problems),
        replaces=_globs(found["Replaces"], problems),
        is_global=bool(found["Global"]) and found["Global"][-1][1].lower() in TRUTHY,
    )
    lines = {key: values[0][0] for key, values in found.items() if values}
    problems += _together(fleet, lines)
    return fleet, problems


def _together(fleet: Fleet, lines: Mapping[str, int]) -> list[Problem]:
    if fleet.is_global:
        bad = [key for key in ("MachineID", "MachineOf", "Replaces") if key in lines]
        return [Problem(lines[key], f"[X-Fleet] {key}= makes no sense with Global=true; remove one") for key in bad]
    if fleet.replaces and fleet.conflicts:
        return [Problem(lines["Replaces"], "[X-Fleet] Replaces= makes no sense with Conflicts=; remove one")]
    return []


def _values(value: str) -> list[str]:
    """A value wholly in double quotes may hold several: `"a=b" "c=d"`."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].split('" "')
    return [value]


def _replace(value: str, specifiers: Mapping[str, str]) -> str:
    for letter in "nNpi":
        value = value.replace(f"%{letter}", specifiers.get(letter, ""))
    return value


def _metadata(found: Sequence[tuple[int, str]], problems: list[Problem]) -> Mapping[str, tuple[str, ...]]:
    wanted: dict[str, tuple[str, ...]] = {}
    for line, value in found:
        parts = value.split("=")
        if len(parts) != 2 or not all(parts):
            problems.append(Problem(line, f"[X-Fleet] MachineMetadata={value}: write key=value, with one '='"))
        else:
            wanted[parts[0]] = (*wanted.get(parts[0], ()), parts[1])
    return wanted


def _globs(found: Sequence[tuple[int, str]], problems: list[Problem]) -> tuple[str, ...]:
    globs = []
    for line, value in found:
        for glob in value.split():
            try:
                pattern(glob)
            except Malformed as error:
                problems.append(Problem(line, f"[X-Fleet] {error}"))
            else:
                globs.append(glob)
    return tuple(globs)


@lru_cache(maxsize=4096)
def pattern(glob: str) -> "re.Pattern[str]":
    """Go's path.Match as a regular expression: `*`, `?`, `[a-z]`, `[^a]`, `\\` before a character."""
    out, at = [], 0
    while at < len(glob):
        char = glob[at]
        if char == "[":
            end = glob.find("]", at + 3 if glob[at + 1 : at + 2] == "^" else at + 2)
            if end < 0:
                raise Malformed(f"glob {glob!r}: a [ is never closed")
            inner = glob[at + 1 : end]
            negated = inner.startswith("^")
            body = re.escape(inner[negated:]).replace(r"\-", "-").replace(r"\\", "\\")
            out.append(f"[{'^' * negated}{body}]")
            at = end + 1
            continue
        if char == "\\":
            at += 1
            if at == len(glob):
                raise Malformed(f"glob {glob!r} ends in a backslash")
            out.append(re.escape(glob[at]))
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char))
        at += 1
    try:
        return re.compile("".join(out))
    except re.error as error:
        raise Malformed(f"glob {glob!r}: {error}") from None


def matches(globs: Sequence[str], name: str) -> bool:
    """Whether any glob matches the whole name."""
    return any(pattern(glob).fullmatch(name) for glob in globs)
