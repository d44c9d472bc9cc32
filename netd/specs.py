"""The things netd makes, as values: what should be there and what is, in one form, and which needs which.

A field that an observation cannot give back, since it follows from the key or is only needed to make the thing, is not
compared.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field

from hawser.store.reconcile import Step, plan

from .model import Address, Interface
from .qos.specs import QosSpec
from .rules import Element
from .transit import Transit


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """The nftables tables of the host (tenant "") or of a tenant, with this version of their chains; `elements` are put
    in as they are made anew."""

    tenant: str = field(compare=False)
    version: str
    chains: str = field(default="", compare=False)
    elements: tuple[Element, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """A namespace kept at `path`; observed not `alive` when only the file is left (a reboot). It is made anew, or
    another path's, somebody else's, is kept (`borrowed`)."""

    path: str
    alive: bool = True
    borrowed: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSpec:
    """A tenant's namespace at `path` and the veth pair that leads out of it, the host's end `ifname`."""

    name: str
    path: str
    ifname: str
    mtu: int
    transit: Transit | None
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSpec:
    """A bridge with its addresses, sorted; `filtered` has its frames pass the tenant's policy."""

    tenant: str = field(compare=False)
    ifname: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]
    filtered: bool = False
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSpec:
    """The namespace at `path` of Open vSwitch's datapath in user space, and the veth pair that leads to the host, whose
    end is `ifname` with these addresses."""

    path: str
    ifname: str
    mtu: int
    addresses: tuple[Interface, ...]
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """A veth pair: one end (`inner`) is a network's gateway in its tenant's namespace, with its addresses, sorted; the
    other is the switch's, in the namespace at `switch`, "" for the host's.

    `summed`: checksums are made before sending (netd/ovs/drivers/offload.py).
    """

    tenant: str = field(compare=False)
    switch: str
    ifname: str
    inner: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]
    summed: bool = False
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSpec:
    """A VXLAN device on a bridge (RFC 7348), its socket in the host's namespace at UDP `port`; `flood` is where
    broadcast goes."""

    tenant: str = field(compare=False)
    ifname: str
    bridge: str
    vni: int
    local: Address
    port: int
    mtu: int
    flood: tuple[Address, ...] = ()
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSpec:
    """A port of another machine: its MAC leads to `endpoint` through the tunnel, its addresses to its MAC."""

    tenant: str = field(compare=False)
    network: str = field(compare=False)
    tunnel: str
    bridge: str
    mac: str
    addresses: tuple[Address, ...]
    endpoint: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A veth pair: one end on the bridge, the other (`inner`) in the namespace at `netns` with addresses and default
    routes. `inner`, `netns` and `network` follow from the key and are not compared.

    A port of Open vSwitch has no bridge: its end is in the namespace at `switch` ("" the host's), `summed` as a
    GatewaySpec.
    """

    tenant: str = field(compare=False)
    ifname: str
    bridge: str
    mtu: int
    mac: str
    addresses: tuple[Interface, ...]
    routes: tuple[Address, ...]
    switch: str | None = None
    summed: bool = False
    up: bool = True
    inner: str = field(compare=False)
    netns: str = field(compare=False)
    network: str = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowedSpec:
    """A link of the host's, called `source` there, lent to a tenant's bridge under the port's name; observed without a
    `bridge` while it is not on one. `underlay` is the address that no such link may have."""

    tenant: str
    ifname: str
    bridge: str
    mtu: int
    up: bool = True
    source: str = field(compare=False)
    network: str = field(compare=False)
    underlay: Address | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One element of a set or map of the host's table (tenant "") or a tenant's."""

    tenant: str
    set: str
    element: str
    value: str | None = None


LinkSpec = BridgeSpec | GatewaySpec | TunnelSpec | RemoteSpec | PortSpec | BorrowedSpec
Spec = TableSpec | SandboxSpec | TenantSpec | SwitchSpec | LinkSpec | QosSpec | RuleSpec
ORDER = (
    *("host table", "host rule", "switch", "sandbox", "tenant", "table", "rule", "bridge", "gateway", "tunnel"),
    *("remote", "port", "qos", "translation", "host translation"),
)
CLEAR = "/clear"
"""How the key of a remote port ends that is behind the second tunnel of a network"""
LINKS = {
    SandboxSpec: "sandbox",
    TenantSpec: "tenant",
    SwitchSpec: "switch",
    BridgeSpec: "bridge",
    GatewaySpec: "gateway",
    TunnelSpec: "tunnel",
    RemoteSpec: "remote",
    PortSpec: "port",
    QosSpec: "qos",
    BorrowedSpec: "port",
}


def rank(key: str, spec: Spec) -> int:
    """Where a thing stands in the order of making; things go in the reverse order.

    Rules come before the links they shut, what leads to a port comes after it.
    """
    if isinstance(spec, TableSpec | RuleSpec):
        kind = "table" if isinstance(spec, TableSpec) else "rule" if spec.value is None else "translation"
        return ORDER.index(kind if spec.tenant else f"host {kind}")
    return ORDER.index(LINKS[type(spec)])


def steps(desired: Mapping[str, Spec], observed: Mapping[str, Spec]) -> tuple[Step[Spec], ...]:
    """The plan, in the order the kernel needs. What was done to a link that is made anew is done anew."""
    links = {spec.ifname for key, spec in desired.items() if isinstance(spec, PortSpec) and observed.get(key) != spec}
    stay = {key: spec for key, spec in observed.items() if not (key in desired and _goes_with(spec, links))}
    return plan(desired, stay, rank=rank, differs=_differs)


def _goes_with(spec: Spec, links: Collection[str]) -> bool:
    return isinstance(spec, QosSpec) and any(name in links for name in (spec.ifname, *(m.to for m in spec.mirrors)))


def needs(key: str, spec: Spec) -> tuple[str, ...]:
    """The keys that must stand before `key` can be made."""
    if isinstance(spec, RuleSpec):
        return (f"table:{spec.tenant}",)
    if isinstance(spec, TableSpec):
        return (f"tenant:{spec.tenant}",) if spec.tenant else ()
    if isinstance(spec, TenantSpec):
        return ("table:", f"rule::uplinks:{spec.ifname}")
    if isinstance(spec, SwitchSpec):
        return ("table:", f"rule::uplinks:{spec.ifname}")
    if isinstance(spec, BridgeSpec):
        return (f"tenant:{spec.tenant}", f"table:{spec.tenant}", f"rule:{spec.tenant}:bridges:{spec.ifname}")
    if isinstance(spec, GatewaySpec):
        made = ("switch:",) if spec.switch else ()
        return (*made, f"tenant:{spec.tenant}", f"table:{spec.tenant}", f"rule:{spec.tenant}:bridges:{spec.inner}")
    if isinstance(spec, TunnelSpec):
        return (f"bridge:{key.partition(':')[2]}",)
    if isinstance(spec, RemoteSpec):
        return (f"{'clear' if key.endswith(CLEAR) else 'tunnel'}:{spec.network}",)
    if isinstance(spec, BorrowedSpec):
        return (f"bridge:{spec.network}", f"rule:{spec.tenant}:frame_ports:{spec.ifname}")
    if isinstance(spec, PortSpec):
        sandbox = f"sandbox:{key.split(':')[1]}"
        if spec.switch is not None:
            return (sandbox, f"gateway:{spec.network}")
        return (sandbox, f"bridge:{spec.network}", f"rule:{spec.tenant}:frame_ports:{spec.ifname}")
    if isinstance(spec, QosSpec):
        return (key.replace("qos:", "port:", 1),)
    return ()


def stands(network: str, keys: Container[str]) -> bool:
    """Whether a network has a bridge or a gateway among the keys of specs."""
    return f"bridge:{network}" in keys or f"gateway:{network}" in keys


def of_networks(keys: Iterable[str]) -> set[str]:
    """Of the keys of specs, the networks that have a bridge or a gateway."""
    return {network for key in keys for kind, _, network in (key.partition(":"),) if kind in ("bridge", "gateway")}


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
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)
