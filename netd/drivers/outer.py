"""Floating addresses on the host: a route into the tenant, and a link that answers for the address.

The outside finds an address by asking for its MAC on the link where the address belongs: the one with a subnet that
holds it, else the one with the default route. There the host answers in the address's stead: a proxy entry of the
neighbour table (ip-neighbour(8)), for which the kernel wants that the address is routed to elsewhere and that the host
forwards. When an address comes here, the neighbours are told so, or they would go on asking the machine it was on.

A route is ours when it leads over a tenant's uplink, which carries the mark; a proxy entry when its maker is ours and
the address is one of our routes' or our table's: so what half a step left behind is found, and nobody else's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from ..errors import Conflict, NotFound
from ..model import Address
from ..specs import FloatingSpec, Spec
from . import announce, netlink, netns, wire
from .netlink import MAKER, has_ipv6
from .place import Place


@dataclass(frozen=True, slots=True)
class _View:
    """The host as it is: links by index, routes, addresses, who answers for whom where."""

    links: Mapping[int, wire.Link]
    routes: tuple[wire.Route, ...]
    addresses: tuple[wire.LinkAddress, ...]
    proxied: tuple[wire.Neighbour, ...]


class Outer:
    """The floating addresses of one node."""

    def __init__(self, host: Place, instance: str) -> None:
        self._place = host
        self._netlink = host.netlink
        self._prefix = f"hawser:{instance}:tenant:"

    def observe(self, known: Collection[str]) -> dict[str, Spec]:
        """Every address that leads to a tenant, and what is left of one: `known` are those that the table has."""
        if not known and not any(_alone(route) for route in self._netlink.routes()):
            return {}
        view = self._look()
        found: dict[str, Spec] = {}
        answered = {entry.address for entry in view.proxied if entry.address and entry.maker == MAKER}
        for address in answered:
            if str(address) in known:
                found[f"floating:{address}"] = FloatingSpec(tenant="", address=address, uplink="", via=None)
        for route in view.routes:
            if self._ours(view, route):
                found |= {f"floating:{route.subnet.network_address}": self._spec(view, route)}
        return found

    def _spec(self, view: _View, route: wire.Route) -> FloatingSpec:
        address, link = route.subnet.network_address, view.links[route.index]
        return FloatingSpec(
            tenant=link.alias.removeprefix(self._prefix),
            address=address,
            uplink=link.name,
            via=route.gateway,
            answered=_answered(view, address),
        )

    def _ours(self, view: _View, route: wire.Route) -> bool:
        link = view.links.get(route.index)
        return link is not None and link.alias.startswith(self._prefix) and _alone(route)

    def set(self, spec: FloatingSpec) -> None:
        """Lead an address to a tenant and answer for it. Conflict when it is the host's own."""
        view, address = self._look(), spec.address
        assert spec.via is not None
        if any(entry.address.ip == address for entry in view.addresses):
            raise Conflict(f"floating {address} is an address of this machine itself; give another")
        uplink = next((link for link in view.links.values() if link.name == spec.uplink), None)
        if uplink is None:
            raise NotFound(f"link {spec.uplink}: no such device")
        self._route(view, spec, uplink.index)
        target = _where(view, address)
        others = [entry for entry in view.proxied if entry.address == address and entry.maker == MAKER]
        wrong = [netlink.delete_proxy(one.index, address) for one in others if one.index != target]
        self._netlink.do(wrong, missing_ok=True)
        if target is not None:
            link = view.links[target]
            _prepare(link.name, address)
            self._netlink.do([netlink.add_proxy(target, address)])
            announce.send(self._place.inside, link.name, link.mac, [address])

    def _route(self, view: _View, spec: FloatingSpec, index: int) -> None:
        subnet = ip_network(spec.address)
        for route in view.routes:
            if route.subnet != subnet or (route.index, route.gateway) == (index, spec.via):
                continue
            if not self._ours(view, route):
                raise Conflict(f"floating {spec.address}: this machine has a route to it already; remove that first")
            self._delete_route(route)
        if not any((r.subnet, r.index, r.gateway) == (subnet, index, spec.via) for r in view.routes):
            assert spec.via is not None
            self._netlink.do([netlink.add_route(subnet, index, spec.via)])

    def _delete_route(self, route: wire.Route) -> None:
        assert route.gateway is not None
        request = netlink.delete_route(route.subnet, route.index, route.gateway)
        self._netlink.do([request], missing_ok=True)

    def delete(self, spec: FloatingSpec) -> None:
        """Answer for it no more, and lead it nowhere; nothing when that is so."""
        view = self._look()
        ours = [entry for entry in view.proxied if entry.address == spec.address and entry.maker == MAKER]
        self._netlink.do([netlink.delete_proxy(entry.index, spec.address) for entry in ours], missing_ok=True)
        for route in view.routes:
            if route.subnet == ip_network(spec.address) and self._ours(view, route):
                self._delete_route(route)

    def _look(self) -> _View:
        families = (wire.AF_INET, wire.AF_INET6) if has_ipv6() else (wire.AF_INET,)
        return _View(
            links={link.index: link for link in self._netlink.links()},
            routes=tuple(r for r in self._netlink.routes() if r.table == wire.MAIN_TABLE and not r.local),
            addresses=self._netlink.addresses(),
            proxied=tuple(entry for family in families for entry in self._netlink.proxied(family)),
        )


def _alone(route: wire.Route) -> bool:
    return route.gateway is not None and route.subnet.prefixlen == route.subnet.max_prefixlen and not route.local


def _where(view: _View, address: Address) -> int | None:
    """The link on which the outside looks for an address."""
    near = [entry for entry in view.addresses if entry.address.version == address.version]
    holding = [entry for entry in near if address in entry.address.network]
    if holding:
        return max(holding, key=lambda entry: entry.address.network.prefixlen).index
    defaults = [r for r in view.routes if r.version == address.version and r.subnet.prefixlen == 0 and r.index]
    return min(defaults, key=lambda route: route.metric).index if defaults else None


def _answered(view: _View, address: Address) -> bool:
    """Whether the right link, and no other of ours, answers for it: where there is none, nobody can ask."""
    ours = {entry.index for entry in view.proxied if entry.address == address and entry.maker == MAKER}
    target = _where(view, address)
    if target is None:
        return not ours
    return ours == {target} and _prepared(view.links[target].name, address)


def _settings(ifname: str, address: Address) -> dict[str, dict[str, str]]:
    """The address is nobody else's, so an answer need not wait whether the owner gives one; IPv6 answers for others
    only where that is allowed."""
    if address.version == 4:
        return {f"ipv4/neigh/{ifname}": {"proxy_delay": "0"}}
    return {f"ipv6/neigh/{ifname}": {"proxy_delay": "0"}, f"ipv6/conf/{ifname}": {"proxy_ndp": "1"}}


def _prepare(ifname: str, address: Address) -> None:
    for directory, values in _settings(ifname, address).items():
        netns.sysctls(directory, values)


def _prepared(ifname: str, address: Address) -> bool:
    files = [
        (Path("/proc/sys/net") / directory / name, value)
        for directory, values in _settings(ifname, address).items()
        for name, value in values.items()
    ]
    return all(file.read_text().strip() == value for file, value in files)
