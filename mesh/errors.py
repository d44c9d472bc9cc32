"""What can go wrong in the mesh, by what the caller can do about it."""

from collections.abc import Sequence


class MeshError(Exception):
    """Base of the mesh's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(MeshError):
    """An announcement that makes no sense as written; the message has every problem, `problems` one by one, each
    beginning with its field's name."""

    kind = "usage"

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class NotFound(MeshError):
    """Nothing of that name is announced from this machine."""

    kind = "not-found"


class Conflict(MeshError):
    """Another machine announced that name."""

    kind = "conflict"
