"""`hawser net port`: ports declared before anything is attached."""

from typing import Any

import click

from ..client import segment
from .common import as_json, client, listing, pairs, show_json, tenant_option

RATE = "Bit/s, or like 500kbit, 10mbit, 1gbit."


@click.group()
def port() -> None:
    """Reserved ports: whoever attaches with a port's name gets its MAC and addresses, on whichever machine."""


@port.command()
@tenant_option
@click.option("--network", required=True, metavar="NAME")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="Repeat for both versions [default: free].")
@click.option("--mac", metavar="MAC", help="[default: made from the name]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="What policies know it by; repeat.")
@click.option("--ingress-rate", metavar="RATE", help=f"Most that it gets. {RATE}")
@click.option("--egress-rate", metavar="RATE", help=f"Most that it sends. {RATE}")
@click.option("--dscp", type=click.IntRange(0, 63), help="Mark on what it sends.")
@click.argument("name")
def create(name: str, tenant: str, network: str, **options: Any) -> None:
    """Reserve port NAME on a network; prints its addresses and its MAC."""
    body: dict[str, Any] = {"tenant": tenant, "name": name, "network": network}
    body |= {"addresses": list(options["addresses"]), "labels": pairs(options["labels"], "--label")}
    limits = {"ingress": options["ingress_rate"], "egress": options["egress_rate"], "dscp": options["dscp"]}
    body["qos"] = {name: rate(value) for name, value in limits.items() if value is not None}
    if options["mac"] is not None:
        body["mac"] = options["mac"]
    made = client().post("/v1/reservations", body)
    click.echo(" ".join((*made["addresses"], made["mac"])))


def rate(value: str | int) -> str | int:
    """What a rate option says, as the API takes it: a plain number is bit/s."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else value


@port.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List reserved ports."""
    found = [entry for entry in client().get("/v1/reservations") if tenant in (None, entry["tenant"])]
    rows = ((p["tenant"], p["name"], p["network"], p["addresses"], p["mac"], p["used_by"]) for p in found)
    listing(json_, found, ("TENANT", "NAME", "NETWORK", "ADDRESSES", "MAC", "USED BY"), rows)


@port.command()
@tenant_option
@click.argument("name")
def show(name: str, tenant: str) -> None:
    """One reserved port, as JSON."""
    show_json(client().get(f"/v1/reservations/{segment(tenant)}/{segment(name)}"))


@port.command()
@tenant_option
@click.argument("name")
def rm(name: str, tenant: str) -> None:
    """Give back a reserved port that nobody uses."""
    client().delete(f"/v1/reservations/{segment(tenant)}/{segment(name)}")
