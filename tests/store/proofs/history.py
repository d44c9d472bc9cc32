"""The record of what clients did, kept in memory or in a file that survives the client's own death.

A file has one JSON line when an operation is invoked, before anything is sent, and one when its outcome is known; each
is handed to the kernel whole (one write), so a process that is killed loses nothing that it knew. An operation without
a second line has an unknown outcome. Several clients may share a file; several files, of processes on one machine, make
one history.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec import Struct

from .operations import Answer, Call, Client, Lost, Operation, Refused


class Invoked(Struct, frozen=True, tag="invoked"):
    """`number` is the operation's among those that are under way in the file."""

    number: int
    client: str
    call: Call
    at: float


class Answered(Struct, frozen=True, tag="answered"):
    number: int
    answer: Answer
    at: float


class Nothing(Struct, frozen=True, tag="nothing"):
    """It certainly had no effect."""

    number: int


Line = Invoked | Answered | Nothing


class History:
    """What happened, so far. With a `path` every line goes there too, after those that are there already."""

    def __init__(self, path: Path | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self.lines = list[Line]()
        self._now = now
        self._number = 0
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def invoked(self, client: str, call: Call) -> int:
        """A call is about to be sent; returns its number."""
        self._number += 1
        self._add(Invoked(self._number, client, call, self._now()))
        return self._number

    def answered(self, number: int, answer: Answer) -> None:
        self._add(Answered(number, answer, self._now()))

    def nothing(self, number: int) -> None:
        """The call certainly had no effect."""
        self._add(Nothing(number))

    async def perform(self, name: str, client: Client, call: Call) -> Answer | None:
        """One call, recorded; None when its outcome is unknown. Refused."""
        number = self.invoked(name, call)
        try:
            answer = await client.perform(call)
        except Refused:
            self.nothing(number)
            raise
        except Lost:
            return None
        self.answered(number, answer)
        return answer

    def operations(self) -> tuple[Operation, ...]:
        return tuple(operations(self.lines))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "History":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        if self._file is not None:
            text = msgspec.json.encode(line) + b"\n"
            if os.write(self._file, text) != len(text):
                raise OSError("the history's disk is full")


def operations(lines: Iterable[Line]) -> list[Operation]:
    """One file's operations, by invocation. A number that is invoked again is another process's: the first one's
    outcome stays unknown. ValueError for an outcome of nothing."""
    found = dict[int, Operation | None]()
    pending = dict[int, int]()
    for place, line in enumerate(lines):
        if isinstance(line, Invoked):
            pending[line.number] = place
            found[place] = Operation(line.client, line.call, line.at)
            continue
        if line.number not in pending:
            raise ValueError(f"line {place + 1} ends an operation that never began: {line}")
        begun = pending.pop(line.number)
        operation = found[begun]
        if operation is not None and isinstance(line, Answered):
            found[begun] = msgspec.structs.replace(operation, answer=line.answer, returned=line.at)
        else:
            del found[begun]
    return sorted((op for op in found.values() if op is not None), key=lambda op: op.invoked)


def load(path: Path) -> list[Operation]:
    """The operations of a file; a line cut short at its end is left out. ValueError names a line that is not one."""
    lines = list[Line]()
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    for number, text in enumerate(whole.splitlines(), 1):
        try:
            lines.append(msgspec.json.decode(text, type=Line))
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return operations(lines)


def merge(histories: Iterable[Iterable[Operation]]) -> list[Operation]:
    """One history of several processes', by invocation."""
    return sorted((op for history in histories for op in history), key=lambda op: op.invoked)
