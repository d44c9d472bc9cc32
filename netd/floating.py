"""What a floating address comes to on the machine that has its port.

The host routes the address to the tenant's end of its transit link and answers for it where the outside looks for it;
its table lets the address in and out untranslated. The tenant's table translates: what comes for the address goes to
its target, where policies decide about it by the target, and what the target sends outside goes under the address. On
other machines nothing is known of it: who speaks to it there goes out and comes in like the rest of the outside.
"""

from collections.abc import Iterator

from .fabric import Fabric
from .model import Floating, Port
from .rules import Element
from .specs import FloatingSpec
from .transit import Transit


def of_port(fabric: Fabric, port: Port) -> Iterator[Floating]:
    """The floating addresses that lead to a port, none when its network has no way out."""
    network = fabric.networks.get(port.on)
    if network is None or network.internal:
        return
    own = {address.ip for address in port.addresses}
    for _, floating in sorted(fabric.floating.items()):
        if (floating.tenant, floating.network) == (port.tenant, port.network) and floating.target in own:
            yield floating


def host_element(floating: Floating) -> Element:
    """What the host's table says of it."""
    return f"floating{floating.address.version}", str(floating.address), None


def tenant_elements(floating: Floating) -> Iterator[Element]:
    """What the tenant's table says of it: both ways."""
    outer, inner, version = str(floating.address), str(floating.target), floating.address.version
    yield f"in{version}", outer, inner
    yield f"out{version}", inner, outer


def spec(floating: Floating, uplink: str, transit: Transit) -> FloatingSpec:
    """Its way from the host to its tenant."""
    via = transit.tenant4.ip if floating.address.version == 4 else transit.tenant6.ip
    return FloatingSpec(tenant=floating.tenant, address=floating.address, uplink=uplink, via=via)
