"""`hawser apply`: every object of a file, at once."""

import sys
from typing import Any, TextIO

import click

from ..faults import Fault
from .common import as_json, client, show_json


@click.command()
@click.option("--file", "-f", "files", type=click.File(), multiple=True, help="YAML or JSON; - is standard input.")
@click.option("--dry-run", is_flag=True, help="Print the steps with their reasons; change nothing.")
@click.option("--prune", is_flag=True, help="Remove what an earlier apply of the same set declared and these do not.")
@click.option("--set", "owner", default="default", show_default=True, help="The set whose objects these are.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a document, and do nothing.")
@as_json
def apply(files: tuple[TextIO, ...], dry_run: bool, prune: bool, owner: str, schema: bool, json_: bool) -> None:
    """Make the tenants, networks, ports, routers, policies and floating addresses of files what they say."""
    if schema:
        from hawser.netd.objects.schema import schema as published

        show_json(published())
        return
    if not files:
        raise click.UsageError("give a file: -f FILE")
    carry_out(files, {"dry_run": dry_run, "prune": prune, "set": owner}, json_)


def carry_out(files: tuple[TextIO, ...], options: dict[str, Any], json_: bool) -> None:
    """Have the node apply files and tell the steps. Fault when one of them failed."""
    answer = client().post("/v1/apply", {"files": {file.name: _read(file) for file in files}, **options})
    steps = answer["steps"]
    if json_:
        show_json(answer)
    for step in () if json_ else steps:
        failed = " FAILED" if "error" in step else ""
        click.echo(f"{step['verb']} {step['kind']} {step['key']}: {step['reason']}{failed}")
    if not steps and not json_:
        click.echo(f"nothing to do: {answer['objects']} objects are as wanted")
    errors = [step["error"] for step in steps if "error" in step]
    if errors:
        sys.stdout.flush()
        words = "; ".join(error["message"] for error in errors)
        raise Fault(
            f"{len(errors)} of {len(steps)} steps failed: {words}; correct that and apply again", errors[0]["kind"]
        )


def _read(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        raise Fault(f"{file.name}: is no text", "usage") from None
