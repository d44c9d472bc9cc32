"""All flows of a machine, composed of what each object needs: a port, a network, a tenant's policies.

Every object's flows follow from the fabric alone, so one port's change costs that port's flows and what it is to its
network (who gets broadcasts) and to policies (its identity), whatever else there is. Only a machine's first port on a
network, or its last, brings or takes what is joined to it. Everything else that changes (policies, routers, networks,
endpoints) is compiled anew and compared: `Pipeline.refresh`.

`instance` is the mark of `tables.instance_hash`, in the high half of every cookie.
"""

from collections.abc import Iterable, Iterator, Mapping

from ..fabric import Fabric
from ..model import Network, Port
from . import base, objects, policy
from .claims import Claims, Object
from .flow import Flow, Key
from .rules import Identity
from .scope import Ofports, Scope

__all__ = [
    "Ofports",
    "Pipeline",
    "compile_flows",
    "flows_of_network",
    "flows_of_policies",
    "flows_of_port",
]

Change = tuple[list[Flow], list[Flow]]


def compile_flows(
    fabric: Fabric, machine: str, ofports: Ofports, *, zones: Mapping[str, int], instance: int = 0
) -> dict[Key, Flow]:
    """Everything for one machine, by (table, priority, match). `zones`: conntrack's zone (1 to 65535) of each tenant; a
    tenant without one is not programmed. Invalid: a tenant has too many rules."""
    return dict(Pipeline(fabric, machine, ofports, zones=zones, instance=instance).flows)


def flows_of_port(
    fabric: Fabric, machine: str, ofports: Ofports, zones: Mapping[str, int], port: Port, *, instance: int = 0
) -> list[Flow]:
    """A port's own: none when it is leaving, has no number here yet, or cannot be reached."""
    return list(objects.port_flows(Scope(fabric, machine, ofports, zones, instance), port))


def flows_of_network(
    fabric: Fabric, machine: str, ofports: Ofports, zones: Mapping[str, int], network: Network, *, instance: int = 0
) -> list[Flow]:
    """A network's: its gateway, its tunnel key, its subnets, and who gets its broadcasts."""
    scope = Scope(fabric, machine, ofports, zones, instance)
    return [*objects.network_flows(scope, network.key), *objects.flood_flows(scope, network.key)]


def flows_of_policies(
    fabric: Fabric, machine: str, ofports: Ofports, zones: Mapping[str, int], tenant: str, *, instance: int = 0
) -> list[Flow]:
    """A tenant's policies: its rules, and whom they speak of among the ports there are."""
    scope = Scope(fabric, machine, ofports, zones, instance)
    keys = [network.key for network in scope.of_tenant(tenant)]
    ports = [port for key in keys for port in fabric.on(key).values()]
    identities = sorted({found for port in ports if (found := objects.identity_of(scope, port))})
    of_identities = (flow for each in identities for flow in policy.identity(scope, tenant, each))
    return [*objects.policy_flows(scope, tenant), *of_identities]


