"""What the shell offers for an argument: the names the node knows; nothing when it does not answer."""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..client import Client
from ..faults import Fault

Names = Callable[[Client], Iterable[str]]
Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offer(names: Names) -> Offer:
    def offer(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = sorted(set(names(Client())))
        except (Fault, OSError):
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return offer


def _of(path: str, **query: Any) -> Names:
    return lambda client: (entry["name"] for entry in client.get(path, **query))


containers = _offer(_of("/v1/containers", all=1))


def _attached(client: Client) -> Iterable[str]:
    return (entry["name"] for entry in [*client.get("/v1/attachments"), *client.get("/v1/containers", all=1)])


attachments = _offer(_attached)
images = _offer(_of("/v1/images"))
networks = _offer(_of("/v1/networks"))
units = _offer(_of("/v1/units"))
services = _offer(lambda client: (record["service"] for record in client.get("/v1/services")))
