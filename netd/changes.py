"""What other machines' ports mean for this one, one change at a time: the work is that of the change.

A port elsewhere is known here by its MAC, its addresses and what policies say of them; where a network floods, also by
its machine's being on it. So its coming, going or moving touches a few keys of the desired map, whatever else there is,
and `affected` says what is desired under just these. Ports of this machine and everything that is no port are compiled
anew (`compile_intent`), which would give the same for these keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import tenant_rules
from .fabric import Fabric
from .model import Kind, Network, Port
from .site import Site, is_here, rule_specs
from .specs import Spec
from .tunnels import remote_specs, tunnel_specs

Change = tuple[Port | None, Port | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """What is to be there now under the keys that changes touch; `gone` are those of them under which nothing is.
    `switched`: the switch of networks of kind `ovs` is to follow, too."""

    desired: Mapping[str, Spec]
    gone: frozenset[str]
    switched: bool = False

    @property
    def touched(self) -> frozenset[str]:
        """Every key that changes touch."""
        return self.gone | self.desired.keys()


def affected(fabric: Fabric, site: Site, changes: Sequence[Change]) -> Affected | None:
    """What changes touch of the desired map of this machine: ports that were (None: new) and are now (None: gone), in
    order; the fabric has them already. None: they change more than one can say without compiling anew."""
    touched: set[str] = set()
    desired: dict[str, Spec] = {}
    switched = False
    for port in [port for change in changes for port in change if port is not None]:
        network = fabric.networks.get(port.on)
        others = fabric.sharing(port)
        if site.machine in {port.machine, *(other.machine for other in others.values())}:
            return None
        if network is None or not is_here(fabric, site, network):
            continue
        touched |= _elsewhere(fabric, site, network, port).keys()
        desired |= _tunnel(fabric, site, network)
        for _, other in sorted(others.items()):
            desired |= _elsewhere(fabric, site, network, other)
        switched |= any(fabric.networks[key].kind is Kind.OVS for key in fabric.joined(network.key))
    return Affected(desired=desired, gone=frozenset(touched - desired.keys()), switched=switched)


def _elsewhere(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """What is here of a port elsewhere, besides flows."""
    if network.kind is Kind.OVS:
        return {} if port.leaving else rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return remote_specs(fabric, site, network, port) if site.machine in fabric.endpoints else {}


def _tunnel(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """Where the network floods to."""
    floods = network.multicast and network.kind is Kind.BRIDGE
    return tunnel_specs(fabric, site, network) if floods else {}
