"""The flows of one object, put together from the parts of the pipeline that know of it."""

from collections.abc import Iterator

from ..model import Kind, Port
from . import classify, deliver, neighbours, policy, route, security
from .flow import Flow
from .rules import Identity
from .scope import Scope


def identity_of(scope: Scope, port: Port) -> Identity:
    """What a port is to its tenant's policies here; empty when none speaks of it, or it is not programmed."""
    network = scope.network(port.on)
    if _is_neighbour(scope, port) or (network is not None and scope.way(port, network) is not None):
        return scope.policies(port.tenant).identity(port)
    return ()


def _is_neighbour(scope: Scope, port: Port) -> bool:
    """Whether it is on a network of the other data plane, from which packets come through gateways."""
    network = scope.fabric.networks.get(port.on)
    if network is None or network.kind is Kind.OVS or port.leaving:
        return False
    return network.key in scope.present and scope.has_tenant(port.tenant)


def port_flows(scope: Scope, each: Port) -> Iterator[Flow]:
    """A port's: all of it on its own machine, how it is reached elsewhere."""
    if _is_neighbour(scope, each):
        yield from policy.member(scope, each)
    network = scope.network(each.on)
    way = scope.way(each, network) if network is not None else None
    if network is None or way is None:
        return
    if way.local is not None:
        yield from classify.port(scope, each, network, way.local)
        yield from security.port(scope, each, network, way.local)
    yield from neighbours.port(scope, each, network, way)
    yield from route.port(scope, each, network)
    yield from deliver.port(scope, each, network, way)
    yield from policy.port(scope, each, network, way.local)


def network_flows(scope: Scope, key: str) -> Iterator[Flow]:
    """A network's, but for who gets its broadcasts."""
    each = scope.fabric.networks.get(key)
    if each is None or not each.vni or not scope.has_tenant(each.tenant):
        return
    yield from classify.subnets(scope, each)
    yield from route.subnets(scope, each)
    if scope.network(key) is not None:
        for part in (classify, neighbours, route, deliver):
            yield from part.network(scope, each)


def flood_flows(scope: Scope, key: str) -> Iterator[Flow]:
    """Who gets a network's broadcasts."""
    network = scope.network(key)
    return deliver.flood(scope, network) if network is not None else iter(())


def policy_flows(scope: Scope, tenant: str) -> Iterator[Flow]:
    """A tenant's rules, without whom they are for."""
    return policy.tenant(scope, tenant) if scope.has_tenant(tenant) else iter(())
