"""`hawser net floating`: addresses of the outside that belong to one of a tenant's."""

import click

from ..client import segment
from .common import as_json, client, listing, tenant_option


@click.group()
def floating() -> None:
    """Floating addresses."""


@floating.command()
@tenant_option
@click.option("--network", required=True, metavar="NAME", help="The network that TARGET is on.")
@click.argument("address")
@click.argument("target")
def add(address: str, target: str, tenant: str, network: str) -> None:
    """Let ADDRESS lead to the tenant's TARGET, both ways, on whichever machine it is.

    The machine that has TARGET answers for ADDRESS on its uplink; policies decide by TARGET.
    """
    client().post("/v1/floating", {"tenant": tenant, "address": address, "target": target, "network": network})


@floating.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List floating addresses."""
    found = [entry for entry in client().get("/v1/floating") if tenant in (None, entry["tenant"])]
    rows = ((f["address"], f["tenant"], f["network"], f["target"]) for f in found)
    listing(json_, found, ("ADDRESS", "TENANT", "NETWORK", "TARGET"), rows)


@floating.command()
@click.argument("address")
def rm(address: str) -> None:
    """Take ADDRESS back."""
    client().delete(f"/v1/floating/{segment(address)}")
