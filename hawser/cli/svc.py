"""`hawser svc`: announce services, and see who announced."""

import json

import click

from ..client import segment
from ..faults import Fault
from . import complete
from .common import as_json, client, listing, show_json, tenant_option

COLUMNS = ("TENANT", "SERVICE", "INSTANCE", "ADDRESSES", "PORT", "HEALTH", "REASON")


def _row(record: dict[str, object]) -> tuple[object, ...]:
    health = "passing" if record["healthy"] else "failing"
    return (
        *(record[key] for key in ("tenant", "service", "id", "addresses", "port")),
        health,
        record.get("reason"),
    )


@click.group()
def svc() -> None:
    """Services."""


@svc.command()
@tenant_option
@click.option("--id", "instance", help="Instance id [default: made from address and port].")
@click.option("--address", "addresses", multiple=True, required=True, metavar="ADDRESS")
@click.option(
    "--check", help="tcp, http:/path, ttl, or exec:COMMAND (run on this machine); default tcp.", default="tcp"
)
@click.option("--interval", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between checks.")
@click.option(
    "--ttl", type=click.FloatRange(1.0), default=15.0, show_default=True, help="Lease of the record, seconds."
)
@click.argument("service")
@click.argument("port", type=click.IntRange(1, 65535))
def announce(service: str, port: int, tenant: str, addresses: tuple[str, ...], **options: object) -> None:
    """Announce SERVICE at PORT; the node keeps its lease and checks its health until it is withdrawn."""
    body = {"tenant": tenant, "service": service, "port": port, "addresses": list(addresses)}
    body |= {
        "id": options["instance"],
        "check": options["check"],
        "interval": options["interval"],
        "ttl": options["ttl"],
    }
    click.echo(client().post("/v1/services", body)["id"])


@svc.command()
@tenant_option
@click.argument("service")
@click.argument("instance")
def withdraw(service: str, instance: str, tenant: str) -> None:
    """Withdraw an instance that was announced here."""
    client().delete(f"/v1/services/{segment(tenant)}/{segment(service)}/{segment(instance)}")


@svc.command()
@tenant_option
@click.argument("service")
@click.argument("instance")
def beat(service: str, instance: str, tenant: str) -> None:
    """Tell the node that an instance with a ttl check is alive."""
    client().post(f"/v1/services/{segment(tenant)}/{segment(service)}/{segment(instance)}/beat")


@svc.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List every instance that is announced."""
    records = [record for record in client().get("/v1/services") if tenant in (None, record["tenant"])]
    listing(json_, records, COLUMNS, map(_row, records))


@svc.command()
@tenant_option
@click.argument("service", shell_complete=complete.services)
def show(service: str, tenant: str) -> None:
    """The instances of one service, as JSON."""
    show_json(client().get(f"/v1/services/{segment(tenant)}/{segment(service)}"))


@svc.command()
@tenant_option
@as_json
@click.argument("service", shell_complete=complete.services)
def resolve(service: str, tenant: str, json_: bool) -> None:
    """What a container of the tenant would find: healthy instances only. Ends with 3 when there is none."""
    records = client().get(f"/v1/services/{segment(tenant)}/{segment(service)}")
    healthy = [record for record in records if record["healthy"]]
    if not healthy:
        reasons = "; ".join(f"{record['id']}: {record['reason']}" for record in records)
        raise Fault(f"no instance of {tenant}/{service} is healthy: {reasons}", "not-found")
    rows = ((address, record["port"]) for record in healthy for address in record["addresses"])
    listing(json_, healthy, ("ADDRESS", "PORT"), rows)


@svc.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def watch(tenant: str | None, json_: bool) -> None:
    """Print the instances that are there, and from then on as they come, change and go."""
    for event in client().lines("GET", "/v1/services/watch", tenant=tenant):
        if json_:
            click.echo(json.dumps(event))
            continue
        name = f"{event['tenant']}/{event['service']}/{event['id']}"
        if event["event"] == "gone":
            click.echo(f"GONE {name}")
        else:
            health = "passing" if event["healthy"] else f"failing ({event['reason']})"
            click.echo(f"PUT {name} {','.join(event['addresses'])} {event['port']} {health}")
