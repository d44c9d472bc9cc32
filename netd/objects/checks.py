"""What must hold between objects: networks are there, addresses fit and are one's own, nothing in use is removed.

Pure questions about a `World`, the objects of one moment; asked of the store's before a change is written, and of the
end that a file of `hawser apply` leads to before its first step.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from .. import ipam
from ..errors import Conflict, Invalid, NetError, NotFound
from ..model import Address, Floating, Network, Policy, Reservation, Router, Selector, Subnet, Tenant
from .kinds import Object, named, spoken

T = TypeVar("T", Tenant, Network, Reservation, Router, Policy, Floating)


class World:
    """Objects by their names (`kind:key`), with the questions asked of them."""

    def __init__(self, things: Iterable[Object]) -> None:
        self.things: dict[str, Object] = {}
        self._of: dict[tuple[type[Object], str], dict[str, Object]] = {}
        self._held: dict[tuple[str, Address | str], str] = {}
        for thing in things:
            self._add(thing)

    def _add(self, thing: Object) -> None:
        name = named(thing)
        self.things[name] = thing
        self._of.setdefault((type(thing), tenant_of(thing)), {})[name] = thing
        if isinstance(thing, Reservation):
            for what in (thing.mac, *(address.ip for address in thing.addresses)):
                self._held.setdefault((f"{thing.tenant}/{thing.network}", what), thing.key)
        if isinstance(thing, Floating):
            self._held.setdefault((f"floating/{thing.tenant}/{thing.network}", thing.target), thing.key)

    def of(self, kind: type[T], tenant: str) -> list[T]:
        """A tenant's objects of a kind."""
        found = self._of.get((kind, tenant), {}).values()
        return [thing for thing in found if isinstance(thing, kind)]

    def network(self, tenant: str, name: str) -> Network | None:
        """A network, if there is one."""
        thing = self.things.get(f"network:{tenant}/{name}")
        return thing if isinstance(thing, Network) else None

    def holder(self, where: str, what: Address | str) -> str | None:
        """The key of the reservation that has a MAC or an address on a network (`tenant/name`), or of the floating
        address that leads to one (`floating/tenant/name`)."""
        return self._held.get((where, what))


def tenant_of(thing: Object) -> str:
    """The tenant of an object."""
    return thing.name if isinstance(thing, Tenant) else thing.tenant


def problems(thing: Object, world: World) -> list[NetError]:
    """Why an object cannot be as it is among the others (itself, as it is or was, may be there too)."""
    about = spoken(named(thing))
    return [type(error)(f"{about}: {error}") for error in _problems(thing, world)]


def _problems(thing: Object, world: World) -> Iterator[NetError]:
    match thing:
        case Network():
            yield from _network(thing, world)
        case Router():
            yield from _router(thing, world)
        case Policy():
            yield from (_missing(thing.tenant, name) for name in policy_networks(thing) if _no(world, thing, name))
        case Reservation():
            yield from _reservation(thing, world)
        case Floating():
            yield from _floating(thing, world)


def one_error(found: Iterable[NetError]) -> None:
    """Raise problems as one error of the first one's kind; nothing when there are none."""
    errors = list(found)
    if errors:
        raise type(errors[0])("; ".join(map(str, errors)))


def _no(world: World, thing: Policy | Router | Reservation | Floating, name: str) -> bool:
    return world.network(thing.tenant, name) is None


def _missing(tenant: str, name: str) -> NotFound:
    return NotFound(f"network {tenant}/{name} does not exist; create it first")


def _network(network: Network, world: World) -> Iterator[NetError]:
    others = [other for other in world.of(Network, network.tenant) if other.name != network.name]
    try:
        ipam.check_subnets(network, others)
    except Conflict as error:
        yield Conflict(str(error).partition(": ")[2])
    if network.internal:
        for floating in world.of(Floating, network.tenant):
            if floating.network == network.name:
                yield Conflict(f"internal: floating {floating.key} leads to it; remove that first")
    yield from swallowed(network, world.of(Floating, network.tenant))


def swallowed(network: Network, floatings: Iterable[Floating]) -> Iterator[Conflict]:
    """The tenant's floating addresses that a network's subnets would take from the outside."""
    for floating in floatings:
        for subnet in network.subnets:
            if floating.tenant == network.tenant and floating.address in subnet:
                yield Conflict(
                    f"{subnet}: floating {floating.key} is in it; choose another subnet or remove that first"
                )


def _router(router: Router, world: World) -> Iterator[NetError]:
    yield from (_missing(router.tenant, name) for name in router.networks if _no(world, router, name))
    there = [network for name in router.networks if (network := world.network(router.tenant, name))]
    for index, network in enumerate(there):
        try:
            ipam.check_subnets(network, there[index + 1 :])
        except Conflict as error:
            yield error
    if len(there) < len(router.networks) or not all(network.subnets for network in there):
        return
    for route in router.routes:
        yield from _hop(route.via, there)
        for network in there:
            if any(within(route.subnet, subnet) for subnet in network.subnets):
                yield Conflict(f"route {route.subnet}: is within network {network.key}, which the router joins")
    for other in world.of(Router, router.tenant):
        vias = {route.subnet: route.via for route in other.routes}
        for route in router.routes:
            if other.name != router.name and vias.get(route.subnet, route.via) != route.via:
                yield Conflict(f"route {route.subnet}: router {other.key} has it via {vias[route.subnet]}")


