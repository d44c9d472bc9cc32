"""The grammar of unit files: sections of assignments, nothing about their meaning (systemd.syntax(7)).

A line ending in an odd number of backslashes goes on in the next line that is not a comment, joined by a blank; lines
beginning with `#` or `;` are comments, also between continued lines. Keys may repeat and sections may repeat; both are
kept as written. `parse` reports every problem of a text at once. `parse(format(x)) == x`: where an entry stood is not
part of its identity.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import Invalid, Problem

BLANK = " \t\n\r"
COMMENT = "#;"
_NEWLINE = re.compile(r"\r\n|\n\r|\n|\r")
MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """`key=value` at `line` (from 1)."""

    key: str
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Section:
    """One `[name]` and the assignments up to the next."""

    name: str
    entries: tuple[Entry, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A text as its sections, in order."""

    sections: tuple[Section, ...] = ()

    def entries(self, section: str) -> tuple[Entry, ...]:
        """Every assignment of a section, through all its repetitions."""
        return tuple(entry for found in self.sections if found.name == section for entry in found.entries)


def parse(text: str, name: str = "unit file") -> UnitFile:
    """Read a text; Invalid with every problem of the grammar."""
    if len(text) > MAX_TEXT:
        raise Invalid(f"{name}: {len(text)} characters; a unit file may have {MAX_TEXT}")
    sections: list[tuple[str, int, list[Entry]]] = []
    problems: list[Problem] = []
    for number, line in _logical(text):
        if "\0" in line:
            problems.append(Problem(number, "a NUL byte"))
        elif line.startswith("["):
            if len(line) < 3 or not line.endswith("]"):
                problems.append(Problem(number, f"section header {line!r} is not [Name]"))
            sections.append((line[1:-1], number, []))
        elif "=" not in line:
            problems.append(Problem(number, f"{_short(line)!r} is not KEY=VALUE"))
        elif not sections:
            problems.append(Problem(number, f"{_short(line)!r} stands before any [Section]"))
        else:
            key, _, value = line.partition("=")
            if not key.strip(BLANK):
                problems.append(Problem(number, "an assignment without a key"))
            sections[-1][2].append(Entry(key.strip(BLANK), value.strip(BLANK), number))
    if problems:
        raise Invalid.of(name, problems)
    return UnitFile(tuple(Section(title, tuple(entries), line) for title, line, entries in sections))


def format(file: UnitFile) -> str:
    """The text of a file; Invalid for names and values that no text can hold, such as line breaks."""
    blocks = []
    for section in file.sections:
        lines = [f"[{section.name}]", *(_line(entry) for entry in section.entries)]
        blocks.append("\n".join(lines) + "\n")
    text = "\n".join(blocks)
    try:
        same = parse(text) == file
    except Invalid:
        same = False
    if not same:
        raise Invalid("this unit file cannot be written: a name or value has a line break, a NUL or blanks around it")
    return text


def _line(entry: Entry) -> str:
    """A blank after a backslash keeps it from joining the next line."""
    return f"{entry.key}={entry.value}" + (" " if entry.value.endswith("\\") else "")


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines with continuations joined, without comments and empty ones, each with the number where it began."""
    held, begun = "", 0
    for number, raw in enumerate(_NEWLINE.split(text.removeprefix("\ufeff")), 1):
        line = raw.lstrip(BLANK)
        if line[:1] and line[0] in COMMENT:
            continue
        joined = held + line
        begun = begun or number
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            held = joined[:-1] + " "
            continue
        if joined.strip(BLANK):
            yield begun, joined.strip(BLANK)
        held, begun = "", 0
    if held.strip(BLANK):
        yield begun, held.strip(BLANK)


def _short(line: str) -> str:
    return line if len(line) <= 40 else line[:37] + "..."
