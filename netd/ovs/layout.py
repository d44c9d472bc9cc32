"""What Open vSwitch's database holds for one machine: its bridges, the ports on them, and the numbers they got.

One integration bridge carries every network; what reaches whom on it is the pipeline's. Containers, gateways and two
tunnel ports, whose key and target flows set, are its ports. The datapath in user space has a second bridge, a plain
one, over which its tunnels leave the namespace (`netd/switching.py`).
"""

from collections.abc import Iterator, Mapping

from ..fabric import Fabric
from ..model import Kind, Network, Port, Tunnel, derived, mac_of
from ..site import SWITCH, Site, gateway_name, is_here, port_name
from ..switching import PORTS
from ..tenant_rules import UPLINK
from .rows import BridgeRow, OvsRow, PortRow
from .scope import Ofports

# below are zones that others of the host use
FIRST_ZONE = 4096
UNDERLAY = "under"


def bridge(instance: str) -> str:
    """The name of the integration bridge."""
    return derived("hwi", instance, SWITCH)


def underlay(instance: str) -> str:
    """The name of the bridge by which tunnels of the datapath in user space leave."""
    return derived("hwn", instance, SWITCH)


def rows(fabric: Fabric, site: Site) -> dict[str, OvsRow]:
    """All of it by key; nothing when no network here is of kind `ovs`."""
    networks = switched(fabric, site)
    if not networks:
        return {}
    name = bridge(site.instance)
    found: dict[str, OvsRow] = {"bridge:": BridgeRow(name=name, datapath=site.datapath)}
    if site.switch_path:
        found |= _underlay(site)
    if site.machine in fabric.endpoints:
        for kind in Tunnel:
            ifname = derived("hwt", site.instance, kind)
            options = {"key": "flow", "remote_ip": "flow", "dst_port": str(PORTS[kind])}
            found[f"tunnel:{kind}"] = PortRow(bridge=name, ifname=ifname, type=kind, options=options)
    for key in networks:
        found[f"gateway:{key}"] = PortRow(bridge=name, ifname=gateway_name(site.instance, key))
    for port in _ports(fabric, site, networks):
        ifname = port_name(site.instance, port.id)
        found[f"port:{port.id}"] = PortRow(bridge=name, ifname=ifname, rate=port.qos.ingress)
    return found


def _underlay(site: Site) -> dict[str, OvsRow]:
    name = underlay(site.instance)
    config = {"hwaddr": mac_of(UNDERLAY, site.instance)}
    row = BridgeRow(name=name, datapath=site.datapath, fail_mode="standalone", config=config)
    return {UNDERLAY: row, f"{UNDERLAY}:uplink": PortRow(bridge=name, ifname=UPLINK)}


def switched(fabric: Fabric, site: Site) -> dict[str, Network]:
    """The networks of kind `ovs` that this machine has, by key."""
    networks = (network for _, network in sorted(fabric.networks.items()) if network.kind is Kind.OVS)
    return {network.key: network for network in networks if is_here(fabric, site, network)}


def _ports(fabric: Fabric, site: Site, networks: Mapping[str, Network]) -> Iterator[Port]:
    for port in fabric.at(site.machine).values():
        if port.on in networks and not port.leaving:
            yield port


def ofports(numbers: Mapping[str, int]) -> Ofports:
    """The numbers by what they are for, from those by key."""
    parts = [(*key.partition(":")[::2], number) for key, number in numbers.items()]
    return Ofports(
        ports={rest: number for kind, rest, number in parts if kind == "port"},
        gateways={rest: number for kind, rest, number in parts if kind == "gateway"},
        tunnels={Tunnel(rest): number for kind, rest, number in parts if kind == "tunnel"},
    )


def zones(site: Site) -> dict[str, int]:
    """Each tenant's zone of connection tracking."""
    return {name: FIRST_ZONE + number for name, number in site.numbers.items()}
