"""A lab's state as JSON, and back."""

from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any

from .faults import Faults, Impairment
from .model import End, Host, Link, Topology


def dump_topology(topology: Topology) -> dict[str, Any]:
    return {
        "hosts": [[host.name, str(host.address), host.mac] for host in topology.hosts],
        "switches": list(topology.switches),
        "links": [[link.a.node, link.a.port, link.b.node, link.b.port] for link in topology.links],
    }


def load_topology(document: Mapping[str, Any]) -> Topology:
    hosts = (Host(name=name, address=IPv4Interface(address), mac=mac) for name, address, mac in document["hosts"])
    links = (Link(End(a, i), End(b, j)) for a, i, b, j in document["links"])
    return Topology(hosts=tuple(hosts), switches=tuple(document["switches"]), links=tuple(links))


def dump_faults(faults: Faults) -> dict[str, Any]:
    impaired = {
        interface: {"rate": how.rate, "delay": how.delay, "loss": how.loss}
        for interface, how in sorted(faults.impaired.items())
    }
    return {
        "cuts": sorted(faults.cuts),
        "apart": sorted(map(list, faults.apart)),
        "groups": [list(group) for group in faults.groups],
        "impaired": impaired,
    }


def load_faults(document: Mapping[str, Any]) -> Faults:
    """Of a state without any: none."""
    return Faults(
        cuts=frozenset(document.get("cuts", ())),
        apart=frozenset((a, b) for a, b in document.get("apart", ())),
        groups=tuple(tuple(group) for group in document.get("groups", ())),
        impaired={interface: Impairment(**how) for interface, how in document.get("impaired", {}).items()},
    )
