"""What may be changed of a port that is there: its limits, and to which other port it is mirrored.

A port that is attached by a reservation has the reservation's limits. A mirror stays declared as long as the port it is
of; while the port it leads to is not there, nothing is copied.
"""

from collections.abc import Collection
from dataclasses import replace

from ..errors import Conflict, Invalid, NotFound, Unavailable
from ..fabric import Fabric
from ..model import Direction, Kind, Mirror, Port, Qos
from .specs import MirrorSpec, QosSpec, check_rings, qos_key


def limited(port: Port, qos: Qos) -> Port:
    """A port with these limits and no others. Conflict."""
    if port.reserved is not None and port.qos != qos:
        raise Conflict(f"port {port.id} has its limits from the reserved port {port.reserved}; change them there")
    return replace(port, qos=qos)


def mirrored(fabric: Fabric, port: Port, to: str, directions: Collection[Direction]) -> Port:
    """A port that is also mirrored to the port `to` (an id), which is on the same machine. Invalid, NotFound,
    Unavailable."""
    target = fabric.ports.get(f"{port.machine}/{to}")
    if target is None or target.leaving or target.tenant != port.tenant:
        raise NotFound(f"tenant {port.tenant} has no port {to} on the machine of {port.id}; see: hawser net show")
    if target.id == port.id:
        raise Invalid(f"port {port.id} is mirrored to itself; name another port")
    for each in (port, target):
        network = fabric.networks.get(each.on)
        if network is not None and network.kind is not Kind.BRIDGE:
            raise Unavailable(f"port {each.id}: ports on networks of plane {network.kind} are not mirrored; capture it")
    found = {*port.mirrors, *(Mirror(direction=direction, to=to) for direction in directions)}
    changed = replace(port, mirrors=tuple(sorted(found, key=lambda mirror: (mirror.direction, mirror.to))))
    check_rings({qos_key(one): _as_spec(one) for one in (*fabric.at(port.machine).values(), changed)})
    return changed


def unmirrored(port: Port, to: str, directions: Collection[Direction]) -> Port:
    """A port that is no longer mirrored there. NotFound."""
    left = tuple(mirror for mirror in port.mirrors if mirror.to != to or mirror.direction not in directions)
    if left == port.mirrors:
        raise NotFound(f"port {port.id} is not mirrored to {to}; see: hawser net mirror ls")
    return replace(port, mirrors=left)


def _as_spec(port: Port) -> QosSpec:
    """The mirrors alone, by the ports' ids."""
    mirrors = tuple(MirrorSpec(direction=mirror.direction, to=mirror.to) for mirror in port.mirrors)
    return QosSpec(tenant=port.tenant, ifname=port.id, mirrors=mirrors)
