"""From intent to what the kernel should hold, as one flat map; and the order in which it is made.

Keys say what they are: `table:`, `sandbox:<id>`, `bridge:<tenant>/<name>`, `port:<sandbox>:<ifname>`,
`rule:<set>:<element>`. Specs are exactly what an observation can give back, so that equal means done, and hold all that
making the thing needs. A network's rules come before its bridge and go after it: a bridge is never up without them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from hawser.store.reconcile import Step, plan

from . import rules
from .model import Address, Interface, Network, Port, derived, interface, mac_of
from .rules import Element


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """The node's nftables table with this version of its chains; `elements` are put in as it is made anew."""

    version: str
    elements: tuple[Element, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """A namespace kept at `path`; observed not `alive` when only the file is left (a reboot)."""

    path: str
    alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSpec:
    """A bridge with its addresses, sorted."""

    ifname: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A veth pair: one end on the bridge, the other (`inner`) in the namespace at `netns` with addresses and default
    routes. `inner`, `netns` and `network` follow from the key and are not compared."""

    ifname: str
    bridge: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]
    routes: tuple[Address, ...]
    up: bool = True
    inner: str = field(compare=False)
    netns: str = field(compare=False)
    network: str = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One element of a set or map of the table."""

    set: str
    element: str
    value: str | None = None


Spec = TableSpec | SandboxSpec | BridgeSpec | PortSpec | RuleSpec
RANK = {TableSpec: 0, SandboxSpec: 1, BridgeSpec: 3, PortSpec: 4}
RULES_OF_NETWORKS, RULES_OF_PORTS = 2, 5


def rank(key: str, spec: Spec) -> int:
    """Where a thing stands in the order of making; things go in the reverse order."""
    if isinstance(spec, RuleSpec):
        return RULES_OF_PORTS if spec.value is not None else RULES_OF_NETWORKS
    return RANK[type(spec)]


def bridge_name(instance: str, key: str) -> str:
    """The kernel's name of a network's bridge."""
    return derived("hwb", instance, key)


def port_name(instance: str, port: str) -> str:
    """The kernel's name of the host's end of a port."""
    return derived("hwp", instance, port)


def compile_intent(
    instance: str, sandboxes: Mapping[str, str], networks: Iterable[Network], ports: Iterable[Port], mtu: int
) -> dict[str, Spec]:
    """What should be there; `sandboxes` maps ids to paths, `mtu` is the uplink's."""
    desired: dict[str, Spec] = {f"sandbox:{sandbox}": SandboxSpec(path=path) for sandbox, path in sandboxes.items()}
    known = {network.key: network for network in networks}
    for network in known.values():
        desired |= network_specs(instance, network, mtu)
    for port in ports:
        owner = known.get(port.on)
        if owner is not None and port.sandbox in sandboxes and not port.leaving:
            desired |= port_specs(instance, owner, port, mtu)
    elements = [(spec.set, spec.element, spec.value) for spec in desired.values() if isinstance(spec, RuleSpec)]
    desired["table:"] = TableSpec(version=rules.VERSION, elements=tuple(elements))
    return desired


def network_specs(instance: str, network: Network, mtu: int) -> dict[str, Spec]:
    """A network's rules and bridge."""
    ifname = bridge_name(instance, network.key)
    bridge = BridgeSpec(
        ifname=ifname,
        mtu=network.mtu or mtu,
        mac=mac_of(instance, network.key),
        addresses=gateway_interfaces(network),
    )
    return {**_rule_specs(rules.of_network(network, ifname)), f"bridge:{network.key}": bridge}


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


def bare_port(instance: str, network: Network, port: Plug, mtu: int) -> PortSpec:
    """A port's link without addresses. The interface `eth0` gets the default routes."""
    return PortSpec(
        ifname=port_name(instance, port.id),
        bridge=bridge_name(instance, network.key),
        mtu=network.mtu or mtu,
        mac=port.mac,
        addresses=(),
        routes=tuple(sorted(network.gateways, key=lambda a: a.version)) if port.ifname == "eth0" else (),
        inner=port.ifname,
        netns=port.netns,
        network=network.key,
    )


def port_specs(instance: str, network: Network, port: Port, mtu: int) -> dict[str, Spec]:
    """A port's link and rules."""
    link = replace(bare_port(instance, network, port, mtu), addresses=_sorted(port.addresses))
    return {f"port:{port.id}": link, **_rule_specs(rules.of_port(port))}


def port_keys(port: Port) -> set[str]:
    """Every key under which something of a port can be there."""
    return {f"port:{port.id}", f"new:port:{port.id}", *_rule_specs(rules.of_port(port))}


def gateway_interfaces(network: Network) -> tuple[Interface, ...]:
    """The bridge's own addresses with their prefix lengths, sorted by version."""
    pairs = zip(network.gateways, network.subnets, strict=True)
    return _sorted(interface(gateway, subnet) for gateway, subnet in pairs)


def _sorted(addresses: Iterable[Interface]) -> tuple[Interface, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a.ip))))


def _rule_specs(elements: Iterable[Element]) -> dict[str, Spec]:
    return {
        f"rule:{name}:{element}": RuleSpec(set=name, element=element, value=value) for name, element, value in elements
    }


def steps(desired: Mapping[str, Spec], observed: Mapping[str, Spec]) -> tuple[Step[Spec], ...]:
    """The plan, in the order the kernel needs."""
    return plan(desired, observed, rank=rank, differs=_differs)


def needs(key: str, spec: Spec) -> tuple[str, ...]:
    """The keys that must stand before `key` can be made."""
    if isinstance(spec, RuleSpec):
        return ("table:",)
    if isinstance(spec, BridgeSpec):
        return ("table:", f"rule:bridges:{spec.ifname}")
    if isinstance(spec, PortSpec):
        return (f"sandbox:{key.split(':')[1]}", f"bridge:{spec.network}")
    return ()


def _differs(desired: Spec, observed: Spec) -> str | None:
    if desired == observed:
        return None
    fields = [
        f"{name} is {_words(getattr(observed, name, None))}, wanted {_words(getattr(desired, name))}"
        for name, about in desired.__dataclass_fields__.items()
        if about.compare and getattr(desired, name) != getattr(observed, name, None)
    ]
    return "; ".join(fields) or "is of another kind"


def _words(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
