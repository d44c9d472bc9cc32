"""`hawser net`: the tenant-network command line."""

import click

from ..client import segment
from . import complete
from .attach import attach, attachments, detach
from .common import as_json, client, listing, show_json, tenant_option
from .port import port
from .router import router


@click.group()
def net() -> None:
    """Tenant networks."""


@net.command()
@tenant_option
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="IPv4 or IPv6; repeat for both.")
@click.option("--gateway", "gateways", multiple=True, metavar="ADDRESS", help="The bridge's address [default: first].")
@click.option("--internal", is_flag=True, help="No way out of the network and none in.")
@click.option("--mtu", type=click.IntRange(576, 65535), help="[default: the uplink's]")
@click.option("--wait", is_flag=True, help="Networks are ready when the command returns; accepted for symmetry.")
@click.argument("name")
def create(
    name: str,
    tenant: str,
    subnets: tuple[str, ...],
    gateways: tuple[str, ...],
    internal: bool,
    mtu: int | None,
    wait: bool,
) -> None:
    """Create network NAME; without --subnet it takes a free IPv4 and IPv6 one."""
    body = {"tenant": tenant, "name": name, "internal": internal, "mtu": mtu}
    body |= {"subnets": list(subnets), "gateways": list(gateways)}
    click.echo(" ".join(client().post("/v1/networks", body)["subnets"]))


@net.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List networks."""
    networks = [entry for entry in client().get("/v1/networks") if tenant in (None, entry["tenant"])]
    rows = ((n["tenant"], n["name"], n["kind"], n["subnets"], n["gateways"], n["internal"]) for n in networks)
    listing(json_, networks, ("TENANT", "NAME", "KIND", "SUBNETS", "GATEWAYS", "INTERNAL"), rows)


@net.command()
@tenant_option
@click.argument("name", shell_complete=complete.networks)
def show(name: str, tenant: str) -> None:
    """One network with its ports, as JSON."""
    show_json(client().get(f"/v1/networks/{segment(tenant)}/{segment(name)}"))


@net.command()
@tenant_option
@click.argument("name", shell_complete=complete.networks)
def rm(name: str, tenant: str) -> None:
    """Remove a network that nothing is attached to."""
    client().delete(f"/v1/networks/{segment(tenant)}/{segment(name)}")


net.add_command(attach)
net.add_command(detach)
net.add_command(attachments)
net.add_command(router)
net.add_command(port)
