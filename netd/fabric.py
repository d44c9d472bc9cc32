"""Everything known of the cluster's networks at one moment, and the questions that every data plane asks of it.

A machine has to do with a network when one of its ports is on it, or on another that a router joins to it: only of
those does it program the others' ports. The answers are indices kept as ports come and go, so that one port's change
costs what it concerns and not what there is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .model import Address, Default, Endpoint, Floating, Network, Policy, Port, Router, Tenant


@dataclass(slots=True)
class Fabric:
    """Objects by their `key` (ports by `machine/sandbox:ifname`, tenants by name, endpoints by machine).

    Change ports through `put_port` and `drop_port`, which keep the indices; the other maps may be written as they are.
    """

    tenants: dict[str, Tenant] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    floating: dict[str, Floating] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _ports: dict[str, Port] = field(default_factory=dict)
    _on: dict[str, dict[str, Port]] = field(default_factory=dict)
    _at: dict[str, dict[str, Port]] = field(default_factory=dict)
    _machines: dict[str, dict[str, int]] = field(default_factory=dict)
    _having: dict[str, dict[str, int]] = field(default_factory=dict)
    _known: dict[tuple[str, str | Address], dict[str, Port]] = field(default_factory=dict)

    @property
    def ports(self) -> Mapping[str, Port]:
        """Every port, also those that are leaving."""
        return self._ports

    def put_port(self, port: Port) -> None:
        """Add or replace a port."""
        self.drop_port(port.key)
        self._ports[port.key] = port
        self._on.setdefault(port.on, {})[port.key] = port
        self._at.setdefault(port.machine, {})[port.key] = port
        for name in _names(port):
            self._known.setdefault((port.on, name), {})[port.key] = port
        _count(self._machines, port.on, port.machine, 1)
        _count(self._having, port.machine, port.on, 1)

    def drop_port(self, key: str) -> Port | None:
        """Forget a port; returns it."""
        port = self._ports.pop(key, None)
        if port is not None:
            del self._on[port.on][key]
            del self._at[port.machine][key]
            self._forget(port)
        return port

    def _forget(self, port: Port) -> None:
        """What is kept only while there is something to keep."""
        _count(self._machines, port.on, port.machine, -1)
        _count(self._having, port.machine, port.on, -1)
        for name in _names(port):
            sharing = self._known[port.on, name]
            sharing.pop(port.key, None)
            if not sharing:
                del self._known[port.on, name]

    def set_ports(self, ports: Iterable[Port]) -> None:
        """These ports and no others."""
        self._ports, self._on, self._at, self._known = {}, {}, {}, {}
        self._machines, self._having = {}, {}
        for port in ports:
            self.put_port(port)

    def on(self, network: str) -> Mapping[str, Port]:
        """The ports of a network by key."""
        return self._on.get(network, {})

    def at(self, machine: str) -> Mapping[str, Port]:
        """The ports of a machine by key."""
        return self._at.get(machine, {})

    def machines(self, network: str) -> Collection[str]:
        """The machines that have ports on a network."""
        return self._machines.get(network, {}).keys()

    def sharing(self, port: Port) -> dict[str, Port]:
        """The ports of a port's network that have its MAC or one of its addresses, by key: itself if it is there, and
        for the moments in which an address goes from one to another that one."""
        return {key: other for name in _names(port) for key, other in self._known.get((port.on, name), {}).items()}

    def meets(self, machine: str, network: str) -> bool:
        """Whether a machine has to do with a network."""
        return network in self.networks and any(machine in self.machines(key) for key in self.joined(network))

    def of_tenant(self, tenant: str) -> Iterator[Network]:
        """A tenant's networks by key."""
        return (self.networks[key] for key in sorted(self.networks) if self.networks[key].tenant == tenant)

    def joined(self, network: str) -> set[str]:
        """The networks that routers join to this one, itself among them; joining goes through each router, not on from
        one router to the next."""
        found = {network}
        for router in self.routers.values():
            keys = {f"{router.tenant}/{name}" for name in router.networks}
            if network in keys:
                found |= keys & set(self.networks)
        return found

    def present(self, machine: str) -> set[str]:
        """The networks a machine has to do with."""
        own = self._having.get(machine, {}).keys() & self.networks.keys()
        return {other for network in own for other in self.joined(network)}

    def default(self, network: Network) -> Default:
        """What happens on a network to what no policy speaks of."""
        if network.default is not None:
            return network.default
        tenant = self.tenants.get(network.tenant)
        return tenant.default if tenant is not None else Default.ALLOW

    def filtered(self, network: Network) -> bool:
        """Whether anything but "everything passes" can apply to the network's ports."""
        if self.default(network) is Default.DENY:
            return True
        return any(
            policy.tenant == network.tenant and (not policy.applies.networks or network.name in policy.applies.networks)
            for policy in self.policies.values()
        )


def _names(port: Port) -> set[str | Address]:
    """What others of its network know a port by."""
    return {port.mac, *(address.ip for address in port.addresses)}


def _count(numbers: dict[str, dict[str, int]], one: str, other: str, more: int) -> None:
    """Add to a number of a table, which has those that are not zero."""
    row = numbers.setdefault(one, {})
    row[other] = row.get(other, 0) + more
    if not row[other]:
        del row[other]
