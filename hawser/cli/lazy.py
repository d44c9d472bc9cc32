"""Groups whose commands are imported when they are used: start-up is most of what a short command costs.

A group knows a command's name, where it is and its help line; what is misspelt, or called otherwise by users of other
tools, is answered with what may have been meant.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import click


class Lazy(click.Group):
    """Commands by name: where each is (`module:attribute`) and its help line. `meant`: words that users bring along;
    `word`: what this group calls its commands."""

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, tuple[str, str]],
        meant: Mapping[str, str],
        word: str,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.table, self._meant, self._word = table, meant, word

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, hinted(ctx, args, self.table, self._meant, self._word))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(f"{self._word.capitalize()}s"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])


def hinted(ctx: click.Context, args: list[str], known: Iterable[str], meant: Mapping[str, str], word: str) -> list[str]:
    """The arguments, unless they begin with a name that is not known: UsageError, with what may have been meant."""
    name, names = args[0], list(known)
    if name in names or name.startswith("-"):
        return args
    near = difflib.get_close_matches(name, [*names, *meant], 1)
    found = name if name in meant else near[0] if near else ""
    hint = meant.get(found, found)
    raise click.UsageError(f"no {word} {name}" + (f"; did you mean: {ctx.command_path} {hint}" if hint else ""), ctx)
