"""From intent to what the kernel should hold, as one flat map; and the order in which it is made.

Keys say what they are: `table:`, `sandbox:<id>`, `bridge:<tenant>/<name>`, `port:<sandbox>:<ifname>`,
`rule:<set>:<element>`. Specs are exactly what an observation can give back, so that equal means done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hawser.store.reconcile import Step, plan

from . import rules
from .model import Interface, Network, Port, derived, mac_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """The node's nftables table with this version of its chains."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """A namespace kept at `path`."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSpec:
    """A bridge with its addresses, sorted."""

    ifname: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """The host's end of a veth pair on its bridge; `port` says how the other end is set up (not compared)."""

    ifname: str
    bridge: str
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One element of a set or map of the table."""

    set: str
    element: str
    value: str | None = None


Spec = TableSpec | SandboxSpec | BridgeSpec | PortSpec | RuleSpec
RANK = {TableSpec: 0, SandboxSpec: 1, BridgeSpec: 2, PortSpec: 3, RuleSpec: 4}


def bridge_name(instance: str, network: Network) -> str:
    return derived("hwb", instance, network.key)


def port_name(instance: str, port: Port) -> str:
    return derived("hwp", instance, port.id)


def compile_intent(
    instance: str, sandboxes: Mapping[str, str], networks: Iterable[Network], ports: Iterable[Port], mtu: int
) -> dict[str, Spec]:
    """What should be there; `sandboxes` maps ids to paths, `mtu` is the uplink's."""
    desired: dict[str, Spec] = {"table:": TableSpec(version=rules.VERSION)}
    for sandbox, path in sandboxes.items():
        desired[f"sandbox:{sandbox}"] = SandboxSpec(path=path)
    known = {network.key: network for network in networks}
    for network in known.values():
        desired[f"bridge:{network.key}"] = bridge_spec(instance, network, mtu)
        desired |= rule_specs(rules.of_network(network, bridge_name(instance, network)))
    for port in ports:
        owner = known.get(f"{port.tenant}/{port.network}")
        if owner is not None and port.sandbox in sandboxes:
            desired[f"port:{port.id}"] = port_spec(instance, owner, port, mtu)
            desired |= rule_specs(rules.of_port(port))
    return desired


def bridge_spec(instance: str, network: Network, mtu: int) -> BridgeSpec:
    """The bridge of a network."""
    return BridgeSpec(
        ifname=bridge_name(instance, network),
        mtu=network.mtu or mtu,
        mac=mac_of(instance, network.key),
        addresses=gateway_interfaces(network),
    )


def port_spec(instance: str, network: Network, port: Port, mtu: int) -> PortSpec:
    """The host's end of a port."""
    return PortSpec(ifname=port_name(instance, port), bridge=bridge_name(instance, network), mtu=network.mtu or mtu)


def gateway_interfaces(network: Network) -> tuple[Interface, ...]:
    """The bridge's own addresses with their prefix lengths, sorted by version."""
    pairs = zip(network.gateways, network.subnets, strict=True)
    return tuple(sorted((rules.interface(gateway, subnet) for gateway, subnet in pairs), key=lambda a: a.version))


def rule_specs(elements: Iterable[tuple[str, str, str | None]]) -> dict[str, Spec]:
    """Elements by key."""
    return {
        f"rule:{name}:{element}": RuleSpec(set=name, element=element, value=value) for name, element, value in elements
    }


def steps(desired: Mapping[str, Spec], observed: Mapping[str, Spec]) -> tuple[Step[Spec], ...]:
    """The plan, in the order the kernel needs."""
    return plan(desired, observed, rank=lambda key, spec: RANK[type(spec)], differs=_differs)


def _differs(desired: Spec, observed: Spec) -> str | None:
    if desired == observed:
        return None
    fields = [
        f"{name} is {getattr(observed, name, None)}, wanted {getattr(desired, name)}"
        for name in desired.__dataclass_fields__
        if getattr(desired, name) != getattr(observed, name, None)
    ]
    return "; ".join(fields) or "is of another kind"
