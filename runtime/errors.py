"""What can go wrong in the runtime, by what the caller can do about it."""


class RuntimeFault(Exception):
    """Base of the runtime's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(RuntimeFault):
    """The request makes no sense as written."""

    kind = "usage"


class NotRunnable(Invalid):
    """The program cannot be executed; `exit_code` as shells say it: 127 it does not exist, 126 it is no program."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFound(RuntimeFault):
    """No such image or container."""

    kind = "not-found"


class Conflict(RuntimeFault):
    """In use, or in the wrong state for this."""

    kind = "conflict"


class Unavailable(RuntimeFault):
    """Not now: disk full, or the kernel lacks a part."""

    kind = "unavailable"


class Denied(RuntimeFault):
    """The caller's rights do not reach."""

    kind = "denied"
