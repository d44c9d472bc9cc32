"""`hawser machine`: the machines of the cluster."""

import click

from ..client import segment
from .common import as_json, client, listing, show_json

COLUMNS = ("MACHINE", "ADDRESSES", "ROLE", "CPUS", "MEMORY", "DISK", "HAWSER", "LABELS", "")


@click.group()
def machine() -> None:
    """The machines of the cluster."""


@machine.command()
@as_json
def ls(json_: bool) -> None:
    """List the machines that are there; * is this one."""
    found = client().get("/v1/machines")
    rows = (
        (
            each["id"][:12],
            each["addresses"],
            each["role"],
            f"{each['capacity']['cpus']:g}",
            size(each["capacity"]["memory"]),
            size(each["capacity"]["disk"]),
            each["versions"]["hawser"],
            [f"{key}={value}" for key, value in each["labels"].items()],
            " ".join(word for word, held in (("*", each["here"]), ("leader", each["leader"])) if held),
        )
        for each in found
    )
    listing(json_, found, COLUMNS, rows)


@machine.command()
@click.argument("machine")
def show(machine: str) -> None:
    """Everything about one machine, as JSON; the beginning of its id is enough."""
    show_json(client().get(f"/v1/machines/{segment(machine)}"))


def size(count: int) -> str:
    """Bytes for people, in binary units."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"
