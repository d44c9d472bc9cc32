"""Where a node keeps its things. Pure names, no I/O, and cheap to import: the command line uses it on every
call.
"""

import os

DATA = "/var/lib/hawser"
RUN = "/run/hawser"


def socket_path() -> str:
    """The node's API socket: `HAWSER_SOCKET`, else the one of the machine's node."""
    return os.environ.get("HAWSER_SOCKET") or f"{RUN}/hawser.sock"
