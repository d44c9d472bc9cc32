"""The counters of this machine's ports and policies on the `bridge` data plane, read where they are: in each tenant's
namespace, links by one dump, policies and what port security dropped from the tenant's tables, read only.

Of a tenant whose namespace goes meanwhile there is nothing to tell.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import rules
from ...drivers import netns
from ...drivers.nft import Nft
from ...errors import NotFound
from ...fabric import Fabric
from ...model import Kind, Port
from ...policy.nft import observed_counters
from ...site import Site, port_name
from ..metrics import PolicyCounters, PortSample, port_sample
from ..refused import SET, refused
from ..stats import Counters
from . import counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Of one tenant: links' counters and refusals by host end, and policies'."""

    links: dict[str, Counters]
    refused: dict[str, tuple[int, int]]
    policies: PolicyCounters


def read(fabric: Fabric, site: Site) -> tuple[list[PortSample], dict[str, PolicyCounters]]:
    """Samples of the machine's ports, and policies' counters by tenant. Blocks, and enters namespaces: never on the
    event loop's thread. NetError."""
    samples: list[PortSample] = []
    policies: dict[str, PolicyCounters] = {}
    for tenant, ports in _by_tenant(fabric, site):
        path = Path(site.tenants) / tenant
        names = {port_name(site.instance, port.id): port for port in ports}
        with suppress(NotFound):
            found = netns.inside_here(path, lambda n=names: _inside(site.instance, n))  # type: ignore[misc]
            policies[tenant] = found.policies
            samples += [
                port_sample(names[name], one, found.refused.get(name, (0, 0))) for name, one in found.links.items()
            ]
    return samples, policies


def _by_tenant(fabric: Fabric, site: Site) -> Iterator[tuple[str, list[Port]]]:
    found: dict[str, list[Port]] = {}
    for port in fabric.at(site.machine).values():
        network = fabric.networks.get(port.on)
        if network is not None and network.kind is Kind.BRIDGE and not port.leaving:
            found.setdefault(port.tenant, []).append(port)
    yield from sorted(found.items())


def _inside(instance: str, names: Iterable[str]) -> Read:
    """What is counted in the calling thread's namespace."""
    table = rules.table(instance)
    with closing(Nft()) as nft:
        return Read(
            links=counters.read(set(names)),
            refused=refused(_objects(nft, f"list set bridge {table} {SET}")),
            policies=observed_counters(_objects(nft, f"list table inet {table}")),
        )


def _objects(nft: Nft, command: str) -> list[dict[str, Any]]:
    """What is listed; nothing of a table that somebody removed, until it is made anew."""
    try:
        return nft.objects(command, terse=command.startswith("list table"))
    except NotFound:
        return []
