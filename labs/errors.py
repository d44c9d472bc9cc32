"""What can go wrong in labs, by what the caller can do about it."""


class LabError(Exception):
    """Base of the package's errors; `kind` decides the exit code."""

    kind = "failed"


class Invalid(LabError):
    """The topology, name or option makes no sense as written."""

    kind = "usage"


class NotFound(LabError):
    """No such lab or host."""

    kind = "not-found"


class Exists(LabError):
    """A lab of this name exists."""

    kind = "conflict"


class Conflict(LabError):
    """Not while somebody else works on the lab, or from inside of it."""

    kind = "conflict"


class Unavailable(LabError):
    """Not everything is gone yet; the message says what is left and who holds it."""

    kind = "unavailable"


class Denied(LabError):
    """The kernel refused for lack of rights."""

    kind = "denied"
