"""What a runtime is told of a failure: a code and one line (CNI specification 1.1.0, "Error")."""

VERSION, FIELD, UNKNOWN, ENVIRONMENT, IO, DECODE, CONFIG = range(1, 8)
AGAIN, UNAVAILABLE, LIMITED = 11, 50, 51
# from 100 on they are the plugin's own
CONFLICT, DENIED, FAILED, BROKEN, DEFECT = 100, 101, 102, 103, 999
CODES = {"usage": CONFIG, "not-found": CONFIG, "conflict": CONFLICT, "unavailable": AGAIN, "denied": DENIED}


class Failure(Exception):
    """The verb failed; `code` is one of this module's, the text is one line: what, why, what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def code_of(kind: str) -> int:
    """The code of a kind of the node's errors (hawser.faults)."""
    return CODES.get(kind, FAILED)
