"""What the commands share: the client of this call, listings as table or JSON, and their options."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from ..client import Client
from ..table import render

F = TypeVar("F", bound=Callable[..., Any])


def client() -> Client:
    """The client of the node chosen by `--socket` or HAWSER_SOCKET."""
    return Client((click.get_current_context().find_root().obj or {}).get("socket"))


def as_json(command: F) -> F:
    """The option every listing has."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def listing(json_: bool, documents: Any, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a listing as the caller wants it."""
    click.echo(json.dumps(documents, indent=2) if json_ else render(columns, rows))


def show_json(document: object) -> None:
    """Print one document."""
    click.echo(json.dumps(document, indent=2))


def pairs(values: Iterable[str], what: str) -> dict[str, str]:
    """`K=V` options as a mapping."""
    result = {}
    for value in values:
        key, sep, text = value.partition("=")
        if not sep or not key:
            raise click.UsageError(f"{what} {value!r}: write KEY=VALUE")
        result[key] = text
    return result


def tenant_option(command: F) -> F:
    """The option of every tenant's noun."""
    return click.option("--tenant", "-t", default="default", show_default=True, envvar="HAWSER_TENANT")(command)
