"""From a topology to what the kernel is asked for, in order. Pure: no namespace is needed to see it.

The fabric namespace gets all bridges first. Then each host's namespace is made and, from inside, its veth pairs, whose
far ends are born in the fabric, in their bridges. Last the switches are cabled, inside the fabric, in one batch.
Interface indexes are chosen here, not by the kernel, so that a batch can refer to links it has only just asked for;
they start high, above the fallback devices some kernels put into every namespace.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface

from .model import Topology

FIRST_BRIDGE = 1000
FIRST_PORT = 100
FIRST_PEER = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A switch: no spanning tree, no multicast snooping; up."""

    name: str
    index: int
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A host's interface, made from inside its namespace; `peer` appears in the fabric, in a bridge."""

    name: str
    index: int
    peer: str
    peer_index: int
    bridge: int
    mac: str | None = None
    address: IPv4Interface | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A host's namespace with its interfaces."""

    host: str
    cables: tuple[Cable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """A veth pair between two switches, both ends in the fabric."""

    name: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An end of a trunk, which joins a bridge and goes up."""

    name: str
    bridge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything of a lab; the fields in the order of the work."""

    bridges: tuple[Bridge, ...]
    spaces: tuple[Space, ...]
    trunks: tuple[Trunk, ...]
    ports: tuple[Port, ...]


def render(lab: Topology) -> Plan:
    """The plan of a topology; deterministic."""
    index = {switch: FIRST_BRIDGE + number for number, switch in enumerate(lab.switches)}
    cables: dict[str, list[Cable]] = {host.name: [] for host in lab.hosts}
    hosts = {host.name: host for host in lab.hosts}
    trunks: list[Trunk] = []
    ports: list[Port] = []
    for number, link in enumerate(lab.links):
        ends = (link.a, link.b) if link.a.node in hosts else (link.b, link.a)
        near, far = ends
        if near.node in hosts:
            own = hosts[near.node]
            first = (own.mac, own.address) if near.port == 0 else (None, None)
            cable = Cable(
                name=near.interface,
                index=FIRST_PORT + near.port,
                peer=far.interface,
                peer_index=FIRST_PEER + number,
                bridge=index[far.node],
                mac=first[0],
                address=first[1],
            )
            cables[near.node].append(cable)
        else:
            trunks.append(Trunk(name=link.a.interface, peer=link.b.interface))
            ports += [Port(name=end.interface, bridge=index[end.node]) for end in ends]
    bridges = (Bridge(name=name, index=i, mac=f"06:48:00:00:{i >> 8:02x}:{i & 255:02x}") for name, i in index.items())
    spaces = (Space(host=host, cables=tuple(own)) for host, own in cables.items())
    return Plan(bridges=tuple(bridges), spaces=tuple(spaces), trunks=tuple(trunks), ports=tuple(ports))
