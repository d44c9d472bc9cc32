"""What a failure means to a caller: one kind, one exit code, one HTTP status.

Every package has its own error classes with an attribute `kind`; this table is the only place where kinds
become numbers. The exit codes are part of the command line's contract.
"""

EXIT = {"failed": 1, "usage": 2, "not-found": 3, "conflict": 4, "unavailable": 5, "denied": 6}
HTTP = {"failed": 500, "usage": 400, "not-found": 404, "conflict": 409, "unavailable": 503, "denied": 403}


class Fault(Exception):
    """An error of the node or the command line: one line (what, why, what to do) and its kind.

    `code` is an exit code of its own, as a shell gives for a program that cannot be run (126, 127).
    """

    def __init__(self, message: str, kind: str = "failed", code: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code

    @property
    def exit_code(self) -> int:
        """0 is never returned; unknown kinds count as plain failures."""
        return self.code or EXIT.get(self.kind, 1)


def kind_of(error: BaseException) -> str | None:
    """The kind an error carries, or None for one that nobody foresaw (a defect)."""
    kind = getattr(error, "kind", None)
    return kind if isinstance(kind, str) and kind in EXIT else None


def exit_code_of(error: BaseException) -> int:
    """The exit code an error means: its own, else its kind's."""
    own = getattr(error, "exit_code", None)
    return own if isinstance(own, int) and own > 0 else EXIT[kind_of(error) or "failed"]
