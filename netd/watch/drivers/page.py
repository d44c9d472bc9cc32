"""The counters of this machine's ports and policies, read where they are: links by one dump of each namespace that has
host ends, policies and what port security dropped from the tenants' tables, read only.

Of a namespace that goes meanwhile, or a table that somebody removed, there is nothing to tell. What a switch's port
security drops is not counted by port.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ... import rules
from ...drivers import netns
from ...drivers.nft import Nft
from ...errors import NotFound
from ...fabric import Fabric
from ...model import Kind, Port
from ...policy.nft import observed_counters
from ...site import Site
from ..ends import host_end
from ..metrics import PolicyCounters, PortSample, port_sample
from ..refused import SET, refused
from ..stats import Counters
from . import counters


def read(fabric: Fabric, site: Site) -> tuple[list[PortSample], dict[str, PolicyCounters]]:
    """Samples of the machine's ports, and policies' counters by tenant. Blocks, and enters namespaces: never on the
    event loop's thread. NetError."""
    ports = [port for port in fabric.at(site.machine).values() if port.on in fabric.networks and not port.leaving]
    samples: list[PortSample] = []
    policies: dict[str, PolicyCounters] = {}
    drops: dict[str, Mapping[str, tuple[int, int]]] = {}
    for tenant in sorted({port.tenant for port in ports}):
        drops[tenant], policies[tenant] = _tables(site, tenant)
    for space, ends in _spaces(fabric, site, ports).items():
        for name, found in _inside(space, ends).items():
            port = ends[name]
            bridged = fabric.networks[port.on].kind is Kind.BRIDGE
            samples.append(port_sample(port, found, drops[port.tenant].get(name, (0, 0)) if bridged else None))
    return samples, policies


def _spaces(fabric: Fabric, site: Site, ports: list[Port]) -> dict[str | None, dict[str, Port]]:
    """Ports by host end, by the namespace that those are in."""
    found: dict[str | None, dict[str, Port]] = {}
    for port in ports:
        end = host_end(fabric, site, port)
        found.setdefault(end.space, {})[end.ifname] = port
    return found


def _inside(space: str | None, ends: Mapping[str, Port]) -> Mapping[str, Counters]:
    try:
        return counters.read(ends) if space is None else netns.inside_here(Path(space), lambda: counters.read(ends))
    except NotFound:
        return {}


def _tables(site: Site, tenant: str) -> tuple[Mapping[str, tuple[int, int]], PolicyCounters]:
    """What port security dropped by host end, and policies' counters."""
    table = rules.table(site.instance)
    try:
        nft = netns.inside_here(Path(site.tenants) / tenant, Nft)
    except NotFound:
        return {}, {}
    with closing(nft):
        dropped = refused(_objects(nft, f"list set bridge {table} {SET}"))
        return dropped, observed_counters(_objects(nft, f"list table inet {table}", terse=True))


def _objects(nft: Nft, command: str, *, terse: bool = False) -> Iterator[dict[str, Any]]:
    try:
        yield from nft.objects(command, terse=terse)
    except NotFound:
        return
