"""What a machine's kernel holds for networks of kind `ovs`; the switch itself is `ovs.layout`'s and `ovs.pipeline`'s.

With the kernel's datapath everything of the switch is in the host's namespace. The one in user space has a namespace of
its own with one way out, a transit link like a tenant's: it finds a tunnel's next hop by the routes of its namespace
and sends only through bridges of its own, and the machine's links are not given to it. The host translates its tunnels
(`host_rules`). A network's gateway is the end of a veth pair in its tenant's namespace, named as a bridge would be.
"""

from . import host_rules, tenant_rules
from .fabric import Fabric
from .model import Network, Tunnel
from .site import (
    SWITCH,
    Site,
    bridge_name,
    gateway_interfaces,
    gateway_name,
    mtu_of,
    of_tenant,
    rule_specs,
    uplink_name,
)
from .specs import GatewaySpec, Spec, SwitchSpec

# RFC 8926 §3.3; VXLAN's own port is the bridges' tunnels', and one socket cannot serve both
PORTS = {Tunnel.GENEVE: 6081, Tunnel.VXLAN: 14789}


def network_specs(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """A network's gateway, what policies say of other machines' ports (the gateway's kernel asks them, too), and the
    switch's own."""
    found = switch_specs(fabric, site)
    found[f"gateway:{network.key}"] = GatewaySpec(
        tenant=network.tenant,
        switch=site.switch_path,
        ifname=gateway_name(site.instance, network.key),
        inner=bridge_name(site.instance, network.key),
        mtu=mtu_of(fabric, site, network),
        mac=network.gateway_mac,
        addresses=gateway_interfaces(network),
        summed=bool(site.switch_path),
    )
    for port in fabric.on(network.key).values():
        if port.machine != site.machine and not port.leaving:
            found |= rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return found


def switch_specs(fabric: Fabric, site: Site) -> dict[str, Spec]:
    """The namespace of a datapath in user space, and what the host's table says of it; nothing for the kernel's."""
    if not site.switch_path:
        return {}
    uplink, transit = uplink_name(site.instance, SWITCH), of_tenant(site, SWITCH)
    endpoint = fabric.endpoints.get(site.machine)
    address = endpoint.address if endpoint is not None else None
    rules = rule_specs("", host_rules.of_switch(uplink, transit, address, PORTS.values()))
    spec = SwitchSpec(path=site.switch_path, ifname=uplink, mtu=site.mtu, addresses=(transit.host4, transit.host6))
    return {**rules, "switch:": spec}
