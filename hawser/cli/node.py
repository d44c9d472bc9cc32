"""`hawser node`: the node process; `hawser plan`: what it would do next."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from .. import paths
from ..faults import Fault
from .common import as_json, client, listing, show_json

PATIENCE = 10.0


@click.group()
def node() -> None:
    """The node process."""


@node.command()
@click.option("--data", type=click.Path(file_okay=False), default=paths.DATA, show_default=True, help="Durable state.")
@click.option(
    "--run",
    type=click.Path(file_okay=False),
    default=paths.RUN,
    show_default=True,
    help="State until reboot.",
)
def up(data: str, run: str) -> int:
    """Run the node in the foreground until SIGTERM or SIGINT; containers go on without it."""
    from ..node import Config
    from ..serve import serve

    socket = click.get_current_context().find_root().obj["socket"] or f"{run}/hawser.sock"
    return serve(Config(data=Path(data), run=Path(run), socket=Path(socket)))


@node.command()
@click.option("--wait", is_flag=True, help="Wait until the node answers, at most 10 seconds.")
@as_json
def status(wait: bool, json_: bool) -> None:
    """What runs here: identity, counts, pending work, failures."""
    document = _patiently() if wait else client().get("/v1/status")
    if json_:
        show_json(document)
        return
    for key, value in document.items():
        click.echo(f"{key:>12}: {value}")


def _patiently() -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client().get("/v1/status")
        except Fault as fault:
            if fault.kind != "unavailable" or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@node.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def leave(yes: bool) -> None:
    """Stop every container and unit of this node, remove all it made, and end the process."""
    if not yes:
        click.confirm("Stop and remove every container, unit and network of this node?", abort=True)
    client().post("/v1/leave")


@node.command()
def unit() -> None:
    """Print a systemd unit that runs the node: hawser node unit > /etc/systemd/system/hawser.service"""
    from importlib.resources import files
    from shutil import which

    command = which("hawser") or f"{sys.executable} -m hawser.main"
    text = files("hawser").joinpath("data", "hawser.service").read_text()
    click.echo(text.replace("@HAWSER@", command), nl=False)


@click.command()
@as_json
@click.argument("area", required=False, type=click.Choice(["netd", "sched", "runtime"]))
def plan(area: str | None, json_: bool) -> None:
    """Pending steps with their reasons; changes nothing. Empty when the world is as wanted."""
    steps = client().get("/v1/plan", area=area)
    rows = [(step["area"], step["verb"], step["key"], step["reason"]) for step in steps]
    listing(json_, steps, ("AREA", "VERB", "KEY", "REASON"), rows)
