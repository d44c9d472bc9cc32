"""`python -m bench [AREA…]`: run the figures, print them beside their peers, and record a full run in RESULTS.md.

Each area runs in a process of its own, so that none warms or loads another. A figure that misses its bound is printed
as such and makes the exit code 1; nothing here is a test, since a busy machine is no defect.
"""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from hawser.table import render

from .row import Row

AREAS = ("puts", "store", "kv", "attach", "start", "lab", "ps", "dns", "net")
RESULTS = Path(__file__).parent / "RESULTS.md"
COLUMNS = ("WHAT", "OURS", "PEER", "RATIO", "NEEDED", "HELD", "NOTE")


def main(arguments: list[str]) -> int:
    """Run areas, or with `--area NAME` one of them in this process, printing JSON."""
    if arguments[:1] == ["--area"]:
        print("\n" + json.dumps([asdict(row) for row in import_module(f"bench.{arguments[1]}").rows()]))
        return 0
    unknown = sorted(set(arguments) - set(AREAS))
    if unknown:
        print(f"bench: no area {', '.join(unknown)}; known: {', '.join(AREAS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = False
    for area in arguments or AREAS:
        print(f"==> {area}", flush=True)
        answer = subprocess.run([sys.executable, "-m", "bench", "--area", area], stdout=subprocess.PIPE, text=True)
        failed |= answer.returncode != 0
        if answer.returncode == 0:
            rows += [Row(**entry) for entry in json.loads(answer.stdout.strip().splitlines()[-1])]
    table = render(COLUMNS, map(cells, rows))
    print(f"\n{table}")
    if not arguments and not failed:
        record(rows)
    return 0 if rows and not failed and all(row.ok for row in rows) else 1


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table."""
    peer = f"{row.peer:,.4g} {row.unit} ({row.peer_name})" if row.peer is not None else ""
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    return row.what, f"{row.ours:,.4g} {row.unit}", peer, ratio, row.need, "yes" if row.ok else "NO", row.note


def record(rows: list[Row]) -> None:
    """Write RESULTS.md: the date, the machine, the command, the table."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"
    head = f"Measured {time.strftime('%Y-%m-%d', time.gmtime())} with `make bench` on {machine}, "
    head += f"Python {platform.python_version()}. Peer and floor were measured in the same run."
    lines = [
        "# Figures",
        "",
        head,
        "",
        "| " + " | ".join(column.lower() for column in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
