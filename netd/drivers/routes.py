"""Static routes in a tenant's namespace: for each bridge or gateway of a switch a routing table of its own, with the
link's index as its number (`netlink.index_of`: none of the kernel's own tables), and a rule by which it is asked first
for what comes from there (ip-rule(8))."""

import contextlib
from collections.abc import Iterable, Mapping

from ..errors import Exists, NotFound
from ..specs import RouteSpec, Spec
from . import netlink, wire
from .place import Place


class Routes:
    """The static routes of one tenant; everything in its namespace is ours."""

    def __init__(self, place: Place, instance: str, tenant: str) -> None:
        self._netlink = place.netlink
        self._prefix = f"hawser:{instance}:bridge:"
        self._tenant = tenant

    def observe(self, every: Iterable[wire.Link], gateways: Mapping[str, str]) -> dict[str, Spec]:
        """Every route of a bridge's table, and of a gateway's, whose networks are told by name: they have no mark.
        `every` are all links there are."""
        routes = [route for route in self._netlink.routes() if route.table > 255 and route.gateway is not None]
        if not routes:
            return {}
        links = {link.index: link for link in every}
        rules = {(rule.version, rule.table, rule.source) for rule in self._netlink.rules()}
        found: dict[str, Spec] = {}
        for route in routes:
            source, out = links.get(route.table), links.get(route.index)
            network = self._network(source, gateways) if source is not None else None
            if source is None or network is None:
                continue
            assert route.gateway is not None
            found[f"route:{network}/{route.subnet}"] = RouteSpec(
                tenant=self._tenant,
                source=source.name,
                subnet=route.subnet,
                via=route.gateway,
                out=out.name if out else "",
                asked=(route.version, route.table, source.name) in rules,
            )
        return found

    def _network(self, source: wire.Link, gateways: Mapping[str, str]) -> str | None:
        if source.alias.startswith(self._prefix):
            return source.alias.removeprefix(self._prefix)
        return gateways.get(source.name)

    def set(self, spec: RouteSpec) -> None:
        """Make a route and have it asked for; what leads to the same subnet elsewhere is replaced."""
        table, out = self._index(spec.source), self._index(spec.out)
        there = [route for route in self._netlink.routes() if (route.table, route.subnet) == (table, spec.subnet)]
        for route in there:
            if (route.index, route.gateway) != (out, spec.via):
                self._delete(route)
        with contextlib.suppress(Exists):
            self._netlink.do([netlink.add_route(spec.subnet, out, spec.via, table=table)])
        with contextlib.suppress(Exists):
            self._netlink.do([netlink.add_rule(spec.source, table, spec.subnet.version)])

    def delete(self, spec: RouteSpec) -> None:
        """Remove a route, and the rule with the last of its table; nothing when it is not there."""
        link = self._netlink.link(spec.source)
        if link is None:
            return
        mine = [
            route
            for route in self._netlink.routes()
            if route.table == link.index and route.version == spec.subnet.version
        ]
        for route in mine:
            if route.subnet == spec.subnet:
                self._delete(route)
        if all(route.subnet == spec.subnet for route in mine):
            self._netlink.do([netlink.delete_rule(spec.source, link.index, spec.subnet.version)], missing_ok=True)

    def _delete(self, route: wire.Route) -> None:
        if route.gateway is not None:
            request = netlink.delete_route(route.subnet, route.index, route.gateway, table=route.table)
            self._netlink.do([request], missing_ok=True)

    def _index(self, ifname: str) -> int:
        link = self._netlink.link(ifname)
        if link is None:
            raise NotFound(f"link {ifname}: no such device")
        return link.index
