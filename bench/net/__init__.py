"""Tenant networks: traffic beside what one would make by hand, attachments beside CNI's own plugins, and scale.

Each part runs in processes of its own, in network and mount namespaces of their own; nothing is left on the machine.
"""

from importlib import import_module

from ..row import Row

PARTS = ("traffic", "attach", "cold", "scale", "restart")


def rows() -> list[Row]:
    """Every part's."""
    return [row for part in PARTS for row in import_module(f"bench.net.{part}").rows()]
