"""What the verbs have in common: options that say which store is meant, and commands that are run.

Those options belong to the group `kv` and are understood after the verb as well, where they are not shown again: what
is given last counts. They are kept in the context's `meta`, from which where.py reads them.
"""

from typing import Any, TypeVar

import click

from ..lazy import hinted

META = "hawser.kv.where"
COMMAND = "hawser.kv.command"
G = TypeVar("G", bound=click.Group)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta.setdefault(META, {})[parameter.name] = value


def _where(*, shown: bool) -> list[click.Option]:
    """The options; only those of the group look at the environment, or it would win over the command line."""
    file = click.Path(exists=True, dir_okay=False, readable=True)
    rows: tuple[tuple[str, str, str, Any, str, str], ...] = (
        (
            "--endpoints",
            "endpoints",
            "URL[,URL...]",
            str,
            "HAWSER_ENDPOINTS",
            "http(s)://HOST:PORT, etcd://, unix:PATH.",
        ),
        ("--cacert", "cacert", "FILE", file, "HAWSER_KV_CACERT", "Who signs the servers' certificates."),
        ("--cert", "cert", "FILE", file, "HAWSER_KV_CERT", "The client's certificate."),
        ("--key", "tls_key", "FILE", file, "HAWSER_KV_KEY", "The key of that certificate."),
        ("--user", "user", "NAME[:PASSWORD]", str, "HAWSER_KV_USER", "Without a password: asked for."),
        ("--timeout", "timeout", "SECONDS", click.FloatRange(0, min_open=True), "", "For a call; 5 by default."),
    )
    return [
        click.Option(
            [option, name],
            metavar=metavar,
            type=kind,
            envvar=variable if shown and variable else None,
            show_envvar=bool(variable),
            help=text,
            expose_value=False,
            callback=_keep,
            hidden=not shown,
        )
        for option, name, metavar, kind, variable, text in rows
    ]


def where_options(group: G) -> G:
    """Add the options to a group."""
    group.params = [*_where(shown=True), *group.params]
    return group


class Verb(click.Command):
    """A command that asks a store."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self._where]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._where = _where(shown=False)


class Launching(Verb):
    """A verb with `-- COMMAND`, which `command_of` gives."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[COMMAND] = args[:at], args[at + 1 :]
            if not ctx.meta[COMMAND]:
                raise click.UsageError("a command is missing after --", ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


def command_of() -> list[str]:
    """What was written after `--`; empty when nothing was."""
    return list(click.get_current_context().meta.get(COMMAND, ()))


class Nouns(click.Group):
    """A group below `kv` whose commands ask a store."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = list(self.commands)
        meant = {word: name for word, name in ETCDCTL.items() if name in known}
        return super().resolve_command(ctx, hinted(ctx, args, known, meant, "verb"))


ETCDCTL = {
    "list": "ls",
    "delete": "rm",
    "remove": "rm",
    "get": "show",
    "timetolive": "show",
    "enable": "on",
    "disable": "off",
    "grant-role": "grant",
    "revoke-role": "revoke",
    "grant-permission": "grant",
    "revoke-permission": "revoke",
}
