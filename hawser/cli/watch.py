"""`hawser net limit`, `mirror`, `capture`, `metrics`: what ports may, and what is seen of them."""

import base64
import sys
from contextlib import nullcontext
from itertools import chain
from typing import Any

import click

from ..client import segment
from . import complete
from .common import as_json, client, listing, show_json

RATE = "Bit/s, or like 500kbit, 10mbit, 1gbit; none takes it away."
Value = int | str | None
SHOWN = 20


def _port(sandbox: str, ifname: str) -> str:
    return f"/v1/ports/{segment(sandbox)}/{segment(ifname)}"


def _value(text: str) -> Value:
    """A rate or a DSCP as it is sent: a number where it is one, None for `none`."""
    if text == "none":
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text


@click.command()
@click.option("--ingress", metavar="RATE", help=f"Most that the port gets. {RATE}")
@click.option("--egress", metavar="RATE", help=f"Most that the port sends. {RATE}")
@click.option("--dscp", metavar="0-63", help="Mark on what the port sends; none takes it away.")
@click.option("--none", "clear", is_flag=True, help="No limits but those given with it.")
@click.argument("sandbox", shell_complete=complete.containers)
@click.argument("ifname", default="eth0")
def limit(sandbox: str, ifname: str, clear: bool, **limits: str | None) -> None:
    """Limit what IFNAME of SANDBOX (a container, or a sandbox's id) gets and sends, while it is in use.

    What is not named stays as it is; without options, print the limits. A port attached by a reservation changes the
    reservation.
    """
    given = {name: _value(text) for name, text in limits.items() if text is not None}
    if given or clear:
        answer = client().put(f"{_port(sandbox, ifname)}/limits", given, replace=int(clear))
    else:
        answer = client().get(_port(sandbox, ifname))
    click.echo(" ".join(f"{name}={value}" for name, value in answer["limits"].items()) or "none")


@click.group()
def mirror() -> None:
    """Copies of what a port gets and sends, to another port of the tenant on the same machine."""


def _mirroring(sandbox: str, ifname: str, to: str, direction: str) -> dict[str, str]:
    to_sandbox, _, to_ifname = to.partition(":")
    return {
        "sandbox": sandbox,
        "ifname": ifname,
        "to_sandbox": to_sandbox,
        "to_ifname": to_ifname or "eth0",
        "direction": direction,
    }


def _which(command: Any) -> Any:
    command = click.argument("to", metavar="SANDBOX[:IFNAME]")(command)
    command = click.argument("ifname")(command)
    command = click.argument("sandbox", shell_complete=complete.containers)(command)
    words = click.Choice(["ingress", "egress", "both"])
    return click.option("--direction", type=words, default="both", show_default=True, help="As the port sees it.")(
        command
    )


@mirror.command()
@_which
def add(**where: str) -> None:
    """Mirror IFNAME of SANDBOX to another port (its eth0 unless named). It is kept until it is removed."""
    client().post("/v1/mirrors", _mirroring(**where))


@mirror.command()
@_which
def rm(**where: str) -> None:
    """Remove a mirror."""
    client().post("/v1/mirrors/remove", _mirroring(**where))


@mirror.command()
@as_json
def ls(json_: bool) -> None:
    """List this machine's mirrors."""
    found = client().get("/v1/mirrors")
    rows = ((one["tenant"], one["from_name"], one["to_name"], one["direction"], one["active"]) for one in found)
    listing(json_, found, ("TENANT", "FROM", "TO", "DIRECTION", "ACTIVE"), rows)


@click.command()
@click.option("-w", "path", metavar="FILE", required=True, help="- is standard output.")
@click.option("--count", type=click.IntRange(1), help="End after so many packets.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=60, show_default=True, help="End after so long.")
@click.option("--direction", type=click.Choice(["ingress", "egress"]), help="As the port sees it [default: both].")
@click.option("--snap", type=click.IntRange(1, 262144), help="Keep so many bytes of a packet [default: all].")
@click.argument("sandbox", shell_complete=complete.containers)
@click.argument("ifname", default="eth0")
def capture(sandbox: str, ifname: str, path: str, **limits: Any) -> None:
    """Write what IFNAME of SANDBOX gets and sends to a pcap file, as it comes; at most 64 MiB.

    hawser net capture web -w - | tcpdump -r -
    """
    pieces = client().lines("GET", f"{_port(sandbox, ifname)}/capture", **limits)
    first = next(pieces)  # what is refused leaves no file
    done: dict[str, Any] = {}
    with nullcontext(sys.stdout.buffer) if path == "-" else open(path, "wb") as file:
        for piece in chain([first], pieces):
            done = piece.get("captured", done)
            file.write(base64.b64decode(piece.get("data", "")))
            file.flush()
    lost = f", {done['lost']} lost" if done["lost"] else ""
    click.echo(f"{done['packets']} packets, {done['bytes']} bytes{lost}; ended by {done['reason']}", err=True)


@click.command()
@click.option("--count", type=click.IntRange(1, 1000), default=3, show_default=True, help="Ask so many times.")
@click.option("--interval", type=click.FloatRange(0, 60), default=0.2, show_default=True, help="Seconds between.")
@click.option("--timeout", type=click.FloatRange(0, 60, min_open=True), default=1.0, show_default=True, help="Seconds.")
@click.option("-4", "version", flag_value=4, type=int, help="By IPv4 [default: where there is any].")
@click.option("-6", "version", flag_value=6, type=int, help="By IPv6.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("where", metavar="[TENANT[/NETWORK]]", default="default", envvar="HAWSER_TENANT")
def ping(where: str, output: str, **options: Any) -> int:
    """Have every port of a network, or of a tenant, ask every other for an echo, on all machines; print loss and
    latency.

    Ends with 1 when a pair is not as policies and routers say (lost though it may speak, or the other way round), or a
    machine does not answer.
    """
    tenant, _, network = where.partition("/")
    answer = client().get("/v1/ping", tenant=tenant, network=network or None, **options)
    if output == "json":
        show_json({name: value for name, value in answer.items() if name != "lines"})
    else:
        click.echo("\n".join(answer["lines"]))
        for one in answer["surprises"][:SHOWN]:
            what = "answers, and should not" if one["heard"] else "does not answer, and should"
            click.echo(f"{one['source']} -> {one['target']}: {what} ({one['reason']})")
        if len(answer["surprises"]) > SHOWN:
            click.echo(f"and {len(answer['surprises']) - SHOWN} more")
        for machine, why in sorted(answer["silent"].items()):
            click.echo(f"machine {machine}: its ports did not ask: {why}")
    return 1 if answer["surprises"] or answer["silent"] else 0


@click.command()
def metrics() -> None:
    """Counters of this machine's ports and policies, in Prometheus' text format (also GET /v1/metrics)."""
    click.echo(client().text("/v1/metrics"), nl=False)
