"""Objects of every kind for tests, and strategies that make them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from hawser.netd.model import (
    Default,
    Direction,
    Floating,
    Kind,
    Network,
    Peer,
    Policy,
    Qos,
    Reservation,
    Route,
    Router,
    Rule,
    Selector,
    Tenant,
    interface,
)
from hawser.netd.objects.kinds import Object, parse_document
from hawser.netd.objects.policies import ICMP, PORTED
from hawser.netd.parse import LABEL

names = st.from_regex(LABEL, fullmatch=True)
several = st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)
texts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
labels = st.dictionaries(texts, texts, max_size=2)
addresses4 = st.integers(0x0A000000, 0x0AFFFFFF).map(IPv4Address)
addresses6 = st.integers(1, (1 << 64) - 1).map(lambda n: IPv6Address((0xFD00 << 112) + n))
nets4 = st.integers(8, 32).flatmap(lambda p: addresses4.map(lambda a: IPv4Network((a, p), strict=False)))
nets6 = st.integers(16, 128).flatmap(lambda p: addresses6.map(lambda a: IPv6Network((a, p), strict=False)))
macs = st.integers(0, (1 << 40) - 1).map(lambda n: "02:" + ":".join(f"{n:010x}"[i : i + 2] for i in range(0, 10, 2)))
rates = st.none() | st.integers(8000, 10**12)
defaults = st.sampled_from(Default)
directions = st.sampled_from(Direction)

tenants = st.builds(Tenant, name=names, default=defaults)
networks = st.builds(
    Network,
    tenant=names,
    name=names,
    subnets=st.just((ip_network("10.0.0.0/24"), ip_network("fd00::/64"))),
    gateways=st.just((ip_address("10.0.0.1"), ip_address("fd00::9"))),
    kind=st.sampled_from(Kind),
    internal=st.booleans(),
    mtu=st.none() | st.integers(1280, 9000),
    vni=st.integers(0, (1 << 24) - 1),
    multicast=st.booleans(),
    encrypted=st.booleans(),
    default=st.none() | defaults,
)
routes = st.one_of(
    st.builds(Route, subnet=nets4, via=addresses4),
    st.builds(Route, subnet=nets6, via=addresses6),
)
routers = st.builds(
    Router,
    tenant=names,
    name=names,
    networks=several,
    routes=st.lists(routes, max_size=3, unique_by=lambda route: route.subnet).map(tuple),
)
reservations = st.builds(
    Reservation,
    tenant=names,
    name=names,
    network=names,
    mac=st.just("") | macs,
    addresses=st.tuples(
        addresses4.map(lambda a: interface(a, IPv4Network("10.0.0.0/8"))),
        addresses6.map(lambda a: interface(a, IPv6Network("fd00::/64"))),
    )
    | st.just(()),
    labels=labels,
    qos=st.builds(Qos, ingress=rates, egress=rates, dscp=st.none() | st.integers(0, 63)),
)
selectors = st.builds(Selector, networks=several | st.just(()), labels=labels)
peers = st.one_of(
    st.builds(Peer, ports=selectors),
    st.builds(Peer, cidr=nets4),
    st.builds(
        Peer, cidr=st.just(ip_network("10.0.0.0/8")), excluded=st.lists(nets4, max_size=2, unique=True).map(tuple)
    ),
)
sides: dict[str, Any] = {"direction": directions, "peers": st.lists(peers, max_size=2, unique_by=repr).map(tuple)}
ports = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted).map(tuple)
rules = st.one_of(
    st.builds(Rule, **sides),
    st.builds(
        Rule,
        **sides,
        proto=st.sampled_from(PORTED),
        ports=st.lists(ports, max_size=3, unique=True).map(tuple),
    ),
    st.builds(
        Rule,
        **sides,
        proto=st.sampled_from(ICMP),
        icmp_types=st.lists(st.integers(0, 255), max_size=3, unique=True).map(tuple),
    ),
)
policies = st.builds(
    Policy,
    tenant=names,
    name=names,
    applies=selectors,
    directions=st.just((Direction.INGRESS, Direction.EGRESS)),
    rules=st.lists(rules, max_size=3, unique_by=repr).map(tuple),
)
floatings = st.one_of(
    st.builds(Floating, tenant=names, address=addresses4, target=addresses4, network=names),
    st.builds(Floating, tenant=names, address=addresses6, target=addresses6, network=names),
)
things: st.SearchStrategy[Object] = st.one_of(tenants, networks, routers, reservations, policies, floatings)


def tenant(name: str = "blue", **more: Any) -> Object:
    return parse_document({"kind": "tenant", "name": name, **more})


def network(name: str = "web", subnet: str = "10.0.0.0/24", **more: Any) -> Network:
    plain = {"kind": "network", "tenant": "blue", "name": name, "subnets": [subnet], **more}
    thing = parse_document(plain)
    assert isinstance(thing, Network)
    return thing


def router(*networks: str, name: str = "core", **more: Any) -> Object:
    return parse_document({"kind": "router", "tenant": "blue", "name": name, "networks": list(networks), **more})


def port(name: str = "db-1", network: str = "web", **more: Any) -> Reservation:
    thing = parse_document({"kind": "port", "tenant": "blue", "name": name, "network": network, **more})
    assert isinstance(thing, Reservation)
    return thing


def policy(*networks: str, name: str = "p", **more: Any) -> Object:
    plain = {"applies": {"networks": list(networks)} if networks else {}, "directions": ["ingress"], **more}
    return parse_document({"kind": "policy", "tenant": "blue", "name": name, **plain})


def floating(address: str = "192.0.2.7", target: str = "10.0.0.5", network: str = "web", **more: Any) -> Object:
    plain = {"tenant": "blue", "address": address, "target": target, "network": network, **more}
    return parse_document({"kind": "floating", **plain})
