"""What other machines' ports mean for this one, one change at a time: the work is that of the change.

A port elsewhere is known here by its MAC, its addresses and what policies say of them; where a network floods, also by
its machine's being on it. So its coming, going or moving touches a few keys of the desired map, whatever else there is,
and `affected` says what is desired under just these. Ports of this machine, networks of Open vSwitch and everything
that is no port are compiled anew (`compile_intent`), which would give the same for these keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import compile as compiler
from .compile import Site
from .fabric import Fabric
from .model import Kind, Network, Port
from .specs import Spec

Change = tuple[Port | None, Port | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """What is to be there now under the keys that changes touch; `gone` are those of them under which nothing is."""

    desired: Mapping[str, Spec]
    gone: frozenset[str]

    @property
    def touched(self) -> frozenset[str]:
        """Every key that changes touch."""
        return self.gone | self.desired.keys()


def affected(fabric: Fabric, site: Site, changes: Sequence[Change]) -> Affected | None:
    """What changes touch of the desired map of this machine: ports that were (None: new) and are now (None: gone), in
    order; the fabric has them already. None: they change more than one can say without compiling anew."""
    touched: set[str] = set()
    desired: dict[str, Spec] = {}
    for port in [port for change in changes for port in change if port is not None]:
        network = fabric.networks.get(port.on)
        others = fabric.sharing(port)
        if site.machine in {port.machine, *(other.machine for other in others.values())}:
            return None
        if network is None or network.tenant not in site.numbers or not fabric.meets(site.machine, network.key):
            continue
        if any(fabric.networks[key].kind is not Kind.BRIDGE for key in fabric.joined(network.key)):
            return None
        if site.machine in fabric.endpoints:
            touched |= compiler.remote_specs(fabric, site, network, port).keys()
            desired |= _known(fabric, site, network, others)
    return Affected(desired=desired, gone=frozenset(touched - desired.keys()))


def _known(fabric: Fabric, site: Site, network: Network, ports: Mapping[str, Port]) -> dict[str, Spec]:
    """What is known of some ports of a network, and where it floods to."""
    desired = compiler.tunnel_specs(fabric, site, network) if network.multicast else dict[str, Spec]()
    for _, port in sorted(ports.items()):
        desired |= compiler.remote_specs(fabric, site, network, port)
    return desired