def within(inner: Subnet, outer: Subnet) -> bool:
    """Whether a subnet is within another, both of the same version of IP."""
    ours, theirs = inner.network_address, inner.broadcast_address
    return inner.version == outer.version and ours in outer and theirs in outer


def _hop(via: Address, networks: Iterable[Network]) -> Iterator[NetError]:
    known = list(networks)
    for network in known:
        if any(via in subnet for subnet in network.subnets):
            try:
                ipam.check_fixed(network, via)
            except Invalid as error:
                yield Invalid(f"via {via}: {error}")
            return
    names = ", ".join(network.key for network in known)
    yield Invalid(f"via {via}: is on none of its networks ({names})")


def policy_networks(policy: Policy) -> list[str]:
    """The names of the networks that a policy speaks of, each once."""
    selectors: list[Selector] = [policy.applies]
    selectors += [peer.ports for rule in policy.rules for peer in rule.peers if peer.ports]
    return list(dict.fromkeys(name for selector in selectors for name in selector.networks))


def _reservation(wanted: Reservation, world: World) -> Iterator[NetError]:
    network = world.network(wanted.tenant, wanted.network)
    if network is None:
        yield _missing(wanted.tenant, wanted.network)
        return
    if wanted.mac == network.gateway_mac:
        yield Conflict(f"MAC {wanted.mac} is the gateway's on {network.key}; choose another")
    for what in (wanted.mac, *(address.ip for address in wanted.addresses)):
        holder = world.holder(network.key, what) if what else None
        if holder not in (None, wanted.key):
            word = "MAC" if isinstance(what, str) else "address"
            yield Conflict(f"{word} {what} is port {holder}'s on {network.key}; choose another")
    if not network.subnets:
        return
    for address in wanted.addresses:
        try:
            subnet = ipam.check_fixed(network, address.ip)
        except Invalid as error:
            yield error
            continue
        if address.network.prefixlen not in (subnet.prefixlen, subnet.max_prefixlen):
            yield Invalid(f"address {address}: the subnet is {subnet}; give {address.ip} alone")


def _floating(floating: Floating, world: World) -> Iterator[NetError]:
    network = world.network(floating.tenant, floating.network)
    if network is None:
        yield _missing(floating.tenant, floating.network)
        return
    if network.internal:
        yield Conflict(f"network {network.key} is internal: it has no way out and none in")
    if network.subnets:
        try:
            ipam.check_fixed(network, floating.target)
        except Invalid as error:
            yield Invalid(f"target: {error}")
    holder = world.holder(f"floating/{network.key}", floating.target)
    if holder not in (None, floating.key):
        yield Conflict(f"target {floating.target} has the floating address {holder}; remove that first")
    for other in world.of(Network, floating.tenant):
        if any(floating.address in subnet for subnet in other.subnets):
            yield Invalid(f"it is an address of network {other.key}; give one of the outside")


def users(network: Network, world: World) -> tuple[str, ...]:
    """What needs a network, in words, sorted."""
    tenant, name = network.tenant, network.name
    found: list[Object] = [router for router in world.of(Router, tenant) if name in router.networks]
    found += [policy for policy in world.of(Policy, tenant) if name in policy_networks(policy)]
    found += [port for port in world.of(Reservation, tenant) if port.network == name]
    found += [floating for floating in world.of(Floating, tenant) if floating.network == name]
    return tuple(sorted(spoken(named(thing)) for thing in found))


def belongings(tenant: str, world: World) -> tuple[str, ...]:
    """What a tenant has, in words, sorted."""
    found: list[Object] = [*world.of(Network, tenant), *world.of(Reservation, tenant), *world.of(Router, tenant)]
    found += [*world.of(Policy, tenant), *world.of(Floating, tenant)]
    return tuple(sorted(spoken(named(thing)) for thing in found))


def in_use(thing: Object, world: World) -> NetError | None:
    """Why an object cannot be removed from a world, or None."""
    about = spoken(named(thing))
    needed: tuple[str, ...] = ()
    if isinstance(thing, Network):
        needed = users(thing, world)
    elif isinstance(thing, Tenant):
        needed = belongings(thing.name, world)
    if not needed:
        return None
    verb = "is used by" if isinstance(thing, Network) else "has"
    more = f" and {len(needed) - 3} more" if len(needed) > 3 else ""
    return Conflict(f"{about} {verb} {', '.join(needed[:3])}{more}; remove those first")


FIXED: Mapping[str, str] = {
    "subnets": "subnets",
    "gateways": "gateways",
    "vni": "vni",
    "kind": "plane",
    "tunnel": "tunnel",
    "internal": "internal",
}


def fixed_changes(wanted: Network, present: Network) -> list[str]:
    """Fields of a network that cannot change while somebody is on it, and do, with both values, in words."""
    return [
        f"{word} {_text(getattr(present, name))} to {_text(getattr(wanted, name))}"
        for name, word in FIXED.items()
        if getattr(wanted, name) != getattr(present, name)
    ]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
