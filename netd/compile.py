"""From everything known to what the kernel of one machine should hold, as one flat map; and the order of making it.

Keys say what they are: `table:` is the host's nftables table and `table:<tenant>` a tenant's, `tenant:<name>` its
namespace, `sandbox:<id>`, `bridge:`, `tunnel:<tenant>/<name>`, `remote:<port's key>`, `port:<sandbox>:<ifname>`,
`rule:<tenant>:<set>:<element>` (no tenant: the host's). Specs are exactly what an observation can give back, so that
equal means done, and hold all that making the thing needs. A machine holds only what its own ports need: their
networks, those that routers join, and of these the ports of other machines.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from . import host_rules, tenant_rules
from .fabric import Fabric
from .model import LINK, Address, Interface, Network, Port, derived, interface
from .rules import Element, version
from .specs import (
    BorrowedSpec,
    BridgeSpec,
    PortSpec,
    RemoteSpec,
    RuleSpec,
    SandboxSpec,
    Spec,
    TableSpec,
    TenantSpec,
    TunnelSpec,
)
from .transit import Transit, transit

VXLAN4, VXLAN6 = 50, 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is particular to one machine: its id, the mark of what it makes, where it keeps tenants' namespaces, the
    MTU of its uplink, and each tenant's number in its transit network."""

    machine: str
    instance: str
    tenants: str
    mtu: int
    numbers: Mapping[str, int] = field(default_factory=dict)


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
    present = {key for key in fabric.present(site.machine) if fabric.networks[key].tenant in site.numbers}
    for name in sorted({fabric.networks[key].tenant for key in present}):
        desired |= tenant_specs(fabric, site, name)
    for key in sorted(present):
        desired |= network_specs(fabric, site, fabric.networks[key])
    for port in fabric.at(site.machine).values():
        if port.on in present and port.sandbox in sandboxes and not port.leaving:
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


def uplink_name(instance: str, tenant: str) -> str:
    """The kernel's name of the host's end of a tenant's way out."""
    return derived("hwu", instance, tenant)


def bridge_name(instance: str, key: str) -> str:
    """The kernel's name of a network's bridge."""
    return derived("hwb", instance, key)


def tunnel_name(instance: str, key: str) -> str:
    """The kernel's name of a network's VXLAN device."""
    return derived("hwx", instance, key)


def port_name(instance: str, port: str) -> str:
    """The kernel's name of the tenant's end of a port."""
    return derived("hwp", instance, port)


def of_tenant(site: Site, tenant: str) -> Transit:
    """Where a tenant meets the host on this machine."""
    return transit(site.numbers[tenant])


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
    return {f"tenant:{tenant}": spec, **_rule_specs("", host_rules.of_tenant(uplink))}


def network_specs(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """A network's rules, bridge, tunnel, and the ports of other machines."""
    ifname = bridge_name(site.instance, network.key)
    bridge = BridgeSpec(
        tenant=network.tenant,
        ifname=ifname,
        mtu=mtu_of(fabric, site, network),
        mac=network.gateway_mac,
        addresses=gateway_interfaces(network),
        filtered=fabric.filtered(network),
    )
    specs: dict[str, Spec] = {
        **_rule_specs(network.tenant, tenant_rules.of_network(network, ifname, _joined(fabric, site, network))),
        f"bridge:{network.key}": bridge,
    }
    own = fabric.endpoints.get(site.machine)
    if own is None:
        return specs
    specs[f"tunnel:{network.key}"] = TunnelSpec(
        tenant=network.tenant,
        ifname=tunnel_name(site.instance, network.key),
        bridge=ifname,
        vni=network.vni,
        local=own.inner if network.encrypted and own.inner else own.address,
        mtu=bridge.mtu,
        flood=_flood(fabric, site, network),
    )
    for port in fabric.on(network.key).values():
        specs |= remote_specs(fabric, site, network, port)
    return specs


def _joined(fabric: Fabric, site: Site, network: Network) -> list[str]:
    return [bridge_name(site.instance, key) for key in sorted(fabric.joined(network.key))]


def _flood(fabric: Fabric, site: Site, network: Network) -> tuple[Address, ...]:
    """Where broadcast goes: nowhere unless the network wants it."""
    if not network.multicast:
        return ()
    machines = {port.machine for port in fabric.on(network.key).values() if port.machine != site.machine}
    found = [endpoint for machine in machines if (endpoint := endpoint_of(fabric, network, machine))]
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def endpoint_of(fabric: Fabric, network: Network, machine: str) -> Address | None:
    """Where a machine takes the network's tunnel: inside the encrypted overlay, or in the clear; None: it cannot."""
    endpoint = fabric.endpoints.get(machine)
    if endpoint is None:
        return None
    return endpoint.inner if network.encrypted else endpoint.address


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
    policy = _rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return {f"remote:{network.key}/{port.mac}": remote, **policy}


def mtu_of(fabric: Fabric, site: Site, network: Network) -> int:
    """The network's MTU: as asked for, or what every machine's underlay leaves after the tunnel's headers.

    VXLAN adds 50 bytes over IPv4 and 70 over IPv6 (RFC 7348 §5); WireGuard's are already off the endpoint's inner MTU.
    """
    if network.mtu is not None:
        return network.mtu
    if site.machine not in fabric.endpoints:
        return site.mtu
    room = (_room(endpoint.mtu, endpoint.address, network) for endpoint in fabric.endpoints.values())
    return min(room)


def _room(mtu: int, address: Address, network: Network) -> int:
    overhead = VXLAN4 if address.version == 4 else VXLAN6
    if network.encrypted:
        return mtu - (60 if address.version == 4 else 80) - VXLAN6
    return mtu - overhead


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
    return PortSpec(
        tenant=network.tenant,
        ifname=port_name(site.instance, port.id),
        bridge=bridge_name(site.instance, network.key),
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
    return replace(bare_port(fabric, site, network, port), addresses=_sorted(port.addresses))


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
    return {**port_rules(fabric, site, port), f"port:{port.id}": link, **published(site, port)}


def port_rules(fabric: Fabric, site: Site, port: Port) -> dict[str, Spec]:
    """What the tenant's tables say of a port, which is there before its link is."""
    ifname = port_name(site.instance, port.id)
    found = _rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return found | _rule_specs(port.tenant, tenant_rules.of_port(port, ifname))


def published(site: Site, port: Port) -> dict[str, Spec]:
    """What leads from the host's ports to a port."""
    if not port.publish:
        return {}
    outer = _rule_specs("", host_rules.of_port(port, of_tenant(site, port.tenant)))
    return {**_rule_specs(port.tenant, tenant_rules.of_published(port)), **outer}


def port_keys(site: Site, port: Port) -> set[str]:
    """Every key under which something of a port can be there that would mislead others."""
    known = published(site, port) if port.tenant in site.numbers else dict[str, Spec]()
    return {f"port:{port.id}", f"new:port:{port.id}", *known}


def gateway_interfaces(network: Network) -> tuple[Interface, ...]:
    """The gateway's addresses with their prefix lengths, sorted by version."""
    pairs = zip(network.gateways, network.subnets, strict=True)
    return _sorted(interface(gateway, subnet) for gateway, subnet in pairs)


def _sorted(addresses: Iterable[Interface]) -> tuple[Interface, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a.ip))))


def _rule_specs(tenant: str, elements: Iterable[Element]) -> dict[str, Spec]:
    return {
        f"rule:{tenant}:{name}:{element}": RuleSpec(tenant=tenant, set=name, element=element, value=value)
        for name, element, value in elements
    }
