"""What can go wrong in the mesh, by what the caller can do about it."""


class MeshError(Exception):
    """Base of the mesh's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(MeshError):
    """An announcement that makes no sense as written; the message has every problem."""

    kind = "usage"


class NotFound(MeshError):
    """Nothing of that name is announced from this machine."""

    kind = "not-found"


class Conflict(MeshError):
    """Another machine announced that name."""

    kind = "conflict"
