"""`hawser image`: root file systems that containers run on."""

import sys
import time
from pathlib import Path

import click

from ..client import segment
from . import complete
from .common import as_json, client, listing, show_json


@click.group()
def image() -> None:
    """Images."""


@image.command("import")
@click.argument("tarball", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("name")
def import_(tarball: str, name: str) -> None:
    """Import the root file system TARBALL (`-`: standard input) as image NAME."""
    if tarball == "-":
        click.echo(client().upload("/v1/images", sys.stdin.buffer, name=name)["id"])
        return
    with Path(tarball).open("rb") as source:
        click.echo(client().upload("/v1/images", source, name=name)["id"])


@image.command()
@as_json
def ls(json_: bool) -> None:
    """List images."""
    images = client().get("/v1/images")
    rows = ((i["name"], i["id"][:12], f"{i['size'] / 1e6:.1f} MB", _time(i["created"])) for i in images)
    listing(json_, images, ("NAME", "ID", "SIZE", "CREATED"), rows)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


@image.command()
@click.argument("name", shell_complete=complete.images)
def show(name: str) -> None:
    """One image, as JSON."""
    show_json(client().get(f"/v1/images/{segment(name)}"))


@image.command()
@click.argument("names", nargs=-1, required=True, shell_complete=complete.images)
def rm(names: tuple[str, ...]) -> None:
    """Remove images that no container uses."""
    for name in names:
        client().delete(f"/v1/images/{segment(name)}")
        click.echo(name)


@image.command()
@click.option("--from-debian", "packages", multiple=True, required=True, metavar="PACKAGE")
@click.option("--output", "-o", type=click.Path(dir_okay=False), required=True, help="The tarball to write.")
def build(packages: tuple[str, ...], output: str) -> None:
    """Make a root file system tarball of Debian packages and all they depend on."""
    from hawser.runtime.images import debian

    debian.build(packages, Path(output))
    click.echo(output)
