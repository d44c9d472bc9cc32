"""`hawser ps` without an option parser: start-up is most of its time, and importing one would double it."""

import json
import sys

from .client import Client
from .faults import Fault
from .output import settle
from .table import PS_COLUMNS, ps_rows, render

KNOWN = {"-a", "--all", "--json", "-q", "--quiet"}


def ps(arguments: list[str]) -> int | None:
    """List containers; None when an argument needs the full command line (help, filters, mistakes)."""
    if not KNOWN.issuperset(arguments):
        return None
    try:
        containers = Client().get("/v1/containers", all=int("-a" in arguments or "--all" in arguments))
    except Fault as fault:
        print(f"hawser: {fault}", file=sys.stderr)
        return fault.exit_code
    if "--json" in arguments:
        return _say(json.dumps(containers, indent=2))
    if "-q" in arguments or "--quiet" in arguments:
        return _say("\n".join(entry["id"] for entry in containers))
    return _say(render(PS_COLUMNS, ps_rows(containers)))


def _say(text: str) -> int:
    """Print; the exit code."""
    try:
        print(text)
    except BrokenPipeError:
        return settle(1)
    return settle(0)
