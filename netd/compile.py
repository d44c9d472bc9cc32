"""From everything known to what the kernel of one machine should hold, as one flat map; and the order of making it.

Keys say what they are: `table:` is the host's nftables table and `table:<tenant>` a tenant's, `tenant:<name>` its
namespace, `sandbox:<id>`, `bridge:`, `tunnel:<tenant>/<name>` (`clear:` the second one of an encrypted network that may
do without), `remote:<tenant>/<name>/<mac>` (with `/clear` behind the second one), `port:<sandbox>:<ifname>`,
`rule:<tenant>:<set>:<element>` (no tenant: the host's). Specs are exactly what an observation can give back, so that
equal means done, and hold all that making the thing needs. A machine holds only what its own ports need: their
networks, those that routers join, and of these the ports of other machines.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from . import host_rules, switching, tenant_rules
from .fabric import Fabric
from .model import LINK, Kind, Network, Port
from .qos.specs import MirrorSpec, compile_port, qos_key
from .rules import Element, version
from .site import (
    Site,
    bridge_name,
    gateway_interfaces,
    in_order,
    mtu_of,
    of_tenant,
    port_name,
    present,
    rule_specs,
    uplink_name,
)
from .specs import BorrowedSpec, BridgeSpec, PortSpec, RuleSpec, SandboxSpec, Spec, TableSpec, TenantSpec
from .tunnels import remote_specs, tunnel_specs
from .wireguard.specs import SLOTS, ifname_of


class Kept(Protocol):
    """A sandbox as recorded; `source` is "" unless it is borrowed."""

    @property
    def path(self) -> str: ...
    @property
    def source(self) -> str: ...


def compile_intent(fabric: Fabric, site: Site, sandboxes: Mapping[str, Kept]) -> dict[str, Spec]:
    """What should be there; `sandboxes` are this machine's by id. A tenant without a number here has none of it yet."""
    desired: dict[str, Spec] = {
        f"sandbox:{name}": SandboxSpec(path=kept.path, borrowed=kept.source or None)
        for name, kept in sandboxes.items()
        if not kept.source.startswith(LINK)
    }
    here = present(fabric, site)
    for name in sorted({fabric.networks[key].tenant for key in here}):
        desired |= tenant_specs(fabric, site, name)
    for key in sorted(here):
        desired |= network_specs(fabric, site, fabric.networks[key])
    for port in fabric.at(site.machine).values():
        if port.on in here and port.sandbox in sandboxes and not port.leaving:
            desired |= port_specs(fabric, site, fabric.networks[port.on], port)
    return desired | tables(fabric, site, desired)


