"""Fabrics for the pipeline: tenants with the very same subnets and MACs' last octets, ports on three machines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from hawser.netd.fabric import Fabric
from hawser.netd.model import Address, Default, Endpoint, Kind, Network, Policy, Port, Router, Tenant, Tunnel
from hawser.netd.ovs import packets
from hawser.netd.ovs.packets import Packet
from hawser.netd.ovs.scope import Ofports
from hawser.netd.ovs.simulator import Delivery, Simulator
from tests.netd.policy import worlds

MACHINES = ("m1", "m2", "m3")
ZONES = {"blue": 7, "red": 8}
TUNNEL, GENEVE = 99, 98
PLACES = {"web1": "m1", "web2": "m2", "db1": "m1", "db2": "m2", "safe1": "m1"}


def endpoint(number: int, *, inner: bool = False) -> Endpoint:
    """That of machine number n."""
    inside = ip_address(f"10.8.0.{number}") if inner else None
    return Endpoint(machine=f"m{number}", address=ip_address(f"10.9.0.{number}"), mtu=1500, inner=inside)


def fabric(
    *policies: Policy,
    places: Mapping[str, str] = PLACES,
    tenants: Iterable[str] = ("blue", "red"),
    default: Default = Default.ALLOW,
    defaults: Mapping[str, Default] | None = None,
    inner: Iterable[int] = (),
    endpoints: Iterable[int] = (1, 2, 3),
    networks: Mapping[str, Any] | None = None,
) -> Fabric:
    """Each tenant has the networks and ports of `worlds.world`, `front` and `back` joined, `lone` internal; `networks`
    are more fields by name."""
    made = Fabric()
    for first, tenant in enumerate(tenants, 1):
        made.tenants[tenant] = Tenant(name=tenant, default=default)
        made.routers[f"{tenant}/r"] = Router(tenant=tenant, name="r", networks=("front", "back"))
        for number, name in enumerate(worlds.NETWORKS, 1):
            fields = {
                "kind": Kind.OVS,
                "vni": first * 100 + number,
                "internal": name == "lone",
                "tunnel": Tunnel.GENEVE if name == "back" else Tunnel.VXLAN,
                "default": (defaults or {}).get(name),
                **(networks or {}).get(name, {}),
            }
            made.networks[f"{tenant}/{name}"] = worlds.network(name, number, tenant, **fields)
        for sandbox, on, host in worlds.PORTS:
            each = worlds.port(sandbox, on, host, tenant)
            machine = places[sandbox]
            made.put_port(replace(each, machine=machine, sandbox=f"{tenant}-{sandbox}"))
    made.policies.update((policy.key, policy) for policy in policies)
    made.endpoints.update((f"m{n}", endpoint(n, inner=n in inner)) for n in endpoints)
    return made


def numbers(made: Fabric, machine: str) -> Ofports:
    """Numbers for a machine's ports and gateways, in the order of their names."""
    ports = {port.id: n for n, (_, port) in enumerate(sorted(made.at(machine).items()), 1)}
    gateways = {key: n for n, key in enumerate(sorted(made.present(machine)), 50)}
    return Ofports(ports=ports, gateways=gateways, tunnels={Tunnel.VXLAN: TUNNEL, Tunnel.GENEVE: GENEVE})


@dataclass(slots=True)
class Stage:
    """A fabric and its simulated machines."""

    fabric: Fabric
    ofports: dict[str, Ofports]
    cluster: Simulator = field(repr=False)

    @classmethod
    def of(cls, made: Fabric) -> "Stage":
        ofports = {machine: numbers(made, machine) for machine in MACHINES}
        return cls(made, ofports, Simulator.of(made, ofports, ZONES))

    def port(self, name: str, tenant: str = "blue") -> Port:
        """The port of a sandbox."""
        return next(port for port in self.fabric.ports.values() if port.sandbox == f"{tenant}-{name}")

    def network(self, port: Port) -> Network:
        return self.fabric.networks[port.on]

    def number(self, port: Port) -> int:
        return self.ofports[port.machine].ports[port.id]

    def at(self, port: Port) -> tuple[str, int]:
        """Where a port's packets come out."""
        return port.machine, self.number(port)

    def gateway(self, port: Port) -> tuple[str, int]:
        """Where the packets to a port's gateway come out."""
        return port.machine, self.ofports[port.machine].gateways[port.on]

    def send(self, port: Port, packet: Packet) -> list[Delivery]:
        return self.cluster.send(port.machine, self.number(port), packet)

    def from_gateway(self, port: Port, packet: Packet) -> list[Delivery]:
        """From the gateway of a port's network, on its machine."""
        return self.cluster.send(*self.gateway(port), packet)

    def owner(self, delivery: Delivery) -> Port | str:
        """The port, or the key of the gateway's network, that gets it."""
        ofports = self.ofports[delivery.machine]
        for port in self.fabric.at(delivery.machine).values():
            if ofports.ports.get(port.id) == delivery.port:
                return port
        return next(key for key, number in ofports.gateways.items() if number == delivery.port)

    def hop(self, port: Port, target: Address) -> str:
        """The MAC to which a port's kernel sends what goes to an address: its owner's on its network, or the
        gateway's."""
        network = self.network(port)
        if any(target in subnet for subnet in network.subnets) and target not in network.gateways:
            owners = {a.ip: p.mac for p in self.fabric.on(port.on).values() if not p.leaving for a in p.addresses}
            return owners.get(target, network.gateway_mac)
        return network.gateway_mac


def places(deliveries: Iterable[Delivery]) -> list[tuple[str, int]]:
    """Machine and number of port, sorted."""
    return sorted((each.machine, each.port) for each in deliveries)


def four(port: Port) -> IPv4Address:
    return next(a.ip for a in port.addresses if isinstance(a.ip, IPv4Address))


def six(port: Port) -> IPv6Address:
    return next(a.ip for a in port.addresses if isinstance(a.ip, IPv6Address))


def answer(packet: Packet, mac: str, hop: str) -> Packet:
    """The packet that answers another, from `mac` to the next hop."""
    fields = dict(packet.fields)
    fields |= {"dl_src": packets.mac_number(mac), "dl_dst": packets.mac_number(hop), "nw_ttl": 64}
    for one, other in (("nw_src", "nw_dst"), ("ipv6_src", "ipv6_dst"), ("tp_src", "tp_dst")):
        if one in fields:
            fields[one], fields[other] = fields[other], fields[one]
    return Packet(fields)
