"""The tunnels of a network of kind `bridge` on one machine, and what is behind them.

A network has one VXLAN device: in the clear, or inside the encrypted overlay, at a UDP port of its own there. An
encrypted network that may do without (`Network.insecure`) has a second one, in the clear, for the machines that have
no WireGuard, and on those the second one only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from . import tenant_rules
from .fabric import Fabric
from .model import SEALED_PORT, VXLAN_PORT, Address, Endpoint, Network, Port
from .site import Site, bridge_name, clear_name, mtu_of, rule_specs, tunnel_name, way_to
from .specs import CLEAR, RemoteSpec, Spec, TunnelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One VXLAN device of a network on this machine."""

    ifname: str
    local: Address
    port: int
    clear: bool = False


def devices(site: Site, network: Network, own: Endpoint) -> Iterator[tuple[str, Device]]:
    """The devices of a network by the keys of their specs."""
    name, clear = (name(site.instance, network.key) for name in (tunnel_name, clear_name))
    if not network.encrypted:
        yield f"tunnel:{network.key}", Device(ifname=name, local=own.address, port=VXLAN_PORT, clear=True)
        return
    if own.inner is not None:
        yield f"tunnel:{network.key}", Device(ifname=name, local=own.inner, port=SEALED_PORT)
    if network.insecure:
        yield f"clear:{network.key}", Device(ifname=clear, local=own.address, port=VXLAN_PORT, clear=True)


def tunnel_specs(fabric: Fabric, site: Site, network: Network) -> dict[str, Spec]:
    """The tunnels; none on a machine that is alone."""
    own = fabric.endpoints.get(site.machine)
    if own is None:
        return {}
    return {
        key: TunnelSpec(
            tenant=network.tenant,
            ifname=device.ifname,
            bridge=bridge_name(site.instance, network.key),
            vni=network.vni,
            local=device.local,
            port=device.port,
            mtu=mtu_of(fabric, site, network),
            flood=_flood(fabric, site, network, device),
        )
        for key, device in devices(site, network, own)
    }


def _flood(fabric: Fabric, site: Site, network: Network, device: Device) -> tuple[Address, ...]:
    """Where broadcast goes through a device: nowhere unless the network wants it."""
    if not network.multicast:
        return ()
    machines = {*fabric.machines(network.key)} - {site.machine}
    ends = [end for machine in machines if (end := way_to(fabric, site.machine, network, machine))]
    found = [end.address for end in ends if end.clear is device.clear]
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def remote_specs(fabric: Fabric, site: Site, network: Network, port: Port) -> dict[str, Spec]:
    """A port of another machine, as far as it can be reached."""
    where = way_to(fabric, site.machine, network, port.machine)
    if port.machine == site.machine or port.leaving or where is None:
        return {}
    second = network.encrypted and where.clear
    remote = RemoteSpec(
        tenant=port.tenant,
        network=network.key,
        tunnel=(clear_name if second else tunnel_name)(site.instance, network.key),
        bridge=bridge_name(site.instance, network.key),
        mac=port.mac,
        addresses=tuple(sorted((a.ip for a in port.addresses), key=lambda a: (a.version, int(a)))),
        endpoint=where.address,
    )
    policy = rule_specs(port.tenant, tenant_rules.of_any_port(fabric, port))
    return {f"remote:{network.key}/{port.mac}{CLEAR if second else ''}": remote, **policy}
