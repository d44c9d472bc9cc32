"""`hawser net router`: networks of a tenant joined by routers."""

import click

from ..client import segment
from .common import as_json, client, listing, pairs, show_json, tenant_option


@click.group()
def router() -> None:
    """Routers between a tenant's networks."""


@router.command()
@tenant_option
@click.option("--network", "networks", multiple=True, required=True, metavar="NAME", help="A network; repeat.")
@click.option("--route", "routes", multiple=True, metavar="SUBNET=VIA", help="A static route; repeat.")
@click.argument("name")
def create(name: str, tenant: str, networks: tuple[str, ...], routes: tuple[str, ...]) -> None:
    """Create router NAME between networks."""
    hops = [{"subnet": subnet, "via": via} for route in routes for subnet, via in pairs([route], "--route").items()]
    client().post("/v1/routers", {"tenant": tenant, "name": name, "networks": list(networks), "routes": hops})


@router.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List routers."""
    found = [entry for entry in client().get("/v1/routers") if tenant in (None, entry["tenant"])]
    rows = (
        (r["tenant"], r["name"], r["networks"], [f"{hop['subnet']}={hop['via']}" for hop in r["routes"]]) for r in found
    )
    listing(json_, found, ("TENANT", "NAME", "NETWORKS", "ROUTES"), rows)


@router.command()
@tenant_option
@click.argument("name")
def show(name: str, tenant: str) -> None:
    """One router, as JSON."""
    show_json(client().get(f"/v1/routers/{segment(tenant)}/{segment(name)}"))


@router.command()
@tenant_option
@click.argument("name")
def rm(name: str, tenant: str) -> None:
    """Remove a router; its networks stay."""
    client().delete(f"/v1/routers/{segment(tenant)}/{segment(name)}")
