"""What a port's quality of service asks of the kernel, as values; keyed `qos:<port id>`.

Directions are the port's: ingress comes to it. Rates are whole bytes per second, as the kernel counts, so that what is
wanted can be compared with what is there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import Invalid
from ..model import Direction, Port

LEAST = 8000  # bit/s


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSpec:
    """A copy of every frame of one direction is sent to the port whose host end is `to`, in the same namespace.

    A copy is taken before the port's rate holds anything back, with its DSCP, and counts against the ingress rate of
    the port that gets it.
    """

    direction: Direction
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QosSpec:
    """Of the port whose host end is `ifname`: rates in bit/s, None for none; `dscp` 0-63 of what it sends; `mirrors`
    sorted by direction and target."""

    tenant: str = field(compare=False)
    ifname: str
    ingress: int | None = None
    egress: int | None = None
    dscp: int | None = None
    mirrors: tuple[MirrorSpec, ...] = ()


def qos_key(port: Port) -> str:
    """The key of a port's spec."""
    return f"qos:{port.id}"


def compile_port(ifname: str, port: Port, mirrors: Iterable[MirrorSpec] = ()) -> QosSpec | None:
    """What a port asks for, None for nothing; Invalid when it is mirrored to itself, or a DSCP does not exist."""
    wanted = tuple(sorted(set(mirrors), key=lambda mirror: (mirror.direction, mirror.to)))
    if any(mirror.to == ifname for mirror in wanted):
        raise Invalid(f"port {port.id} is mirrored to itself; name another port")
    qos = port.qos
    if qos.dscp is not None and not 0 <= qos.dscp < 64:
        raise Invalid(f"port {port.id}: dscp {qos.dscp}: give 0-63")
    if not wanted and qos.ingress is None and qos.egress is None and qos.dscp is None:
        return None
    return QosSpec(
        tenant=port.tenant,
        ifname=ifname,
        ingress=_whole(qos.ingress),
        egress=_whole(qos.egress),
        dscp=qos.dscp,
        mirrors=wanted,
    )


def check_rings(specs: Mapping[str, QosSpec]) -> None:
    """Invalid when mirrors go round: a copy that reaches a port counts as its ingress, and would be copied again."""
    leads = {
        spec.ifname: [mirror.to for mirror in spec.mirrors if mirror.direction is Direction.INGRESS]
        for spec in specs.values()
    }
    keys = {spec.ifname: key.removeprefix("qos:") for key, spec in specs.items()}
    for first in sorted(leads):
        seen, ahead = set[str](), list(leads[first])
        while ahead:
            name = ahead.pop()
            if name == first:
                raise Invalid(f"mirrors of port {keys[first]} lead back to it; mirror one direction only")
            if name not in seen:
                seen.add(name)
                ahead += leads.get(name, ())


def _whole(rate: int | None) -> int | None:
    return None if rate is None else max(rate, LEAST) // 8 * 8
