"""`hawser run` and what one does with containers afterwards."""

import signal
import sys
from contextlib import suppress
from typing import Any

import click

from ..client import segment
from ..faults import Fault
from ..table import PS_COLUMNS, ps_rows
from . import complete
from .common import as_json, client, listing, pairs, show_json, tenant_option

# options end at the image or container; what follows is the program's
PASS_ON = {"allow_interspersed_args": False}


def _path(container: str, verb: str = "") -> str:
    return f"/v1/containers/{segment(container)}" + (f"/{verb}" if verb else "")


@click.command(context_settings=PASS_ON)
@tenant_option
@click.option("--name", help="A name; the default is made up.")
@click.option(
    *("--net", "--network", "network"),
    default="default",
    show_default=True,
    help="Network of the tenant, `none`, or `host`: the machine's own, without a port.",
)
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="A fixed address; repeat for IPv4 and IPv6.")
@click.option("--publish", "-p", multiple=True, metavar="[HOST:]PORT:PORT[/PROTO]", help="Publish a port; repeatable.")
@click.option("--reserved", metavar="PORT", help="Take this reserved port (hawser net port), on its network.")
@click.option("--link", "links", multiple=True, metavar="NAME[:ALIAS]", help="Know another container; repeatable.")
@click.option("--expose", multiple=True, metavar="PORT[/PROTO]", help="A port that links tell of; opens nothing.")
@click.option("--env", "-e", multiple=True, metavar="K=V", help="Environment; repeatable.")
@click.option("--volume", "-v", multiple=True, metavar="SOURCE:TARGET[:ro]", help="Bind mount; repeatable.")
@click.option("--label", "-l", multiple=True, metavar="K=V", help="Label; repeatable.")
@click.option("--memory", "-m", metavar="SIZE", help="Memory limit: 64M, 1G.")
@click.option("--cpus", type=click.FloatRange(0.01), help="CPU limit in cores.")
@click.option("--pids", type=click.IntRange(1), help="Limit of processes.")
@click.option("--user", "-u", default="0:0", show_default=True, help="User inside the container.")
@click.option("--workdir", "-w", default="/", show_default=True)
@click.option("--hostname")
@click.option("--read-only", is_flag=True, help="Root file system read-only.")
@click.option("--detach", "-d", is_flag=True, help="Print the id and return; without it, follow the output to the end.")
@click.option("--rm", "remove", is_flag=True, help="Remove the container when it has ended.")
@click.argument("image", shell_complete=complete.images)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
def run(detach: bool, remove: bool, env: tuple[str, ...], label: tuple[str, ...], **options: Any) -> int:
    """Create and start a container of IMAGE that runs ARGV."""
    body = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    body |= {"env": pairs(env, "--env"), "labels": pairs(label, "--label"), "remove": remove}
    body = {key: value for key, value in body.items() if value is not None}
    if not detach:
        return _attached(body)
    click.echo(client().post("/v1/containers", body)["id"])
    return 0


def _attached(body: dict[str, Any]) -> int:
    """Run, print what the container prints, pass signals on to it (the second one stops it), return its exit code."""
    node, container, code, signals = client(), "", 1, 0

    def pass_on(number: int, frame: object) -> None:
        nonlocal signals
        if not container:
            raise KeyboardInterrupt
        signals += 1
        with suppress(Fault):
            if signals == 1:
                node.post(_path(container, "kill"), {"signal": str(number), "default": True})
            else:
                node.post(_path(container, "stop"), {"timeout": 0})

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    for document in node.lines("POST", "/v1/containers/attached", body):
        container = document.get("id", container)
        code = document.get("code", code)
        if "text" in document:
            print(document["text"], file=sys.stderr if document["stream"] == "stderr" else sys.stdout, flush=True)
    return int(code)


