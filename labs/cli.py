"""`hawser lab`: topologies up, used and down again, with Mininet's spelling of shapes. No node process takes part."""

import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from .document import dump_faults
from .errors import Invalid, LabError
from .faults import lines
from .lab import PATIENCE, RUN, Lab, labs, remove
from .model import DEFAULT_BASE
from .report import Report
from .shapes import parse

F = TypeVar("F", bound=Callable[..., Any])
PASS_ON = {"allow_interspersed_args": False}  # from the first argument on, options are the command's


def _run(command: F) -> F:
    text = "Where labs are kept."
    option = click.option("--run", "run", type=click.Path(path_type=Path), default=RUN, show_default=True, help=text)
    return option(command)


def _json(command: F) -> F:
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def _shape(command: F) -> F:
    command = click.option("--mac", is_flag=True, help="Small readable MACs: 00:00:00:00:00:01 for the first host.")(
        command
    )
    command = click.option("--ipbase", default=DEFAULT_BASE, show_default=True, metavar="CIDR")(command)
    text = "single,3  linear,4  linear,k=4,n=2  tree,depth=2,fanout=16"
    return click.option("--topo", default="minimal", show_default=True, metavar="SHAPE", help=text)(command)


def _one_way(command: F) -> F:
    return click.option("--one-way", is_flag=True, help="Only what A sends; what it is sent is as it was.")(command)


@click.group()
def lab() -> None:
    """Test networks of namespaces and bridges."""


@lab.command()
@_shape
@_run
@click.option("--name", "-n", default="lab", show_default=True)
def up(name: str, topo: str, ipbase: str, mac: bool, run: Path) -> None:
    """Set up a lab and leave it running."""
    Lab(parse(topo, ipbase=ipbase, mac=mac), name=name, run=run, shape=topo).up()
    click.echo(name)


