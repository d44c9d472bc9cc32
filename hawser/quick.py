"""`hawser ps` without an option parser: start-up is most of its time, and importing one would double it."""

import json
import sys

from .client import Client
from .faults import Fault
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
        print(json.dumps(containers, indent=2))
    elif "-q" in arguments or "--quiet" in arguments:
        print("\n".join(entry["id"] for entry in containers))
    else:
        print(render(PS_COLUMNS, ps_rows(containers)))
    return 0
