"""`hawser net attach`, `detach` and `attachments`: whatever can have an interface gets one on a tenant's network."""

from collections.abc import Sequence
from typing import Any

import click

from ..client import segment
from . import complete
from .common import as_json, client, listing, pairs, tenant_option
from .port import RATE, rate

ATTACHMENTS = "/v1/attachments"
WAYS = "--exec, --netns, --pid and --interface"
INTERFACE = "Interface in it [default: the next free ethN]; eth0 gets the default routes."


@click.command(options_metavar="[OPTIONS]")
@tenant_option
@click.option("--net", "--network", "-n", "network", metavar="NETWORK", help="Network of the tenant.")
@click.option("--exec", "exec_", is_flag=True, help="Run a program in a network namespace of its own.")
@click.option("--netns", metavar="PATH", help="An existing network namespace, as /run/netns/NAME.")
@click.option("--pid", type=click.IntRange(1), help="The network namespace of a running process.")
@click.option(
    "--interface", "link", metavar="IFNAME", help="A link of this host becomes the port, until it is detached."
)
@click.option("--name", help="What it is called, here and in the network's DNS [default: made up].")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="A fixed address; repeat for IPv4 and IPv6.")
@click.option("--mac", help="MAC [default: made up]; of an --interface, the one behind it.")
@click.option("--ifname", help=INTERFACE)
@click.option("--publish", "-p", multiple=True, metavar="[HOST:]PORT:PORT[/PROTO]", help="Publish a port; repeatable.")
@click.option("--label", "-l", "labels", multiple=True, metavar="K=V", help="What policies know it by; repeatable.")
@click.option(
    "--reserved", metavar="PORT", help="Take this reserved port (hawser net port): its network, MAC, addresses."
)
@click.option("--ingress", metavar="RATE", help=f"Most that it gets. {RATE}")
@click.option("--egress", metavar="RATE", help=f"Most that it sends. {RATE}")
@click.option("--dscp", type=click.IntRange(0, 63), help="Mark on what it sends.")
@click.argument("what", nargs=-1, type=click.UNPROCESSED, metavar="[CONTAINER NETWORK | -- COMMAND...]")
def attach(what: tuple[str, ...], exec_: bool, pid: int | None, **options: Any) -> None:
    """Attach a container, program, namespace, process or host interface to a network.

    \b
    hawser net attach CONTAINER NETWORK
    hawser net attach -n NETWORK --exec -- COMMAND...
    hawser net attach -n NETWORK --netns PATH | --pid PID | --interface IFNAME

    A container gets one more network. A program runs in the foreground, its exit code is the command's, and it is
    detached when it has ended. The others stay attached until `hawser net detach`, at most as long as they exist.
    """
    ways = [exec_, pid is not None, options["netns"] is not None, options["link"] is not None]
    if not any(ways):
        _container(what, options)
        return
    if sum(ways) > 1:
        raise click.UsageError(f"give one of {WAYS}")
    if bool(what) != exec_:
        raise click.UsageError("--exec takes a command: -- COMMAND..." if exec_ else f"what is {' '.join(what)} for?")
    wanted = _wanted(options, pid=0 if exec_ else pid)
    node = client()
    if exec_:
        from . import inside  # loads what the other forms do not need

        inside.become(what, lambda: node.post(ATTACHMENTS, wanted))
    made = node.post(ATTACHMENTS, wanted)
    click.echo(" ".join((made["sandbox"], made["ifname"], *made["addresses"], made["mac"])))


def _container(what: Sequence[str], options: dict[str, Any]) -> None:
    """The first form: a container gets one more network."""
    given = [what[0], options["network"]] if len(what) == 1 and options["network"] else list(what)
    if len(given) != 2 or (len(what) == 2 and options["network"]):
        raise click.UsageError(f"give CONTAINER and NETWORK, or one of {WAYS}")
    others = ("name", "mac", "publish", "labels", "reserved", "ingress", "egress", "dscp")
    if unfit := [name for name in others if options[name] not in (None, ())]:
        raise click.UsageError(f"--{unfit[0].rstrip('s')} is not for a container that runs; give it to hawser run")
    body = {"tenant": options["tenant"], "network": given[1], "addresses": list(options["addresses"])}
    path = f"/v1/containers/{segment(given[0])}/interfaces"
    click.echo(" ".join(client().post(path, body | {"ifname": options["ifname"]})["addresses"]))


def _wanted(options: dict[str, Any], pid: int | None) -> dict[str, Any]:
    """The request. UsageError."""
    if bool(options["network"]) == bool(options["reserved"]):
        raise click.UsageError("give a network (-n NETWORK) or a reserved port (--reserved PORT)")
    limits = {way: options[way] for way in ("ingress", "egress", "dscp")}
    plain = {key: options[key] for key in ("netns", "link", "ifname", "tenant", "network", "mac", "reserved")}
    plain |= {"owner": "attach", "sandbox": options["name"] or "", "pid": pid, "network": options["network"] or ""}
    plain |= {"addresses": list(options["addresses"]), "publish": list(options["publish"])}
    plain |= {"labels": pairs(options["labels"], "--label")}
    plain |= {"qos": {way: rate(value) for way, value in limits.items() if value is not None}}
    return {key: value for key, value in plain.items() if value is not None}


@click.command()
@click.argument("name", shell_complete=complete.attachments)
@click.argument("ifname", required=False)
def detach(name: str, ifname: str | None) -> None:
    """Take interface IFNAME away from container or attachment NAME; of an attachment, without IFNAME all it has."""
    node = client()
    mine = [one for one in node.get(ATTACHMENTS, sandbox=name) if one["owner"] != "container"]
    if not mine:
        if ifname is None:
            raise click.UsageError(f"no attachment {name}, see: hawser net attachments; of a container, give IFNAME")
        node.delete(f"/v1/containers/{segment(name)}/interfaces/{segment(ifname)}")
        return
    for one in [ifname] if ifname is not None else [one["ifname"] for one in mine]:
        node.delete(f"{ATTACHMENTS}/{segment(name)}/{segment(one)}")


@click.command()
@click.option("--tenant", "-t", help="Only this tenant's.")
@click.option("--all", "-a", "all_", is_flag=True, help="Those of hawser's containers, too.")
@as_json
def attachments(tenant: str | None, all_: bool, json_: bool) -> None:
    """List what is attached to networks on this machine beside hawser's containers."""
    found = client().get(ATTACHMENTS)
    mine = [one for one in found if tenant in (None, one["tenant"]) and (all_ or one["owner"] != "container")]
    names = ("sandbox", "ifname", "tenant", "network", "addresses", "mac", "owner", "source", "trouble")
    columns = ("NAME", "IFNAME", "TENANT", "NETWORK", "ADDRESSES", "MAC", "OWNER", "FROM", "TROUBLE")
    listing(json_, mine, columns, ([one[name] for name in names] for one in mine))
