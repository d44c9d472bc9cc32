"""What can go wrong in the scheduler, by what the caller can do about it."""

from collections.abc import Sequence
from dataclasses import dataclass


class SchedError(Exception):
    """Base of the scheduler's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a text; `line` from 1, or 0 when it is about the whole."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


class Invalid(SchedError):
    """The request makes no sense as written; `problems` has every reason."""

    kind = "usage"

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, name: str, problems: Sequence[Problem]) -> "Invalid":
        """Every problem of `name` in one line, in the order of the text."""
        ordered = sorted(problems, key=lambda problem: problem.line)
        return cls(f"{name}: " + "; ".join(str(problem) for problem in ordered), ordered)


class NotFound(SchedError):
    """No such unit."""

    kind = "not-found"


class Conflict(SchedError):
    """Not in the state this needs."""

    kind = "conflict"
