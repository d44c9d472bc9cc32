"""`hawser check`."""

from dataclasses import asdict

import click

from ..check import findings
from .common import as_json, listing


@click.command()
@as_json
def check(json_: bool) -> int:
    """What this machine can do, part by part, and what is missing. Ends with 1 when something required is."""
    found = list(findings())
    rows = [(f.part, "no" if f.missing else "yes", f.used_for, f.missing or f.found) for f in found]
    listing(json_, [asdict(f) for f in found], ("PART", "WORKS", "USED FOR", "WHAT TO DO, OR WHAT THERE IS"), rows)
    return 1 if any(f.required and f.missing for f in found) else 0
