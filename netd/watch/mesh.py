"""Who asks whom in a full mesh, and what the answers should have been.

A network's ports, or all of a tenant's, ask each other for an echo by one version of IP. What policies and routers say
of each pair is known, so that a pair that is lost although it may speak, or heard although it may not, stands out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..errors import Invalid, NotFound
from ..fabric import Fabric
from ..model import Address, Port
from ..policy.decide import Oracle, Packet
from .echo import REQUEST
from .matrix import Matrix, Sample, matrix

PROTO = {4: "icmp", 6: "icmpv6"}
WIDE = 12  # columns that fit a terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Ports by key, each with the address by which it is asked."""

    tenant: str
    version: int
    ports: Mapping[str, Port]
    addresses: Mapping[str, Address]

    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """The ports' keys by the machine that has them."""
        found: dict[str, tuple[str, ...]] = {}
        for key, port in self.ports.items():
            found[port.machine] = (*found.get(port.machine, ()), key)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """A pair whose outcome is not what the model says; `reason` is the model's."""

    source: str
    target: str
    heard: bool
    reason: str


def mesh(fabric: Fabric, tenant: str, network: str | None, version: int | None) -> Mesh:
    """The mesh of a network, or with None of a tenant; `version` None: IPv4 where there is any. NotFound, Invalid."""
    known = {one.name for one in fabric.of_tenant(tenant)}
    if not known or network not in (None, *known):
        what = f"network {tenant}/{network}" if network else f"tenant {tenant}"
        raise NotFound(f"{what} does not exist or has no networks; see: hawser net ls")
    every = (fabric.on(f"{tenant}/{name}").values() for name in sorted(known) if network in (None, name))
    ports = {port.key: port for found in every for port in sorted(found, key=lambda port: port.key) if not port.leaving}
    versions = {address.version for port in ports.values() for address in port.addresses}
    version = version or min(versions, default=4)
    addresses = {
        key: address.ip for key, port in ports.items() for address in port.addresses if address.version == version
    }
    if ports and not addresses:
        raise Invalid(f"no port there has an address of IPv{version}; ask by the other version")
    return Mesh(tenant=tenant, version=version, ports={key: ports[key] for key in addresses}, addresses=addresses)


def names(ports: Iterable[Port], known: Mapping[str, str]) -> dict[str, str]:
    """How ports are shown, by key: their sandbox's name (`known` by id, else the id), and as much more as it takes."""
    ports = list(ports)
    forms = [
        {port.key: known.get(port.sandbox, port.sandbox) for port in ports},
        {port.key: f"{known.get(port.sandbox, port.sandbox)}:{port.ifname}" for port in ports},
        {port.key: port.id for port in ports},
        {port.key: port.key for port in ports},
    ]
    return next(form for form in forms if len(set(form.values())) == len(ports))


def surprises(fabric: Fabric, asked: Mesh, samples: Iterable[Sample]) -> Iterator[Surprise]:
    """Pairs that the model judges otherwise; samples are of ports' keys."""
    oracle = Oracle(fabric, asked.tenant)
    for sample in samples:
        heard = any(time is not None for time in sample.times)
        packet = Packet(
            source=asked.addresses[sample.source],
            target=asked.addresses[sample.target],
            proto=PROTO[asked.version],
            icmp_type=REQUEST[asked.version],
        )
        verdict = oracle.decide(packet)
        if heard != verdict.allowed:
            yield Surprise(source=sample.source, target=sample.target, heard=heard, reason=verdict.reason)


def renamed(samples: Iterable[Sample], shown: Mapping[str, str]) -> Matrix:
    """The matrix under the names that are shown, in their order."""
    named = [Sample(source=shown[one.source], target=shown[one.target], times=one.times) for one in samples]
    return matrix(sorted(named, key=lambda one: (one.source, one.target)))


def lines(found: Matrix) -> Iterator[str]:
    """The matrix as a table; where it is too wide, one line a source."""
    if len(found.targets) <= WIDE:
        yield from found.lines()
        return
    width = max(map(len, found.sources), default=0)
    for source in found.sources:
        cells = [cell for (name, _), cell in found.cells.items() if name == source]
        medians = [cell.median * 1000 for cell in cells if cell.median is not None]
        times = f"  {min(medians):.3g}-{max(medians):.3g} ms" if medians else ""
        heard = sum(cell.received == cell.sent for cell in cells)
        yield f"{source.ljust(width)}  {heard} of {len(cells)} without loss{times}"
    yield list(found.lines())[-1]
