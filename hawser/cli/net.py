"""`hawser net`: the tenant-network command line."""

from collections.abc import Mapping
from typing import Any

import click

from ..client import segment
from . import complete
from .attach import attach, attachments, detach
from .common import as_json, client, listing, show_json, tenant_option
from .port import port
from .router import router
from .trace import trace
from .watch import capture, limit, metrics, mirror, ping


@click.group()
def net() -> None:
    """Tenant networks."""


@net.command()
@tenant_option
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="IPv4 or IPv6; repeat for both.")
@click.option("--gateway", "gateways", multiple=True, metavar="ADDRESS", help="Its own address [default: the first].")
@click.option("--internal", is_flag=True, help="No way out of the network and none in.")
@click.option("--kind", type=click.Choice(["bridge", "ovs"]), help="What moves its packets [default: `hawser check`].")
@click.option("--tunnel", type=click.Choice(["vxlan", "geneve"]), help="Between machines [default: ovs: geneve].")
@click.option("--vni", type=click.IntRange(1, (1 << 24) - 1), help="The tunnel's key [default: a free one].")
@click.option("--multicast", is_flag=True, help="Let broadcast and multicast pass between machines.")
@click.option("--default", type=click.Choice(["allow", "deny"]), help="Without a policy [default: the tenant's].")
@click.option("--mtu", type=click.IntRange(576, 65535), help="[default: the uplink's]")
@click.option("--encrypted", is_flag=True, help="Between machines only by WireGuard.")
@click.option("--insecure", is_flag=True, help="All the same in the clear where a machine has no WireGuard.")
@click.option("--wait", is_flag=True, help="Networks are ready when the command returns; accepted for symmetry.")
@click.argument("name")
def create(
    name: str,
    tenant: str,
    subnets: tuple[str, ...],
    gateways: tuple[str, ...],
    wait: bool,
    **more: object,
) -> None:
    """Create network NAME; without --subnet it takes a free IPv4 and IPv6 one."""
    body = {"tenant": tenant, "name": name, "subnets": list(subnets), "gateways": list(gateways), **more}
    click.echo(" ".join(client().post("/v1/networks", body)["subnets"]))


@net.command("set")
@tenant_option
@click.option("--encrypted/--no-encrypted", default=None, help="Between machines only by WireGuard, or in the clear.")
@click.option("--insecure/--no-insecure", default=None, help="Agree to go without where a machine has no WireGuard.")
@click.option("--multicast/--no-multicast", default=None, help="Broadcast and multicast between machines, or not.")
@click.argument("name", shell_complete=complete.networks)
def set_(name: str, tenant: str, **wanted: bool | None) -> None:
    """Change network NAME in place, whatever is attached to it."""
    body = {field: value for field, value in wanted.items() if value is not None}
    if not body:
        raise click.UsageError("nothing to change: give an option")
    client().request("PATCH", f"/v1/networks/{segment(tenant)}/{segment(name)}", body, {})


@net.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List networks."""
    networks = [entry for entry in client().get("/v1/networks") if tenant in (None, entry["tenant"])]
    rows = (
        (n["tenant"], n["name"], n["kind"], n["subnets"], n["gateways"], n["internal"], _encryption(n))
        for n in networks
    )
    listing(json_, networks, ("TENANT", "NAME", "KIND", "SUBNETS", "GATEWAYS", "INTERNAL", "ENCRYPTED"), rows)


def _encryption(network: Mapping[str, Any]) -> bool | str:
    return "where it can be" if network.get("insecure") else bool(network["encrypted"])


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
for command in (limit, mirror, capture, metrics, ping, trace):
    net.add_command(command)
