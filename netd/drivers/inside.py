"""A port's end in its sandbox: look at it, set it up, adjust it. All run in the sandbox (`netns.inside`)."""

import socket
from collections.abc import Iterable

from ..model import Address, Interface
from ..ovs.drivers import offload
from ..specs import PortSpec
from . import netlink, wire
from .netlink import Netlink

Inside = tuple[wire.Link, tuple[Interface, ...], tuple[Address, ...]]


def by_link(addresses: Iterable[wire.LinkAddress]) -> dict[int, tuple[Interface, ...]]:
    """Global addresses by link index, sorted as in a spec."""
    found: dict[int, list[Interface]] = {}
    for entry in addresses:
        if entry.scope == 0:
            found.setdefault(entry.index, []).append(entry.address)
    return {index: tuple(sorted(some, key=lambda a: (a.version, int(a.ip)))) for index, some in found.items()}


def look(ifname: str, peer: int) -> Inside | None:
    """The port's link, global addresses and default gateways; None when it is not the other end of `peer`."""
    with Netlink() as inner:
        return _look(inner, ifname, peer)


def _look(inner: Netlink, ifname: str, peer: int) -> Inside | None:
    link = inner.link(ifname)
    if link is None or link.iflink != peer:
        return None
    routes = tuple(
        route.gateway
        for route in sorted(inner.routes(), key=lambda route: route.version)
        if route.subnet.prefixlen == 0 and route.index == link.index and route.gateway and not route.local
    )
    return link, by_link(inner.addresses()).get(link.index, ()), routes


def configure(spec: PortSpec) -> None:
    """Give a new end its addresses and routes."""
    index = socket.if_nametoindex(spec.inner)
    if spec.summed:
        offload.sum_before_sending(spec.inner)
    with Netlink() as inner:
        inner.do([netlink.set_link(spec.inner), *_wanted(spec, index)])


def adjust(spec: PortSpec, peer: int) -> bool:
    """Bring an end to the spec; False when it is not there."""
    with Netlink() as inner:
        state = _look(inner, spec.inner, peer)
        if state is None:
            return False
        link, addresses, routes = state
        extra = [netlink.delete_address(link.index, one) for one in addresses if one not in spec.addresses]
        extra += [netlink.delete_default(link.index, gateway) for gateway in routes if gateway not in spec.routes]
        inner.do(extra, missing_ok=True)
        if spec.summed:
            offload.sum_before_sending(spec.inner)
        inner.do([netlink.set_link(spec.inner, mtu=spec.mtu, mac=spec.mac), *_wanted(spec, link.index)])
        return True


def _wanted(spec: PortSpec, index: int) -> list[netlink.Request]:
    requests = [netlink.add_address(index, address) for address in spec.addresses]
    return requests + [netlink.add_default(index, gateway) for gateway in spec.routes]
