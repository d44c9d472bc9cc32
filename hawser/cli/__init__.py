"""The full command line: nouns, then verbs. Each noun's module is imported only when it is asked for."""

import sys
import traceback
from collections.abc import Sequence

import click

from .. import __version__
from ..faults import EXIT, exit_code_of, kind_of
from .lazy import Lazy

COMMANDS = {
    "apply": ("hawser.cli.apply:apply", "Make networks, policies and their like as a file says."),
    "check": ("hawser.cli.check:check", "What this machine can do, part by part, and what is missing."),
    "completion": (
        "hawser.cli.completion:completion",
        "Print the shell completion script (bash, zsh, fish).",
    ),
    "demo": ("hawser.cli.demo:demo", "The whole stack on this machine, end to end, and what it shows."),
    "exec": ("hawser.cli.container:exec_", "Run a command in a running container."),
    "image": ("hawser.cli.image:image", "Images: import, ls, show, rm, build."),
    "kill": ("hawser.cli.container:kill", "Send a signal to a container."),
    "kv": (
        "hawser.cli.kv:kv",
        (
            "The key-value store: get, put, del, txn, watch, lease, lock, elect, compact, defrag, snapshot, alarm, "
            "status, health, hash, member, move-leader, user, role, auth, migrate, serve."
        ),
    ),
    "lab": (
        "hawser.labs.cli:lab",
        "Test networks: up, down, ls, show, exec, pingall, run, cut, partition, impair, heal.",
    ),
    "logs": ("hawser.cli.container:logs", "What a container printed."),
    "machine": ("hawser.cli.machine:machine", "Machines of the cluster: ls, show."),
    "net": (
        "hawser.cli.net:net",
        (
            "Networks: create, ls, show, set, rm, attach, attachments, detach, router, port, floating, limit, mirror, "
            "capture, metrics, ping, trace."
        ),
    ),
    "node": ("hawser.cli.node:node", "The node process: up, join, token, status, leave, unit."),
    "policy": ("hawser.cli.policy:policy", "Who may speak to whom: allow, apply, ls, show, rm, explain."),
    "plan": ("hawser.cli.node:plan", "Pending steps with their reasons; changes nothing."),
    "ps": ("hawser.cli.container:ps", "List containers."),
    "rm": ("hawser.cli.container:rm", "Remove containers."),
    "run": ("hawser.cli.container:run", "Create and start a container."),
    "show": ("hawser.cli.container:show", "Everything about one container."),
    "start": ("hawser.cli.container:start", "Start stopped containers."),
    "stop": ("hawser.cli.container:stop", "Stop containers: their stop signal, then SIGKILL."),
    "svc": ("hawser.cli.svc:svc", "Services: announce, withdraw, beat, ls, show, watch, resolve."),
    "tenant": ("hawser.cli.tenant:tenant", "Tenants: create, ls, show, rm."),
    "unit": (
        "hawser.cli.unit:unit",
        "Units: submit, load, start, stop, restart, unload, destroy, ls, cat, status, journal.",
    ),
    "wait": ("hawser.cli.container:wait", "Wait for a container to end and print its exit code."),
}


# words that users of other tools bring along
MEANT = {
    "images": "image ls",
    "inspect": "show",
    "network": "net",
    "networks": "net ls",
    "restart": "stop, then start",
    "container": "ps, run, rm",
    "service": "svc",
    "services": "svc ls",
    "start-unit": "unit start",
    "systemctl": "unit",
    "fleetctl": "unit",
    "etcdctl": "kv",
    "mn": "lab",
    "build": "image build",
    "import": "image import",
    "rmi": "image rm",
    "status": "node status",
    "top": "exec NAME ps",
}


@click.group(
    cls=Lazy,
    table=COMMANDS,
    meant=MEANT,
    word="command",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="hawser %(version)s")
@click.option("--socket", metavar="PATH", envvar="HAWSER_SOCKET", help="The node's API socket.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.pass_context
def hawser(context: click.Context, socket: str | None, debug: bool) -> None:
    """Networks, containers, units and service discovery for fleets of Linux machines.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 denied.
    """
    context.obj = {"socket": socket, "debug": debug}


def run(arguments: Sequence[str]) -> int:
    """Run one command; every foreseen failure becomes one line on standard error and its exit code."""
    debug = "--debug" in arguments
    try:
        result = hawser.main(list(arguments), prog_name="hawser", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hawser"
        what = error.format_message().rstrip(".")
        print(f"hawser: {what[:1].lower()}{what[1:]}; see: {command} --help", file=sys.stderr)
        return EXIT["usage"]
    except click.ClickException as error:
        print(f"hawser: {error.format_message()}", file=sys.stderr)
        return EXIT["usage"]
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"hawser: {_words(error)}", file=sys.stderr)
        return exit_code_of(error)
    return result if isinstance(result, int) else 0


def _words(error: Exception) -> str:
    """One line about a failure."""
    if kind_of(error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'input or output'}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error}; run again with --debug"
