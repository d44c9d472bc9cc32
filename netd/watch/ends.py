"""Where a port's frames can be seen: the host end of its link, in the namespace that it is in."""

from dataclasses import dataclass

from ..errors import NotFound, Unavailable
from ..fabric import Fabric
from ..model import Kind, Port
from ..site import Site, port_name


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The link `ifname` in the namespace kept at `space`."""

    space: str
    ifname: str


def host_end(fabric: Fabric, site: Site, port: Port) -> End:
    """The host end of a port of this machine. NotFound; Unavailable on a data plane that does not tell."""
    network = fabric.networks.get(port.on)
    if network is None:
        raise NotFound(f"{port.id}: network {port.on} cannot be read; correct or delete it")
    if network.kind is not Kind.BRIDGE:
        raise Unavailable(f"{port.id}: frames on networks of plane {network.kind} cannot be seen here")
    return End(space=f"{site.tenants}/{port.tenant}", ifname=port_name(site.instance, port.id))
