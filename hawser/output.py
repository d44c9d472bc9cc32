"""The end of a command's output: what could not be written is said in one line, once."""

import os
import sys


def settle(code: int) -> int:
    """Flush standard output; the exit code. A reader that has gone is no failure to talk about."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # or the interpreter would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if code == 0 and not isinstance(error, BrokenPipeError):
            print(f"hawser: the output cannot be written: {error.strerror}", file=sys.stderr)
        return code or 1
    return code
