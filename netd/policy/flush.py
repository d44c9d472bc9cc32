"""Which connections a change of policy takes back.

What was once accepted stays established in the kernel's connection tracking, whatever the policies say later. After a
change each connection's first packet is decided anew, and who is no longer allowed is cut (drivers/conntrack.py says
how). Connections that have nothing to do with ports (the node's own towards the outside, a gateway's) are left alone. A
connection `related` to another (an FTP transfer) is judged by itself.

When: `changed` reads from the steps of a round which tenants' policies may mean something else now. A port that is new
has no connections yet, so its coming is no change; one that goes is, for another may get its address.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from hawser.store.reconcile import Step, Verb

from ..fabric import Fabric
from ..specs import PortSpec, RemoteSpec, RuleSpec, Spec, TableSpec
from .decide import Oracle
from .match import Packet

# what policies read of ports (nft.py), and which networks meet (tenant_rules.py)
OF_PORTS, OF_NETWORKS = ("isolated_", "sel_"), ("joined", "internal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Packet):
    """A tracked connection by its first packet, between the translations.

    From an entry of conntrack: source of the original tuple, target and port of the reply tuple's source. `unsure`: it
    was picked up in its middle, so that either end may have begun it; then `own` is the port that would be its
    destination port. Subclass it to say which entry it is.
    """

    unsure: bool = False
    own: int | None = None


C = TypeVar("C", bound=Packet)


def stale(fabric: Fabric, tenant: str, connections: Iterable[C]) -> tuple[C, ...]:
    """The connections of a tenant's ports that may not exist any more, in their order."""
    oracle = Oracle(fabric, tenant)
    return tuple(
        connection
        for connection in connections
        if (oracle.concerns(connection.source) or oracle.concerns(connection.target))
        and not any(oracle.decide(first).allowed for first in _firsts(connection))
    )


def _firsts(connection: Packet) -> Iterable[Packet]:
    """What its first packet may have been."""
    yield connection
    if isinstance(connection, Connection) and connection.unsure:
        yield replace(connection, source=connection.target, target=connection.source, port=connection.own)


def changed(steps: Iterable[Step[Spec]]) -> set[str]:
    """The tenants whose connections are to be judged anew after these steps were done."""
    known = tuple(steps)
    new = {
        (step.spec.tenant, address)
        for step in known
        if step.verb is Verb.CREATE and isinstance(step.spec, PortSpec | RemoteSpec)
        for address in _addresses(step.spec)
    }
    return {tenant for step in known if (tenant := _of(step, new))}


def _of(step: Step[Spec], new: set[tuple[str, str]]) -> str | None:
    spec = step.spec
    if isinstance(spec, TableSpec):
        return spec.tenant
    if not isinstance(spec, RuleSpec):
        return None
    if spec.set.startswith(OF_PORTS):
        return None if step.verb is Verb.CREATE and (spec.tenant, spec.element) in new else spec.tenant
    return spec.tenant if spec.set in OF_NETWORKS else None


def _addresses(spec: PortSpec | RemoteSpec) -> Iterable[str]:
    if isinstance(spec, RemoteSpec):
        return map(str, spec.addresses)
    return (str(address.ip) for address in spec.addresses)
