"""Where a port's frames can be seen: the host end of its link, in the namespace that it is in."""

from dataclasses import dataclass

from ..errors import NotFound
from ..fabric import Fabric
from ..model import Kind, Port
from ..site import Site, port_name


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The link `ifname` in the namespace kept at `space`, None: the node's own."""

    space: str | None
    ifname: str


def host_end(fabric: Fabric, site: Site, port: Port) -> End:
    """The host end of a port of this machine, on either data plane. NotFound."""
    network = fabric.networks.get(port.on)
    if network is None:
        raise NotFound(f"{port.id}: network {port.on} cannot be read; correct or delete it")
    space = f"{site.tenants}/{port.tenant}" if network.kind is Kind.BRIDGE else site.switch_path or None
    return End(space=space, ifname=port_name(site.instance, port.id))
