"""Which connections a change of policy takes back.

What was once accepted stays established in the kernel's connection tracking, whatever the policies say later. After a
change each connection's first packet is decided anew; who is no longer allowed is to be forgotten by the kernel, so
that its next packet is a new connection's. Connections that have nothing to do with ports (the node's own towards the
outside, a gateway's) are left alone. A connection `related` to another (an FTP transfer) is judged by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..fabric import Fabric
from .decide import Oracle
from .match import Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Packet):
    """A tracked connection by its first packet, between the translations.

    From an entry of conntrack: source of the original tuple, target and port of the reply tuple's source. Subclass it
    to say which entry it is.
    """


C = TypeVar("C", bound=Packet)


def stale(fabric: Fabric, tenant: str, connections: Iterable[C]) -> tuple[C, ...]:
    """The connections of a tenant's ports that may not exist any more, in their order."""
    oracle = Oracle(fabric, tenant)
    return tuple(
        connection
        for connection in connections
        if (oracle.concerns(connection.source) or oracle.concerns(connection.target))
        and not oracle.decide(connection).allowed
    )