class Pipeline:
    """One machine's flows while ports come and go. The fabric is the caller's, and has changed before it tells."""

    def __init__(
        self, fabric: Fabric, machine: str, ofports: Ofports, *, zones: Mapping[str, int], instance: int = 0
    ) -> None:
        self._scope = Scope(fabric, machine, ofports, zones, instance)
        self._claims = Claims()
        # ports by what they are to their tenant's policies, and the other way round
        self._members: dict[tuple[str, Identity], set[str]] = {}
        self._identities: dict[str, tuple[str, Identity]] = {}
        self._compile(self._objects())

    @property
    def flows(self) -> Mapping[Key, Flow]:
        """Every flow that is to be there now."""
        return self._claims.flows

    def change(self, before: Port | None, after: Port | None, *, ofports: Ofports | None = None) -> Change:
        """One port is no longer `before` (None: new) but `after` (None: gone); the fabric has it already.

        `ofports`: the numbers since then. Returns flows to add (or write over), and flows to remove.
        """
        touched: set[Object] = set()
        if ofports is not None:
            old, self._scope.ofports = self._scope.ofports, ofports
            touched |= self._renumber(old)
        if any(port is not None and port.machine == self._scope.machine for port in (before, after)):
            touched |= self._appear()
        for port in (before, after):
            if port is not None:
                touched |= {("port", port.key), ("flood", port.on)}
        return self._compile(touched)

    def refresh(
        self,
        *,
        tenants: Iterable[str] | None = None,
        machines: Iterable[str] | None = None,
        ofports: Ofports | None = None,
        zones: Mapping[str, int] | None = None,
    ) -> Change:
        """Anything else has changed: compile anew and return what differs.

        `tenants`: only these tenants' networks, routers, policies or defaults; `machines`: only these machines'
        endpoints. Neither given: everything is compiled; so it is for this machine's, on which every way depends.
        """
        old, self._scope = self._scope, self._scope.again(ofports=ofports, zones=zones)
        machines = None if machines is None else {*machines}
        if (tenants is None and machines is None) or self._scope.machine in (machines or ()):
            return self._compile({*self._objects(), *self._claims.objects()})
        touched = self._renumber(old.ofports)
        for tenant in tenants or ():
            before = (each[1] for each in self._claims.objects() if each[0] == "network")
            keys = {key for key in before if key.startswith(f"{tenant}/")}
            keys |= {network.key for network in self._scope.of_tenant(tenant)}
            touched |= {("policies", tenant), *self._of_networks(keys)}
        for machine in machines or ():
            touched.add(("endpoint", machine))
            for key, port in self._scope.fabric.at(machine).items():
                touched |= {("port", key), ("flood", port.on)}
        return self._compile(touched)

    def _objects(self) -> Iterator[Object]:
        scope = self._scope
        yield ("base",)
        yield from (("endpoint", machine) for machine in scope.fabric.endpoints)
        for tenant in sorted({network.tenant for network in scope.fabric.networks.values()}):
            if scope.has_tenant(tenant):
                yield ("policies", tenant)
                yield from self._of_networks(network.key for network in scope.of_tenant(tenant))

    def _of_networks(self, keys: Iterable[str]) -> Iterator[Object]:
        for key in keys:
            yield ("network", key)
            yield ("flood", key)
            yield from (("port", port) for port in self._scope.fabric.on(key))

    def _appear(self) -> set[Object]:
        """What comes and goes with the networks the machine has to do with."""
        scope = self._scope
        before, tenants = scope.present, self._tenants()
        scope.present = scope.find_present()
        if scope.present == before:
            return set()
        touched = set(self._of_networks(before ^ scope.present))
        # static routes are a port's, for each network that is here
        touched |= {("port", key) for key in self._routed(before ^ scope.present)}
        for tenant in tenants ^ self._tenants():
            touched.add(("policies", tenant))
            touched |= {("network", network.key) for network in scope.of_tenant(tenant)}
        return touched

    def _tenants(self) -> set[str]:
        networks = self._scope.fabric.networks
        return {networks[key].tenant for key in self._scope.present if self._scope.network(key) is not None}

    def _routed(self, networks: Iterable[str]) -> Iterator[str]:
        tenants = {network.partition("/")[0] for network in networks}
        vias = {via for tenant, via in self._scope.vias if tenant in tenants}
        for tenant in tenants if vias else ():
            for network in self._scope.of_tenant(tenant):
                for port in self._scope.fabric.on(network.key).values():
                    if any(address.ip in vias for address in port.addresses):
                        yield port.key

    def _renumber(self, old: Ofports) -> set[Object]:
        """What numbers concern that differ from earlier ones."""
        ofports = self._scope.ofports
        if old.tunnels != ofports.tunnels:
            return {*self._objects()}
        ids = {key for key, _ in old.ports.items() ^ ofports.ports.items()}
        here = self._scope.fabric.at(self._scope.machine).values()
        ports = [port for port in here if port.id in ids] if ids else []
        gateways = {key for key, _ in old.gateways.items() ^ ofports.gateways.items()}
        found: set[Object] = {("network", key) for key in gateways}
        return found | {("port", port.key) for port in ports} | {("flood", port.on) for port in ports}

    def _compile(self, objects: Iterable[Object]) -> Change:
        """Compile objects anew; identities follow from ports."""
        claims = self._claims
        before: dict[Key, Flow | None] = {}
        wanted: set[tuple[str, Identity]] = set()

        def put(each: Object, flows: Iterable[Flow]) -> None:
            old = claims.flows
            made = tuple(flows)
            known = {flow.key: old.get(flow.key) for flow in made}
            known |= {flow.key: old.get(flow.key) for flow in claims.of(each)}
            for key in claims.put(each, made):
                before.setdefault(key, known.get(key))

        for each in sorted(objects):
            if each[0] == "identity":
                continue
            put(each, self._flows(each))
            if each[0] == "port":
                wanted |= self._reidentify(each[1])
            if each[0] == "policies":
                wanted |= {key for key in self._members if key[0] == each[1]}
        for tenant, identity in sorted(wanted):
            alive = (tenant, identity) in self._members and self._scope.has_tenant(tenant)
            flows = policy.identity(self._scope, tenant, identity) if alive else ()
            put(("identity", tenant, repr(identity)), flows)
        return _differences(before, claims.flows)

    def _reidentify(self, key: str) -> set[tuple[str, Identity]]:
        """Note what a port is to its tenant's policies now; returns the identities that came or went."""
        port = self._scope.fabric.ports.get(key)
        identity = objects.identity_of(self._scope, port) if port is not None else ()
        new = (port.tenant, identity) if port is not None and identity else None
        old = self._identities.pop(key, None)
        if new is not None:
            self._identities[key] = new
        if old == new:
            return set()
        changed = set()
        if old is not None:
            self._members[old].discard(key)
            if not self._members[old]:
                del self._members[old]
                changed.add(old)
        if new is not None:
            if new not in self._members:
                changed.add(new)
            self._members.setdefault(new, set()).add(key)
        return changed

    def _flows(self, each: Object) -> Iterator[Flow]:
        scope, (kind, *names) = self._scope, each
        if kind == "base":
            return base.flows_of_base(scope)
        if kind == "endpoint":
            endpoint = scope.fabric.endpoints.get(names[0])
            return base.flows_of_endpoint(scope, endpoint) if endpoint is not None else iter(())
        if kind == "network":
            return objects.network_flows(scope, names[0])
        if kind == "flood":
            return objects.flood_flows(scope, names[0])
        if kind == "policies":
            return objects.policy_flows(scope, names[0])
        port = scope.fabric.ports.get(names[0])
        return objects.port_flows(scope, port) if port is not None else iter(())


def _differences(before: Mapping[Key, Flow | None], now: Mapping[Key, Flow]) -> Change:
    changed = sorted(key for key, flow in before.items() if now.get(key) != flow)
    added = [now[key] for key in changed if key in now]
    return added, [flow for key in changed if key not in now and (flow := before[key]) is not None]
