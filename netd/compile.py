"""From everything known to what the kernel of one machine should hold, as one flat map; and the order of making it.

Keys say what they are: `table:` is the host's nftables table and `table:<tenant>` a tenant's, `tenant:<name>` its
namespace, `sandbox:<id>`, `bridge:`, `tunnel:<tenant>/<name>`, `remote:<port's key>`, `port:<sandbox>:<ifname>`,
`rule:<tenant>:<set>:<element>` (no tenant: the host's). Specs are exactly what an observation can give back, so that
equal means done, and hold all that making the thing needs. A machine holds only what its own ports need: their
networks, those that routers join, and of these the ports of other machines.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from . import host_rules, switching, tenant_rules
from .fabric import Fabric
from .model import Address, Kind, Network, Port
from .rules import Element, version
from .site import (
    Site,
    bridge_name,
    endpoint_of,
    gateway_interfaces,
    in_order,
    mtu_of,
    of_tenant,
    port_name,
    present,
    rule_specs,
    tunnel_name,
    uplink_name,
)
from .specs import BridgeSpec, PortSpec, RemoteSpec, RuleSpec, SandboxSpec, Spec, TableSpec, TenantSpec, TunnelSpec


class Kept(Protocol):
    """A sandbox as recorded; `source` is "" unless it is borrowed."""

    @property
    def path(self) -> str: ...
    @property
    def source(self) -> str: ...


def compile_intent(fabric: Fabric, site: Site, sandboxes: Mapping[str, Kept]) -> dict[str, Spec]:
    """What should be there; `sandboxes` are this machine's by id. A tenant without a number here has none of it yet."""
    desired: dict[str, Spec] = {
        f"sandbox:{name}": SandboxSpec(path=kept.path, borrowed=kept.source or None) for name, kept in sandboxes.items()
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
    return {f"tenant:{tenant}": spec, **rule_specs("", host_rules.of_tenant(uplink))}


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
    specs: dict[str, Spec] = {
        **rules,
        f"bridge:{network.key}": bridge,
    }
    if site.machine in fabric.endpoints:
        specs |= rule_specs("", host_rules.of_tunnels()) | tunnel_specs(fabric, site, network)
        for _, port in sorted(fabric.on(network.key).items()):
            specs |= remote_specs(fabric, site, network, port)
    return specs


def tunnel_specs(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """A network's tunnel, when this machine is one of several."""
    own = fabric.endpoints.get(site.machine)
    if own is None:
        return {}
    tunnel = TunnelSpec(
        tenant=network.tenant,
        ifname=tunnel_name(site.instance, network.key),
        bridge=bridge_name(site.instance, network.key),
        vni=network.vni,
        local=own.inner if network.encrypted and own.inner else own.address,
        mtu=mtu_of(fabric, site, network),
        flood=_flood(fabric, site, network),
    )
    return {f"tunnel:{network.key}": tunnel}


def _joined(fabric: Fabric, site: Site, network: Network) -> list[str]:
    return [bridge_name(site.instance, key) for key in sorted(fabric.joined(network.key))]


def _flood(fabric: Fabric, site: Site, network: Network) -> tuple[Address, ...]:
    """Where broadcast goes: nowhere unless the network wants it."""
    if not network.multicast:
        return ()
    machines = {*fabric.machines(network.key)} - {site.machine}
    found = [endpoint for machine in machines if (endpoint := endpoint_of(fabric, network, machine))]
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def remote_specs(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """A port of another machine, as far as it can be reached."""
    where = endpoint_of(fabric, network, port.machine)
    if port.machine == site.machine or port.leaving or where is None:
        return {}
    remote = RemoteSpec(
        tenant=port.tenant,
        network=network.key,
        tunnel=tunnel_name(site.instance, network.key),
        bridge=bridge_name(site.instance, network.key),
        mac=port.mac,
        addresses=tuple(sorted((a.ip for a in port.addresses), key=lambda a: (a.version, int(a)))),
        endpoint=where,
    )
    policy = rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return {f"remote:{network.key}/{port.mac}": remote, **policy}


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


def port_specs(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """A port's link and rules."""
    link = replace(bare_port(fabric, site, network, port), addresses=in_order(port.addresses))
    return {**port_rules(fabric, site, network, port), f"port:{port.id}": link, **published(site, port)}


def port_rules(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """What the tenant's tables say of a port, which is there before its link is; frames of a switch are not theirs."""
    ifname = port_name(site.instance, port.id)
    found = rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    if network.kind is Kind.OVS:
        return found
    return found | rule_specs(port.tenant, tenant_rules.of_port(port, ifname))


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