@lab.command()
@_run
@click.option("--all", "all_", is_flag=True, help="Every lab there is.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=PATIENCE,
    show_default=True,
    help="Seconds to wait until the kernel has removed the links; exit code 5 when it has not.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
def down(names: Sequence[str], all_: bool, run: Path, timeout: float) -> None:
    """Remove labs: processes, links, namespaces, files; also what a crash left."""
    if bool(names) == all_:
        raise Invalid("lab down: name the labs, or say --all")
    failed = list[LabError]()
    for name in names or [entry.name for entry in labs(run=run)]:
        try:
            remove(name, run=run, timeout=timeout)
        except LabError as error:
            failed.append(error)
        else:
            click.echo(name)
    if failed:
        for other in failed[:-1]:
            click.echo(f"hawser: {other}", err=True)
        raise failed[-1]


@lab.command()
@_run
@_json
def ls(json_: bool, run: Path) -> None:
    """List labs; `partial` is what a crash left."""
    found = labs(run=run)
    rows = [(entry.name, entry.state, entry.shape or "-", str(entry.hosts), str(entry.switches)) for entry in found]
    if json_:
        keys = ("name", "state", "shape", "hosts", "switches")
        click.echo(json.dumps([{key: getattr(entry, key) for key in keys} for entry in found], indent=2))
    else:
        _table(("NAME", "STATE", "SHAPE", "HOSTS", "SWITCHES"), rows)


@lab.command()
@_run
@_json
@click.argument("name")
def show(name: str, json_: bool, run: Path) -> None:
    """The hosts, switches and links of a lab, and what is wrong with them."""
    found = Lab.find(name, run=run)
    topology = found.topology
    links = [(link.a.interface, link.b.interface) for link in topology.links]
    if json_:
        hosts = [{"name": host.name, "address": str(host.address), "mac": host.mac} for host in topology.hosts]
        document = {"name": name, "shape": found.shape, "hosts": hosts, "switches": list(topology.switches)}
        click.echo(json.dumps(document | {"links": links, "faults": dump_faults(found.faults)}, indent=2))
        return
    _table(("HOST", "ADDRESS", "MAC"), [(host.name, str(host.address), host.mac) for host in topology.hosts])
    click.echo()
    _table(("LINK", "TO"), links)
    if wrong := lines(found.faults):
        click.echo()
        _table(("WHERE", "FAULT"), wrong)


@lab.command(context_settings=PASS_ON)
@_run
@click.argument("name")
@click.argument("host")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
def exec(name: str, host: str, argv: Sequence[str], run: Path) -> int:
    """Run a command on a HOST of lab NAME; its exit code is this one's. Names of hosts become their addresses."""
    argv = argv[1:] if argv[0] == "--" else argv  # click leaves it after the first two arguments
    if not argv:
        raise Invalid("lab exec: no command after --")
    code = Lab.find(name, run=run).exec(host, argv)
    why = "not found" if code == 127 else "cannot be executed"
    click.echo(f"hawser: {argv[0]}: {why}; give the path of a program of this machine", err=True)
    return code


@lab.command()
@_run
@_json
@click.option("--timeout", type=click.FloatRange(0.01, 60), default=1.0, show_default=True, help="Seconds.")
@click.argument("name")
def pingall(name: str, json_: bool, timeout: float, run: Path) -> int:
    """Ping between all pairs of hosts; exit code 1 when any was lost."""
    return _pingall(Lab.find(name, run=run), json_, timeout)


@lab.command()
@_run
@_one_way
@click.argument("name")
@click.argument("a")
@click.argument("b", required=False)
def cut(name: str, a: str, b: str | None, one_way: bool, run: Path) -> None:
    """Lose every frame on the links of A, on the link of A and B, or between two hosts A and B only."""
    Lab.find(name, run=run).cut(a, b, one_way=one_way)


@lab.command()
@_run
@click.argument("name")
@click.argument("groups", nargs=-1, metavar="[HOST,HOST...]...")
def partition(name: str, groups: Sequence[str], run: Path) -> None:
    """Let hosts hear those of their own group only, and those in no group: `partition t h1 h2,h3`. No group ends it."""
    Lab.find(name, run=run).partition(*(group.split(",") for group in groups))


@lab.command()
@_run
@_one_way
@click.option("--rate", metavar="RATE", help="Bits per second: 10mbit.")
@click.option("--delay", metavar="TIME", default="0s", help="20ms; the kernel needs netem for it.")
@click.option("--loss", metavar="PERCENT", default="0%", help="1%.")
@click.argument("name")
@click.argument("a")
@click.argument("b", required=False)
def impair(name: str, a: str, b: str | None, one_way: bool, run: Path, **how: Any) -> None:
    """Make the links of A, or the link of A and B, slow or lossy, each way. Replaces what they had."""
    Lab.find(name, run=run).impair(a, b, one_way=one_way, **how)


@lab.command()
@_run
@click.argument("name")
@click.argument("a", required=False)
@click.argument("b", required=False)
def heal(name: str, a: str | None, b: str | None, run: Path) -> None:
    """Make everything well again, or the links of A, the link of A and B, what is cut between hosts A and B."""
    Lab.find(name, run=run).heal(a, b)


@lab.command(name="run", context_settings=PASS_ON)
@_shape
@_run
@_json
@click.option("--name", "-n", default=None, help="[default: made up]")
@click.option("--test", type=click.Choice(["none", "build", "pingall"]), help="Instead of a command.")
@click.option("--host", default="h1", show_default=True, help="Where the command runs.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def run_(topo: str, ipbase: str, mac: bool, run: Path, name: str | None, argv: Sequence[str], **how: Any) -> int:
    """Set up a lab, run a test or a command on a host, remove the lab; the exit code is the test's."""
    test, host = how["test"], how["host"]
    if bool(test) == bool(argv):
        raise Invalid("lab run: give either --test or a command after --")
    with Lab(parse(topo, ipbase=ipbase, mac=mac), name=name, run=run, shape=topo) as found:
        if test == "pingall":
            return _pingall(found, how["json_"], 1.0)
        if test:
            return 0
        return _command(found, host, argv)


def _command(found: Lab, host: str, argv: Sequence[str]) -> int:
    try:
        code = found.host(host).popen(list(argv)).wait()
    except FileNotFoundError:
        click.echo(f"hawser: {argv[0]}: not found", err=True)
        return 127
    except PermissionError:
        click.echo(f"hawser: {argv[0]}: cannot be executed", err=True)
        return 126
    return code if code >= 0 else 128 - code


def _pingall(found: Lab, json_: bool, timeout: float) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:  # a socket a host
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = found.pingall(timeout=timeout)
    if json_:
        click.echo(json.dumps(report.document(), indent=2))
    else:
        _print(report)
    return 1 if report.lost else 0


def _print(report: Report) -> None:
    if len(report.hosts) <= 32 or report.lost:
        for line in report.lines():
            click.echo(line)
    click.echo(report.summary())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=sys.stdout)