def follow_logs(container: str, follow: bool = True, tail: int | None = None, times: bool = False) -> None:
    """Print a container's output, each stream to its own."""
    for line in client().lines("GET", _path(container, "logs"), follow=int(follow), tail=tail):
        stream = sys.stderr if line["stream"] == "stderr" else sys.stdout
        print(f"{line['time']} {line['text']}" if times else line["text"], file=stream, flush=follow)


@click.command()
@click.option("--all", "-a", "all_", is_flag=True, help="Those that ended, too.")
@click.option("--quiet", "-q", is_flag=True, help="Only ids.")
@as_json
def ps(all_: bool, quiet: bool, json_: bool) -> None:
    """List containers."""
    containers = client().get("/v1/containers", all=int(all_))
    if quiet:
        click.echo("\n".join(entry["id"] for entry in containers))
        return
    listing(json_, containers, PS_COLUMNS, ps_rows(containers))


@click.command()
@click.argument("container", shell_complete=complete.containers)
def show(container: str) -> None:
    """Everything about one container, as JSON."""
    show_json(client().get(_path(container)))


@click.command(context_settings=PASS_ON)
@click.option("--env", "-e", multiple=True, metavar="K=V")
@click.option("--user", "-u", default=None, help="User inside the container.")
@click.argument("container", shell_complete=complete.containers)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
def exec_(container: str, argv: tuple[str, ...], env: tuple[str, ...], user: str | None) -> int:
    """Run ARGV in CONTAINER and end with its exit code."""
    body = {"argv": list(argv), "env": pairs(env, "--env"), "user": user}
    result = client().post(_path(container, "exec"), body)
    sys.stdout.write(result["stdout"])
    sys.stderr.write(result["stderr"])
    if result["cut"]:
        click.echo("hawser: the output is cut after 1 MiB; write it to a file in the container instead", err=True)
    return int(result["code"])


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the container ends.")
@click.option("--tail", "-n", type=click.IntRange(0), help="Only the last N lines.")
@click.option("--times", is_flag=True, help="Show when each line was written.")
@click.argument("container", shell_complete=complete.containers)
def logs(container: str, follow: bool, tail: int | None, times: bool) -> None:
    """What a container printed, both streams in order."""
    follow_logs(container, follow, tail, times)


@click.command()
@click.option("--signal", "-s", default="KILL", show_default=True, help="Name or number.")
@click.argument("containers", nargs=-1, required=True, shell_complete=complete.containers)
def kill(containers: tuple[str, ...], signal: str) -> int:
    """Send a signal to containers."""
    return _each(containers, lambda container: client().post(_path(container, "kill"), {"signal": signal}))


@click.command()
@click.option("--time", "-t", "timeout", type=float, help="Seconds before SIGKILL [default: the container's, 10].")
@click.argument("containers", nargs=-1, required=True, shell_complete=complete.containers)
def stop(containers: tuple[str, ...], timeout: float | None) -> int:
    """Stop containers."""
    return _each(containers, lambda container: client().post(_path(container, "stop"), {"timeout": timeout}))


@click.command()
@click.argument("containers", nargs=-1, required=True, shell_complete=complete.containers)
def start(containers: tuple[str, ...]) -> int:
    """Start stopped containers."""
    return _each(containers, lambda container: client().post(_path(container, "start")))


@click.command()
@click.option("--force", "-f", is_flag=True, help="Kill it first.")
@click.argument("containers", nargs=-1, required=True, shell_complete=complete.containers)
def rm(containers: tuple[str, ...], force: bool) -> int:
    """Remove containers."""
    return _each(containers, lambda container: client().delete(_path(container), force=int(force)))


@click.command()
@click.argument("container", shell_complete=complete.containers)
def wait(container: str) -> None:
    """Wait for CONTAINER to end and print its exit code."""
    click.echo(client().post(_path(container, "wait"))["code"])


def _each(containers: tuple[str, ...], act: Any) -> int:
    code = 0
    for container in containers:
        try:
            act(container)
            click.echo(container)
        except Fault as fault:
            click.echo(f"hawser: {fault}", err=True)
            code = fault.exit_code
    return code
