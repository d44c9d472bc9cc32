"""The written forms of a tenant's objects: parsers that name every problem at once, and encoders.

`parse_…(encode_…(x)) == x`. The same forms are in the store (without `kind`), in the API and in the files of `hawser
apply`. What a reservation leaves to be chosen is empty: its `mac`, and addresses of the versions it does not name; an
address without a prefix length has the longest until its network is known.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import Invalid
from ..model import VNI_MAX, VNI_MIN, Default, Floating, Kind, Network, Qos, Reservation, Route, Router, Tenant, Tunnel
from ..parse import MTU_MAX, MTU_MIN, encode_network, encode_qos, parse_network
from .shape import FLAG, Field, Shape, Wrong, choice, items, nullable, record, whole
from .words import ADDRESS, INTERFACE, LABELS, MAC, NAMED, NETWORK, OUTSIDE, RATES, SUBNET

T = TypeVar("T")
DEFAULT_TENANT = "default"
TENANT = Field(NAMED, f"whose it is; {DEFAULT_TENANT} unless given")
NAME = Field(NAMED, "its name, unique among its kind in its tenant", needed=True)
DEFAULTS = choice(list(Default), Default)


def whole_form(shape: Shape[T], what: str, plain: object) -> T:
    """What a form says. Invalid names every problem."""
    try:
        return shape.read(plain, "")
    except Wrong as error:
        raise Invalid(f"{what}: {error}") from None


def _with_tenant(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"tenant": DEFAULT_TENANT, **values}


TENANT_FORM: Shape[Tenant] = record(
    lambda values: Tenant(**values),
    {
        "name": NAME,
        "default": Field(DEFAULTS, "what happens between its ports where no policy speaks; allow unless given"),
    },
)


def parse_tenant(plain: object) -> Tenant:
    """A tenant from its form. Invalid."""
    return whole_form(TENANT_FORM, "tenant", plain)


def encode_tenant(tenant: Tenant) -> dict[str, Any]:
    """The form that `parse_tenant` reads back."""
    return {"name": tenant.name, "default": str(tenant.default)}


def _network(values: Mapping[str, Any]) -> Network:
    plain = _with_tenant(values)
    for name in ("subnets", "gateways"):
        plain[name] = [str(one) for one in plain.get(name, ())]
    if "plane" in plain:
        plain["kind"] = plain.pop("plane")
    try:
        return parse_network(plain)
    except Invalid as error:
        raise Wrong(*str(error).removeprefix("network: ").split("; ")) from None


NETWORK_FORM: Shape[Network] = record(
    _network,
    {
        "tenant": TENANT,
        "name": NAME,
        "plane": Field(choice(list(Kind), str), "who moves its packets; what this machine does best unless given"),
        "tunnel": Field(choice(list(Tunnel), str), "what carries it between machines; bridges have vxlan"),
        "subnets": Field(items(SUBNET), "at most one of IPv4 and one of IPv6; free ones unless given"),
        "gateways": Field(items(ADDRESS), "the gateway's address in each subnet; the first unless given"),
        "internal": Field(FLAG, "no way out and none in"),
        "mtu": Field(nullable(whole(MTU_MIN, MTU_MAX)), "of its ports; what the underlay allows unless given"),
        "vni": Field(whole(0, VNI_MAX), f"the tunnels' key, {VNI_MIN}-{VNI_MAX}; a free one for 0 or unless given"),
        "multicast": Field(FLAG, "broadcast and multicast between machines"),
        "encrypted": Field(FLAG, "no tunnels in the clear"),
        "insecure": Field(FLAG, "all the same where a machine has no WireGuard; with encrypted only"),
        "default": Field(nullable(DEFAULTS), "as the tenant's, for this network; the tenant's unless given"),
    },
)


def encode_network_form(network: Network) -> dict[str, Any]:
    """The form of a network in files: as `encode_network`, whose `kind` is `plane` here."""
    return {{"kind": "plane"}.get(name, name): value for name, value in encode_network(network).items()}


ROUTE: Shape[Route] = record(
    lambda values: _route(Route(**values)),
    {
        "subnet": Field(SUBNET, "where to", needed=True),
        "via": Field(ADDRESS, "the next hop, on one of the router's networks", needed=True),
    },
)


def _route(route: Route) -> Route:
    if route.subnet.version != route.via.version:
        raise Wrong(f"via {route.via}: is not of the version of IP that {route.subnet} is")
    if route.subnet.is_multicast or route.subnet.is_link_local or route.subnet.is_loopback:
        raise Wrong(f"subnet {route.subnet}: has a meaning of its own; it cannot be routed")
    return route


def _router(values: Mapping[str, Any]) -> Router:
    router = Router(**_with_tenant(values))
    seen = set[Any]()
    problems = []
    for index, route in enumerate(router.routes):
        if route.subnet in seen:
            problems.append(f"routes[{index}].subnet {route.subnet}: has a route already; give one")
        seen.add(route.subnet)
    if problems:
        raise Wrong(*problems)
    return router


ROUTER_FORM: Shape[Router] = record(
    _router,
    {
        "tenant": TENANT,
        "name": NAME,
        "networks": Field(items(NETWORK, least=1), "the tenant's networks that it joins", needed=True),
        "routes": Field(items(ROUTE), "static routes"),
    },
)


def parse_router(plain: object) -> Router:
    """A router from its form. Invalid."""
    return whole_form(ROUTER_FORM, "router", plain)


def encode_router(router: Router) -> dict[str, Any]:
    """The form that `parse_router` reads back."""
    return {
        "tenant": router.tenant,
        "name": router.name,
        "networks": list(router.networks),
        "routes": [{"subnet": str(route.subnet), "via": str(route.via)} for route in router.routes],
    }


QOS: Shape[Qos] = record(
    lambda values: Qos(**values),
    {
        "ingress": Field(RATES, "most that it gets, in bit/s or like 10mbit"),
        "egress": Field(RATES, "most that it sends"),
        "dscp": Field(whole(0, 63), "the mark on what it sends (RFC 2474)"),
    },
)


def _reservation(values: Mapping[str, Any]) -> Reservation:
    reservation = Reservation(**{"mac": "", "addresses": (), **_with_tenant(values)})
    versions = [address.version for address in reservation.addresses]
    if len(versions) > len(set(versions)):
        written = ", ".join(str(address.ip) for address in reservation.addresses)
        raise Wrong(f"addresses {written}: give at most one of each version of IP")
    return reservation


RESERVATION_FORM: Shape[Reservation] = record(
    _reservation,
    {
        "tenant": TENANT,
        "name": NAME,
        "network": Field(NETWORK, "the tenant's network that it is on", needed=True),
        "mac": Field(MAC, "made from its name unless given"),
        "addresses": Field(items(INTERFACE), "at most one of each version of IP; free ones unless given"),
        "labels": Field(LABELS, "what policies know it by"),
        "qos": Field(QOS, "its limits"),
    },
)


def parse_reservation(plain: object) -> Reservation:
    """A reservation from its form. Invalid."""
    return whole_form(RESERVATION_FORM, "port", plain)


def encode_reservation(reservation: Reservation) -> dict[str, Any]:
    """The form that `parse_reservation` reads back."""
    return {
        "tenant": reservation.tenant,
        "name": reservation.name,
        "network": reservation.network,
        **({"mac": reservation.mac} if reservation.mac else {}),
        "addresses": [str(address) for address in reservation.addresses],
        "labels": dict(reservation.labels),
        "qos": encode_qos(reservation.qos),
    }


def _floating(values: Mapping[str, Any]) -> Floating:
    floating = Floating(**_with_tenant(values))
    if floating.address.version != floating.target.version:
        raise Wrong(f"target {floating.target}: is not of the version of IP that {floating.address} is")
    return floating


FLOATING_FORM: Shape[Floating] = record(
    _floating,
    {
        "tenant": TENANT,
        "address": Field(OUTSIDE, "the address of the outside", needed=True),
        "target": Field(ADDRESS, "the tenant's address that it leads to", needed=True),
        "network": Field(NETWORK, "the network that the target is on", needed=True),
    },
)


def parse_floating(plain: object) -> Floating:
    """A floating address from its form. Invalid."""
    return whole_form(FLOATING_FORM, "floating", plain)


def encode_floating(floating: Floating) -> dict[str, Any]:
    """The form that `parse_floating` reads back."""
    return {
        "tenant": floating.tenant,
        "address": str(floating.address),
        "target": str(floating.target),
        "network": floating.network,
    }
