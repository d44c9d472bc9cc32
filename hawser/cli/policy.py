"""`hawser policy`: who may speak to whom."""

from typing import Any, TextIO

import click

from ..client import segment
from .apply import carry_out
from .common import as_json, client, listing, show_json, tenant_option

PEER = "NETWORK|LABEL|CIDR"
PROTOS = ["tcp", "udp", "sctp", "icmp", "icmpv6"]


@click.group()
def policy() -> None:
    """Policies."""


@policy.command()
@click.option("--file", "-f", "files", type=click.File(), multiple=True, required=True, help="- is standard input.")
@click.option("--dry-run", is_flag=True, help="Print the steps with their reasons; change nothing.")
@as_json
def apply(files: tuple[TextIO, ...], dry_run: bool, json_: bool) -> None:
    """Write the policies of files, and nothing else (all objects: hawser apply)."""
    carry_out(files, {"dry_run": dry_run, "set": None, "only": ["policy"]}, json_)


@policy.command()
@tenant_option
@click.option("--to", required=True, metavar=PEER, help="network=NAME, label=KEY=VALUE, cidr=SUBNET; commas between.")
@click.option("--from", "sources", multiple=True, metavar=PEER, help="As --to; repeat [default: whoever].")
@click.option("--proto", type=click.Choice(PROTOS), help="[default: whatever]")
@click.option("--port", "ports", multiple=True, metavar="PORT", help="80, or 8000-8100; repeat [default: all].")
@click.option("--name", help="[default: made of the rest]")
def allow(to: str, tenant: str, sources: tuple[str, ...], ports: tuple[str, ...], **options: Any) -> None:
    """Let --from speak to --to; prints the policies written.

    Ports that a policy selects get only what policies allow: --to is shut to all others from then on. Where the ports
    of --from are denied to send by default, a second policy lets them.
    """
    body = {"to": to, "tenant": tenant, "sources": list(sources), "ports": list(ports), **options}
    for made in client().post("/v1/policies/allow", {key: value for key, value in body.items() if value is not None}):
        click.echo(made["name"])


@policy.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@as_json
def ls(tenant: str | None, json_: bool) -> None:
    """List policies."""
    found = [entry for entry in client().get("/v1/policies") if tenant in (None, entry["tenant"])]
    rows = ((p["tenant"], p["name"], _selector(p["applies"]), p["directions"], len(p["rules"])) for p in found)
    listing(json_, found, ("TENANT", "NAME", "APPLIES TO", "DIRECTIONS", "RULES"), rows)


def _selector(plain: dict[str, Any]) -> str:
    words = [f"network={name}" for name in plain.get("networks", ())]
    words += [f"{key}={value}" for key, value in sorted(plain.get("labels", {}).items())]
    return ",".join(words) or "every port"


@policy.command()
@tenant_option
@click.argument("name")
def show(name: str, tenant: str) -> None:
    """One policy, as JSON."""
    show_json(client().get(f"/v1/policies/{segment(tenant)}/{segment(name)}"))


@policy.command()
@tenant_option
@click.argument("name")
def rm(name: str, tenant: str) -> None:
    """Remove a policy."""
    client().delete(f"/v1/policies/{segment(tenant)}/{segment(name)}")


@policy.command()
@click.option("--tenant", "-t", help="In whose networks; needed for two addresses.")
@click.option("--proto", type=click.Choice(PROTOS), default="tcp", show_default=True)
@click.option("--icmp-type", type=click.IntRange(0, 255), help="The type of an icmp or icmpv6 message.")
@as_json
@click.argument("src")
@click.argument("dst")
@click.argument("port", type=click.IntRange(1, 65535), required=False)
def explain(src: str, dst: str, port: int | None, json_: bool, **options: Any) -> None:
    """Whether SRC may open a connection to DST at PORT, and which rule decides.

    SRC and DST are containers, ports (sandbox:interface) or addresses.
    """
    answer = client().get("/v1/policies/explain", src=src, dst=dst, port=port, **options)
    if json_:
        show_json(answer)
    else:
        click.echo("\n".join(answer["lines"]))