def tables(fabric: Fabric, site: Site, specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """The tables themselves, with the elements they begin with."""
    elements: dict[str, list[Element]] = {"": []}
    for spec in specs.values():
        if isinstance(spec, RuleSpec):
            elements.setdefault(spec.tenant, []).append((spec.set, spec.element, spec.value))
    found: dict[str, Spec] = {}
    for tenant in [spec.name for spec in specs.values() if isinstance(spec, TenantSpec)]:
        found[f"table:{tenant}"] = tenant_table(fabric, tenant, elements.get(tenant, ()))
    return {"table:": host_table(elements[""]), **found}


def host_table(elements: Iterable[Element] = ()) -> TableSpec:
    """The host's table."""
    return TableSpec(tenant="", version=version(host_rules.CHAINS), chains=host_rules.CHAINS, elements=tuple(elements))


def tenant_table(fabric: Fabric, tenant: str, elements: Iterable[Element] = ()) -> TableSpec:
    """A tenant's tables."""
    chains = tenant_rules.chains(fabric, tenant)
    return TableSpec(tenant=tenant, version=version(chains), chains=chains, elements=tuple(elements))


def tenant_specs(fabric: Fabric, site: Site, tenant: str) -> dict[str, Spec]:
    """A tenant's namespace with its way out, and what the host's table says of it."""
    uplink = uplink_name(site.instance, tenant)
    spec = TenantSpec(
        name=tenant,
        path=f"{site.tenants}/{tenant}",
        ifname=uplink,
        mtu=site.mtu,
        transit=of_tenant(site, tenant),
    )
    overlays = host_rules.of_overlays(ifname_of(site.instance, slot) for slot in SLOTS)
    return {f"tenant:{tenant}": spec, **rule_specs("", (*host_rules.of_tenant(uplink), *overlays))}


def network_specs(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """A network's rules, bridge or gateway, tunnel, and the ports of other machines."""
    ifname = bridge_name(site.instance, network.key)
    rules = rule_specs(network.tenant, tenant_rules.of_network(network, ifname, _joined(fabric, site, network)))
    if network.kind is Kind.OVS:
        return rules | switching.network_specs(fabric, site, network)
    bridge = BridgeSpec(
        tenant=network.tenant,
        ifname=ifname,
        mtu=mtu_of(fabric, site, network),
        mac=network.gateway_mac,
        addresses=gateway_interfaces(network),
        filtered=fabric.filtered(network),
    )
    specs = {**rules, f"bridge:{network.key}": bridge}
    if site.machine in fabric.endpoints:
        specs |= rule_specs("", host_rules.of_tunnels()) | tunnel_specs(fabric, site, network)
        for _, port in sorted(fabric.on(network.key).items()):
            specs |= remote_specs(fabric, site, network, port)
    return specs


def _joined(fabric: Fabric, site: Site, network: Network) -> list[str]:
    return [bridge_name(site.instance, key) for key in sorted(fabric.joined(network.key))]


class Plug(Protocol):
    """What a port's link needs before it has addresses."""

    @property
    def id(self) -> str: ...
    @property
    def ifname(self) -> str: ...
    @property
    def netns(self) -> str: ...
    @property
    def mac(self) -> str: ...


def bare_port(fabric: Fabric, site: Site, network: Network, port: Plug) -> PortSpec:
    """A port's link without addresses. The interface `eth0` gets the default routes."""
    switched = network.kind is Kind.OVS
    return PortSpec(
        tenant=network.tenant,
        ifname=port_name(site.instance, port.id),
        bridge="" if switched else bridge_name(site.instance, network.key),
        switch=site.switch_path if switched else None,
        summed=switched and bool(site.switch_path),
        mtu=mtu_of(fabric, site, network),
        mac=port.mac,
        addresses=(),
        routes=tuple(sorted(network.gateways, key=lambda a: a.version)) if port.ifname == "eth0" else (),
        inner=port.ifname,
        netns=port.netns,
        network=network.key,
    )


def whole_port(fabric: Fabric, site: Site, network: Network, port: Port) -> PortSpec:
    """A port's link with its addresses."""
    return replace(bare_port(fabric, site, network, port), addresses=in_order(port.addresses))


def borrowed_port(fabric: Fabric, site: Site, network: Network, port: Port) -> BorrowedSpec:
    """A link of the host's that is the port."""
    assert port.link is not None
    own = fabric.endpoints.get(site.machine)
    return BorrowedSpec(
        tenant=network.tenant,
        ifname=port_name(site.instance, port.id),
        bridge=bridge_name(site.instance, network.key),
        mtu=mtu_of(fabric, site, network),
        source=port.link,
        network=network.key,
        underlay=own.address if own else None,
    )


def port_specs(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """A port's link and rules."""
    link = (
        borrowed_port(fabric, site, network, port) if port.link is not None else whole_port(fabric, site, network, port)
    )
    return {
        **port_rules(fabric, site, network, port),
        f"port:{port.id}": link,
        **qos_specs(fabric, site, port),
        **published(site, port),
    }


def port_rules(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """What the tenant's tables say of a port, which is there before its link is; frames of a switch are not theirs."""
    ifname = port_name(site.instance, port.id)
    found = rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    if network.kind is Kind.OVS:
        return found
    return found | rule_specs(port.tenant, tenant_rules.of_port(port, ifname))


def qos_specs(fabric: Fabric, site: Site, port: Port) -> dict[str, Spec]:
    """A port's limits and mirrors on the `bridge` data plane, as far as those lead to ports of its tenant that are
    here."""
    network = fabric.networks.get(port.on)
    if network is None or network.kind is not Kind.BRIDGE:
        return {}
    mirrors = []
    for mirror in port.mirrors:
        to = fabric.ports.get(f"{site.machine}/{mirror.to}")
        if to is not None and to.tenant == port.tenant and to.id != port.id and not to.leaving:
            mirrors.append(MirrorSpec(direction=mirror.direction, to=port_name(site.instance, to.id)))
    spec = compile_port(port_name(site.instance, port.id), port, mirrors)
    return {} if spec is None else {qos_key(port): spec}


def published(site: Site, port: Port) -> dict[str, Spec]:
    """What leads from the host's ports to a port."""
    if not port.publish:
        return {}
    outer = rule_specs("", host_rules.of_port(port, of_tenant(site, port.tenant)))
    return {**rule_specs(port.tenant, tenant_rules.of_published(port)), **outer}


def port_keys(site: Site, port: Port) -> set[str]:
    """Every key under which something of a port can be there that would mislead others."""
    known = published(site, port) if port.tenant in site.numbers else dict[str, Spec]()
    return {f"port:{port.id}", f"new:port:{port.id}", *known}
