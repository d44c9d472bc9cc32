"""`hawser unit`: fleet's verbs over units."""

import time
from pathlib import Path
from typing import Any

import click

from ..client import segment
from ..faults import Fault
from . import complete
from .common import as_json, client, listing, show_json
from .container import follow_logs

VERBS = {
    "load": "Give the unit a machine without starting it.",
    "start": "Start the unit and keep it as its Restart= says.",
    "stop": "Stop the unit; it stays loaded.",
    "restart": "Stop and start the unit.",
    "unload": "Stop the unit and take it from its machine.",
    "destroy": "Stop the unit and forget it.",
}
# after `start` an inactive unit is one that has ended well, or one that no machine can take
SUBMITS = " A file that exists, or the template beside it, is submitted first."
DONE = {"stop": ("inactive", "failed")} | dict.fromkeys(("start", "restart"), ("active", "inactive", "failed"))


@click.group()
def unit() -> None:
    """Units."""


@unit.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def submit(files: tuple[str, ...]) -> None:
    """Submit unit files; the file's name is the unit's."""
    for file in files:
        _submit(file)


def _submit(file: str) -> str:
    """Submit a file under its own name."""
    return _put(Path(file).name, Path(file))


def _put(name: str, file: Path) -> str:
    client().put(f"/v1/units/{segment(name)}", {"text": file.read_text(errors="replace")})
    click.echo(name)
    return name


def _found(name: str) -> str:
    """The unit that an argument means: a file that exists (or its template beside it) is submitted first."""
    file = Path(name)
    prefix, at, instance = file.name.partition("@")
    if at and instance in ("", ".service"):
        raise Fault(f"{file.name} is a template; name an instance, such as {prefix}@1{instance}", "usage")
    if file.is_file():
        return _submit(name)
    template = file.with_name(f"{prefix}@.service")
    if at and template.is_file():
        return _put(file.name, template)
    return file.name if file.parent == Path() else name


def _verb(verb: str, help_: str) -> click.Command:
    @click.option("--wait", is_flag=True, help="Return when the unit has got there.")
    @click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds to wait.")
    @click.argument("names", nargs=-1, required=True)
    def command(names: tuple[str, ...], wait: bool, timeout: float) -> int:
        code = 0
        for name in names:
            name = _found(name) if verb in ("load", "start") else name
            client().post(f"/v1/units/{segment(name)}/{verb}")
            if wait and verb in DONE:
                code = max(code, _await(name, DONE[verb], timeout))
        return code

    return click.command(verb, help=f"{help_}{SUBMITS if verb in ('load', 'start') else ''}")(command)


def _await(name: str, states: tuple[str, ...], timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while True:
        status = client().get(f"/v1/units/{segment(name)}")
        if status["active"] in states:
            return 1 if status["active"] == "failed" else 0
        if time.monotonic() > deadline:
            raise Fault(
                f"unit {name} is {status['active']} ({status['sub']}) after {timeout:g} s; "
                f"see: hawser unit status {name}"
            )
        time.sleep(0.05)


for _name, _help in VERBS.items():
    unit.add_command(_verb(_name, _help))


@unit.command()
@as_json
def ls(json_: bool) -> None:
    """List units with their states."""
    units = client().get("/v1/units")
    columns = ("UNIT", "DESIRED", "MACHINE", "LOAD", "ACTIVE", "SUB")
    keys = ("name", "desired", "machine", "load", "active", "sub")
    listing(json_, units, columns, (tuple(entry.get(key) for key in keys) for entry in units))


@unit.command()
@click.argument("name", shell_complete=complete.units)
def cat(name: str) -> None:
    """The text of a unit."""
    click.echo(client().get(f"/v1/units/{segment(name)}/file")["text"], nl=False)


@unit.command()
@as_json
@click.argument("name", shell_complete=complete.units)
def status(name: str, json_: bool) -> None:
    """The state of a unit and why it is so."""
    document: dict[str, Any] = client().get(f"/v1/units/{segment(name)}")
    if json_:
        show_json(document)
        return
    for key, value in document.items():
        click.echo(f"{key:>12}: {'-' if value is None else value}")


@unit.command()
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the unit's process ends.")
@click.option("--tail", "-n", type=click.IntRange(0), default=10, show_default=True, help="Only the last N lines.")
@click.argument("name", shell_complete=complete.units)
def journal(name: str, follow: bool, tail: int) -> None:
    """What the unit's process printed."""
    follow_logs(name, follow, tail, True)
