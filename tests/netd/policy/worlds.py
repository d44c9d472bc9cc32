"""Tenants to decide about: two joined networks and a lone internal one, ports with labels, and any policies at all."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from hypothesis import strategies as st

from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Direction, Network, Peer, Policy, Port, Router, Rule, Selector, Tenant
from hawser.netd.policy.match import Packet

IN, OUT = Direction.INGRESS, Direction.EGRESS
NETWORKS = ("front", "back", "lone")
OUTSIDE = ("192.0.2.2", "2001:db8:1::2")
LONGEST = "x" * 63
PORTS = (("web1", "front", 2), ("web2", "front", 3), ("db1", "back", 2), ("db2", "back", 3), ("safe1", "lone", 2))


def network(name: str, number: int, tenant: str = "blue", **fields: Any) -> Network:
    """Network number n of a tenant: 10.0.n.0/24 and fd00:n::/64."""
    subnets = ip_network(f"10.0.{number}.0/24"), ip_network(f"fd00:{number}::/64")
    gateways = tuple(subnet.network_address + 1 for subnet in subnets)
    return Network(tenant=tenant, name=name, subnets=subnets, gateways=gateways, **fields)


def port(sandbox: str, on: str, host: int, tenant: str = "blue", **fields: Any) -> Port:
    """The port eth0 of a sandbox, with host number `host` in its network's subnets."""
    number = NETWORKS.index(on) + 1
    addresses = ip_interface(f"10.0.{number}.{host}/24"), ip_interface(f"fd00:{number}::{host}/64")
    labels = fields.pop("labels", {"app": sandbox.rstrip("0123456789")})
    mac = f"02:00:00:00:{number:02x}:{host:02x}"
    return Port(
        machine="m1", sandbox=sandbox, ifname="eth0", tenant=tenant, network=on, netns=f"/run/{sandbox}", mac=mac,
        addresses=addresses, labels=labels, **fields,
    )  # fmt: skip


def world(*policies: Policy, default: Default = Default.ALLOW, defaults: dict[str, Default] | None = None) -> Fabric:
    """web1, web2 on front, db1, db2 on back, safe1 on lone; front and back are joined, lone is internal."""
    fabric, defaults = Fabric(), defaults or {}
    fabric.tenants["blue"] = Tenant(name="blue", default=default)
    for number, name in enumerate(NETWORKS, 1):
        made = network(name, number, internal=name == "lone", default=defaults.get(name))
        fabric.networks[made.key] = made
    fabric.routers["blue/r"] = Router(tenant="blue", name="r", networks=("front", "back"))
    fabric.policies.update((policy.key, policy) for policy in policies)
    for sandbox, on, host in PORTS:
        fabric.put_port(port(sandbox, on, host))
    return fabric


def policy(
    name: str, applies: Selector, *rules: Rule, directions: Iterable[Direction] = (), tenant: str = "blue"
) -> Policy:
    """A policy in the directions of its rules, or in those given."""
    used = tuple(directions) or tuple(sorted({rule.direction for rule in rules}))
    return Policy(tenant=tenant, name=name, applies=applies, directions=used, rules=rules)


def app(name: str, *networks: str) -> Selector:
    """The ports labelled app=name."""
    return Selector(labels={"app": name}, networks=networks)


def peer(what: Selector | str, *excluded: str) -> Peer:
    """Ports by selector, or a CIDR and exceptions."""
    if isinstance(what, Selector):
        return Peer(ports=what)
    return Peer(cidr=ip_network(what), excluded=tuple(map(ip_network, excluded)))


def packet(source: str, target: str, proto: str = "tcp", port: int | None = 80, icmp_type: int | None = None) -> Packet:
    """A packet between addresses."""
    number = port if proto in ("tcp", "udp", "sctp") else None
    return Packet(
        source=ip_address(source), target=ip_address(target), proto=proto, port=number, icmp_type=icmp_type
    )  # fmt: skip


DIRECTIONS = st.sampled_from(Direction)
SELECTORS = st.builds(
    Selector,
    networks=st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True).map(tuple),
    labels=st.sampled_from([{}, {}, {"app": "web"}, {"app": "db"}, {"app": "web", "tier": "x"}, {"app": "'\"};"}]),
)
CIDRS = [
    *("0.0.0.0/0", "10.0.0.0/8", "10.0.1.0/24", "10.0.1.2/31", "10.0.2.2/32", "192.0.2.0/24"),
    *("::/0", "fd00::/16", "fd00:1::/64", "fd00:2::2/128", "2001:db8::/32"),
]
PEERS = st.one_of(
    st.builds(Peer, ports=SELECTORS),
    st.builds(
        Peer,
        cidr=st.sampled_from(CIDRS).map(ip_network),
        excluded=st.lists(st.sampled_from(CIDRS).map(ip_network), max_size=2).map(tuple),
    ),
)
RANGES = st.tuples(st.sampled_from([1, 80, 443]), st.sampled_from([0, 1, 400, 65000])).map(lambda p: (p[0], sum(p)))
RULES = st.builds(
    Rule,
    direction=DIRECTIONS,
    peers=st.lists(PEERS, max_size=3).map(tuple),
    proto=st.sampled_from([None, None, "tcp", "udp", "sctp", "icmp", "icmpv6"]),
    ports=st.one_of(st.just(()), st.lists(RANGES, max_size=3).map(tuple)),
    icmp_types=st.one_of(st.just(()), st.lists(st.sampled_from([0, 8, 13, 128, 255]), max_size=3).map(tuple)),
)
NAMES = st.sampled_from(["a", "b", "c-1", "0", LONGEST, "9" + LONGEST[1:], LONGEST[1:] + "y"])
POLICIES = st.builds(
    Policy,
    tenant=st.just("blue"),
    name=NAMES,
    applies=SELECTORS,
    directions=st.lists(DIRECTIONS, min_size=1, max_size=2, unique=True).map(tuple),
    rules=st.lists(RULES, max_size=4).map(tuple),
)
DEFAULTS = st.sampled_from([Default.ALLOW, Default.ALLOW, Default.DENY])


@st.composite
def worlds(draw: st.DrawFn) -> Fabric:
    """Any policies, any defaults."""
    return world(
        *draw(st.lists(POLICIES, max_size=4, unique_by=lambda policy: policy.name)),
        default=draw(DEFAULTS),
        defaults={name: draw(DEFAULTS) for name in NETWORKS if draw(st.booleans())},
    )


HOSTS4 = ["10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.2.3", OUTSIDE[0]]
HOSTS6 = ["fd00:1::2", "fd00:1::3", "fd00:2::2", "fd00:2::3", OUTSIDE[1]]


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Packets between the ports of the joined networks and outside."""
    source, target = draw(st.permutations(draw(st.sampled_from([HOSTS4, HOSTS6]))))[:2]
    icmp = "icmpv6" if ":" in source else "icmp"
    proto = draw(st.sampled_from(["tcp", "udp", "sctp", icmp, "99"]))
    kind = draw(st.sampled_from([128, 139] if icmp == "icmpv6" else [8, 13])) if proto == icmp else None
    return packet(source, target, proto, draw(st.sampled_from([1, 79, 80, 81, 443, 480, 65535])), kind)
