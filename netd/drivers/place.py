"""One network namespace that this node's thread works in without moving there: sockets are made inside and stay there.

A socket belongs to the namespace in which it was made, so links, rules and connections of a tenant are seen and changed
from outside; only what goes through /proc/sys/net, which shows the namespace of whoever looks, is done inside.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import netns
from .conntrack import Conntrack
from .netlink import Netlink
from .nft import Nft

T = TypeVar("T")


class Place:
    """The namespace kept at `path`, or with None the calling thread's own."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.netlink, self.nft, self.conntrack = self.inside(lambda: (Netlink(), Nft(), Conntrack()))

    def inside(self, act: Callable[[], T]) -> T:
        """Run `act` in the namespace."""
        return act() if self.path is None else netns.inside_here(self.path, act)

    def close(self) -> None:
        """Let go; nothing is removed."""
        self.netlink.close()
        self.nft.close()
        self.conntrack.close()
