"""How the verbs are found and what they have in common: lazy groups, and options that say which store is meant.

Those options belong to the group `kv` and are understood after the verb as well, where they are not shown again: what
is given last counts. They are kept in the context's `meta`, from which where.py reads them.
"""

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

import click

META = "hawser.kv.where"
COMMAND = "hawser.kv.command"
F = TypeVar("F", bound=Callable[..., Any])


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


def where_options(command: F) -> F:
    """Add the options to a group's function."""
    command.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(_where(shown=True))]  # type: ignore[attr-defined]
    return command


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
        return super().resolve_command(ctx, hinted(ctx, args, known, meant))


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


def hinted(ctx: click.Context, args: list[str], known: list[str], meant: Mapping[str, str]) -> list[str]:
    """The arguments, unless they begin with a verb that is not known: UsageError, with what may have been meant."""
    name = args[0]
    if name in known or name.startswith("-"):
        return args
    near = difflib.get_close_matches(name, [*known, *meant], 1)
    word = name if name in meant else near[0] if near else ""
    hint = meant.get(word, word)
    raise click.UsageError(f"no verb {name}" + (f"; did you mean: {ctx.command_path} {hint}" if hint else ""), ctx)


class Verbs(click.Group):
    """Verbs by name: where each is (`module:attribute` in `package`) and its help line."""

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, tuple[str, str]],
        meant: Mapping[str, str],
        package: str,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.table, self._meant, self._package = table, meant, package

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(import_module(f"{self._package}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, hinted(ctx, args, list(self.table), self._meant))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])
