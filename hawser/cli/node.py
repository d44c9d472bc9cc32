"""`hawser node`: the node process; `hawser plan`: what it would do next."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import paths
from ..client import segment
from ..faults import Fault
from .common import as_json, listing, pairs, show_json
from .common import client as api

if TYPE_CHECKING:
    from ..clustering.enter import Wanted
    from ..node import Config

PATIENCE = 10.0
DIRECTORY = click.Path(file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def node() -> None:
    """The node process."""


def place(command: F) -> F:
    """The options of every command that becomes the node."""
    for option in (
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="What units ask for; repeat."),
        click.option(
            "--address",
            "addresses",
            multiple=True,
            metavar="IP",
            help="Ours, for the others; repeat.",
        ),
        click.option("--run", type=DIRECTORY, default=paths.RUN, show_default=True, help="State until reboot."),
        click.option("--data", type=DIRECTORY, default=paths.DATA, show_default=True, help="Durable state."),
    ):
        command = option(command)
    return command


@node.command()
@place
@click.option("--store", "endpoints", metavar="URL,…", help="Use this etcd: etcd://HOST:PORT, https://HOST:PORT.")
@click.option("--store-cacert", type=FILE, help="The CA of its certificates.")
@click.option("--store-cert", type=FILE, help="Our certificate for it.")
@click.option("--store-key", type=FILE, help="The key of our certificate.")
@click.option("--store-user", metavar="NAME", help="Our user there; the password is in HAWSER_STORE_PASSWORD.")
@click.option("--cluster-init", "members", type=click.Choice(["1", "3", "5", "7"]), help="Found one of N members.")
@click.option("--replace-after", type=click.FloatRange(5), metavar="S", help="A member that does not answer [300].")
@click.option("--certificate-life", type=click.FloatRange(10), metavar="S", help="Of its machines' [604800].")
def up(
    data: str,
    run: str,
    addresses: tuple[str, ...],
    labels: tuple[str, ...],
    endpoints: str | None,
    store_cacert: str | None,
    store_cert: str | None,
    store_key: str | None,
    store_user: str | None,
    members: str | None,
    replace_after: float | None,
    certificate_life: float | None,
) -> int:
    """Run the node in the foreground until SIGTERM or SIGINT; containers go on without it.

    Its store is this machine's own, or an etcd (--store), or that of the cluster which the machine founds
    (--cluster-init) or is of already.
    """
    from ..backing import Etcd
    from ..serve import serve

    if endpoints and members:
        raise click.UsageError("--store uses an etcd that is there, --cluster-init makes one: give one of them")
    if not members and (replace_after or certificate_life):
        raise click.UsageError("--replace-after and --certificate-life are of a new cluster: give --cluster-init too")
    if not endpoints and (store_cacert or store_cert or store_key or store_user):
        raise click.UsageError("--store-… say how to reach an etcd: give --store too")
    etcd = endpoints and Etcd(
        endpoints=tuple(endpoints.split(",")),
        cacert=_absolute(store_cacert),
        cert=_absolute(store_cert),
        key=_absolute(store_key),
        user=store_user,
        password=os.environ.get("HAWSER_STORE_PASSWORD") if store_user else None,
    )
    return serve(
        replace(
            _config(data, run, addresses, labels),
            etcd=etcd or None,
            found=_wanted(int(members), replace_after, certificate_life) if members else None,
        )
    )


def _absolute(path: str | None) -> Path | None:
    """It is kept for the next start, wherever that is."""
    return Path(path).absolute() if path else None


def _wanted(members: int, patience: float | None, life: float | None) -> "Wanted":
    from ..clustering.enter import Wanted

    usual = Wanted(members=members)
    return replace(usual, patience=patience or usual.patience, life=life or usual.life)


@node.command()
@place
@click.argument("token")
def join(token: str, data: str, run: str, addresses: tuple[str, ...], labels: tuple[str, ...]) -> int:
    """Join the cluster that made TOKEN, then run the node in the foreground; from then on `up` is enough.

    Make a token on a machine of the cluster: hawser node token create
    """
    from ..serve import serve

    return serve(replace(_config(data, run, addresses, labels), token=token))


def _config(data: str, run: str, addresses: tuple[str, ...], labels: tuple[str, ...]) -> "Config":
    from ..node import Config

    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            raise click.UsageError(f"--address {address}: this is no IP address") from None
    socket = click.get_current_context().find_root().obj["socket"] or f"{run}/hawser.sock"
    return Config(
        data=Path(data),
        run=Path(run),
        socket=Path(socket),
        addresses=addresses,
        labels=pairs(labels, "--label"),
    )


@node.group()
def token() -> None:
    """Tokens with which machines join the cluster."""


@token.command()
@click.option("--ttl", type=click.FloatRange(1), default=3600.0, show_default=True, help="Seconds it is good for.")
@click.option("--uses", type=click.IntRange(1), default=1, show_default=True, help="Machines that may join with it.")
@click.option("--client", is_flag=True, help="Machines that never run an etcd member.")
def create(ttl: float, uses: int, client: bool) -> None:
    """Make a token and print it; on the new machine: hawser node join TOKEN"""
    body = {"ttl": ttl, "uses": uses, "role": "client" if client else "member"}
    click.echo(api().post("/v1/tokens", body)["token"])


@token.command("ls")
@as_json
def list_tokens(json_: bool) -> None:
    """List tokens: by their ids, never their secrets."""
    found = api().get("/v1/tokens")
    rows = (
        (each["id"], each["state"], each["role"], each["left"], _until(each["expires"]), each["machines"])
        for each in found
    )
    listing(json_, found, ("TOKEN", "STATE", "ROLE", "LEFT", "EXPIRES", "MACHINES"), rows)


@token.command()
@click.argument("token")
def revoke(token: str) -> None:
    """Take a token back, by its id."""
    api().delete(f"/v1/tokens/{segment(token)}")


def _until(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(moment))


@node.command()
@click.option("--wait", is_flag=True, help="Wait until the node answers, at most 10 seconds.")
@as_json
def status(wait: bool, json_: bool) -> None:
    """What runs here: identity, counts, pending work, failures."""
    document = _patiently() if wait else api().get("/v1/status")
    if json_:
        show_json(document)
        return
    for key, value in document.items():
        click.echo(f"{key:>12}: {value}")


def _patiently() -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return api().get("/v1/status")
        except Fault as fault:
            if fault.kind != "unavailable" or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@node.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def leave(yes: bool) -> None:
    """Stop every container and unit of this node, remove all it made, and end the process."""
    if not yes:
        click.confirm("Stop and remove every container, unit and network of this node?", abort=True)
    api().post("/v1/leave")


@node.command()
def unit() -> None:
    """Print a systemd unit that runs the node: hawser node unit > /etc/systemd/system/hawser.service"""
    from importlib.resources import files
    from shutil import which

    command = which("hawser") or f"{sys.executable} -m hawser.main"
    text = files("hawser").joinpath("data", "hawser.service").read_text()
    click.echo(text.replace("@HAWSER@", command), nl=False)


@click.command()
@as_json
@click.argument("area", required=False, type=click.Choice(["netd", "sched", "runtime"]))
def plan(area: str | None, json_: bool) -> None:
    """Pending steps with their reasons; changes nothing. Empty when the world is as wanted."""
    steps = api().get("/v1/plan", area=area)
    rows = [(step["area"], step["verb"], step["key"], step["reason"]) for step in steps]
    listing(json_, steps, ("AREA", "VERB", "KEY", "REASON"), rows)
