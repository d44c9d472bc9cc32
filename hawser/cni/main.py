"""The command `hawser-cni`, as a runtime calls it: CNI_* variables, a network configuration on standard input, a result
or an error as JSON on standard output, exit code 0 or 1. It decides nothing: the node does, by its API.

Runtimes start it for every container and look at nothing else meanwhile, so it imports little.
"""

import json
import os
import socket
import sys
from typing import Any

from ..client import Client
from ..faults import Fault
from . import config, errors, namespace, result, verbs
from .errors import Failure, code_of

PATIENCE, SOON = 60.0, 5.0


def main() -> int:
    """Serve one call; the exit code."""
    text = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    try:
        answer = serve(text)
    except Failure as failure:
        return _say(result.error(config.version_of(text), failure), 1)
    return 0 if answer is None else _say(answer, 0)


def serve(text: bytes) -> dict[str, Any] | None:
    """The answer to one call, as the environment has it; Failure is all that it raises."""
    try:
        request = config.parse(os.environ, text)
        socket.setdefaulttimeout(SOON if request.command == "STATUS" else PATIENCE)
        return verbs.run(request, Client(request.config.socket), namespace)
    except Failure:
        raise
    except Fault as fault:
        raise Failure(code_of(fault.kind), str(fault)) from None
    except OSError as error:
        raise Failure(errors.AGAIN, f"the node does not answer ({error.strerror or error}); try again") from None
    except Exception as error:
        raise Failure(errors.DEFECT, f"unexpected {type(error).__name__}: {error}; report it") from error


def _say(document: dict[str, Any], code: int) -> int:
    try:
        print(json.dumps(document), flush=True)
    except OSError:  # nobody listens any more: it did not get its answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
