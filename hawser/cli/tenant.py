"""`hawser tenant`: whose networks there are."""

import click

from ..client import segment
from .common import as_json, client, listing, show_json

DEFAULTS = click.Choice(["allow", "deny"])


@click.group()
def tenant() -> None:
    """Tenants."""


@tenant.command()
@click.option("--default", type=DEFAULTS, default="allow", show_default=True, help="Between its ports, without policy.")
@click.argument("name")
def create(name: str, default: str) -> None:
    """Create tenant NAME. One that has no special wishes need not be created: its first network is enough."""
    client().post("/v1/tenants", {"name": name, "default": default})


@tenant.command("default")
@click.argument("name")
@click.argument("default", type=DEFAULTS)
def default_(name: str, default: str) -> None:
    """Say what happens between the ports of tenant NAME where no policy speaks: allow or deny."""
    client().put("/v1/tenants", {"name": name, "default": default})


@tenant.command()
@as_json
def ls(json_: bool) -> None:
    """List tenants."""
    found = client().get("/v1/tenants")
    listing(json_, found, ("NAME", "DEFAULT", "NETWORKS"), ((t["name"], t["default"], t["networks"]) for t in found))


@tenant.command()
@click.argument("name")
def show(name: str) -> None:
    """One tenant and what it has, as JSON."""
    show_json(client().get(f"/v1/tenants/{segment(name)}"))


@tenant.command()
@click.argument("name")
def rm(name: str) -> None:
    """Remove a tenant that has nothing."""
    client().delete(f"/v1/tenants/{segment(name)}")
