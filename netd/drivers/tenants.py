"""Tenants' namespaces on this machine, each with one way out: a veth pair, the host's end marked.

In the namespace the other end is called `uplink` and has the default routes. The namespace routes; its bridges show no
frames to the IP hooks unless a bridge asks for it.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from hawser.store.reconcile import Verb

from ..model import Interface
from ..specs import Spec, TenantSpec
from ..tenant_rules import UPLINK
from ..transit import Transit
from . import netlink, netns, wire
from .inside import by_link
from .netlink import Netlink, has_ipv6
from .tune import harden_bridge, load_bridge_filter, open_forwarding, prepare_tenant


class Tenants:
    """The namespaces kept in `directory`; `host` speaks to the host's namespace."""

    def __init__(self, host: Netlink, instance: str, directory: Path) -> None:
        self._host = host
        self._prefix = f"hawser:{instance}:tenant:"
        self._directory = directory

    def alive(self) -> list[str]:
        """The tenants that have a namespace."""
        if not self._directory.is_dir():
            return []
        return sorted(path.name for path in self._directory.iterdir() if netns.alive(path))

    def observe(self, every: Iterable[wire.Link]) -> dict[str, Spec]:
        """Every namespace, or what is left of one; `every` are all links of the host."""
        links = {link.alias: link for link in every if link.alias.startswith(self._prefix)}
        names = {alias.removeprefix(self._prefix) for alias in links}
        if self._directory.is_dir():
            names |= {path.name for path in self._directory.iterdir()}
        addresses = by_link(self._host.addresses()) if names else {}
        found: dict[str, Spec] = {}
        for name in names:
            link = links.get(f"{self._prefix}{name}")
            path = self._directory / name
            outer = addresses.get(link.index, ()) if link else ()
            inner = netns.inside_here(path, _look) if netns.alive(path) and link else None
            found[f"tenant:{name}"] = TenantSpec(
                name=name,
                path=str(path),
                ifname=link.name if link else "",
                mtu=link.mtu if link else 0,
                transit=_transit(outer, inner or ()),
                up=bool(link and link.up and inner),
            )
        return found

    def make(self, verb: Verb, spec: TenantSpec) -> None:
        """Make a namespace and its way out, or mend what is missing of them."""
        path = Path(spec.path)
        if not netns.alive(path):
            netns.remove(path)
            load_bridge_filter()
            netns.create_here(path, prepare_tenant)
        link = self._host.link(spec.ifname)
        ours = link is not None and link.alias == f"{self._prefix}{spec.name}"
        if link is not None and ours and (verb is Verb.CREATE or not self._leads(path, link)):
            self._host.do([netlink.delete_link(index=link.index)], missing_ok=True)
            ours = False
        if not ours:  # Exists, when the name is another's
            self._connect(path, spec)
        self._tune(path, spec)

    def _leads(self, path: Path, link: wire.Link) -> bool:
        inner = netns.inside_here(path, _uplink)
        return inner is not None and inner.iflink == link.index

    def _connect(self, path: Path, spec: TenantSpec) -> None:
        index = netlink.index_of(spec.ifname)
        with netns.opened(path) as target:
            self._host.do(
                (
                    netlink.new_veth(spec.ifname, UPLINK, peer_netns=target, index=index, up=False),
                    netlink.mark_link(index, f"{self._prefix}{spec.name}", mtu=spec.mtu),
                )
            )

    def _tune(self, path: Path, spec: TenantSpec) -> None:
        open_forwarding()
        harden_bridge(spec.ifname)
        assert spec.transit is not None
        index = netlink.index_of(spec.ifname)
        requests = [netlink.set_link(spec.ifname, mtu=spec.mtu)]
        requests += [netlink.add_address(index, address) for address in _ends(spec.transit)[0]]
        self._host.do(requests)
        netns.inside_here(path, lambda: _join(spec))

    def delete(self, spec: TenantSpec) -> None:
        """Remove a namespace and its way out; nothing when they are not there."""
        for link in self._host.links():
            if link.alias == f"{self._prefix}{spec.name}":
                self._host.do([netlink.delete_link(index=link.index)], missing_ok=True)
        netns.remove(Path(spec.path))


def _ends(transit: Transit) -> tuple[list[Interface], list[Interface]]:
    """The host's addresses, and the tenant's."""
    if has_ipv6():
        return [transit.host4, transit.host6], [transit.tenant4, transit.tenant6]
    return [transit.host4], [transit.tenant4]


def _transit(outer: tuple[Interface, ...], inner: tuple[Interface, ...]) -> Transit | None:
    """What the two ends have, None when that is no transit."""
    if not has_ipv6():
        outer, inner = (*outer, IPv6Interface("::/127")), (*inner, IPv6Interface("::/127"))
    if len(outer) != 2 or len(inner) != 2:
        return None
    (host4, host6), (tenant4, tenant6) = outer, inner
    if isinstance(host4, IPv4Interface) and isinstance(tenant4, IPv4Interface):
        assert isinstance(host6, IPv6Interface)
        assert isinstance(tenant6, IPv6Interface)
        return Transit(host4=host4, tenant4=tenant4, host6=host6, tenant6=tenant6)
    return None


def _uplink() -> wire.Link | None:
    with Netlink() as inner:
        return inner.link(UPLINK)


def _look() -> tuple[Interface, ...] | None:
    """The addresses of the tenant's end; None when it is down or leads nowhere."""
    with Netlink() as inner:
        link = inner.link(UPLINK)
        if link is None or not link.up:
            return None
        routes = [route for route in inner.routes() if route.index == link.index and route.subnet.prefixlen == 0]
        if not any(route.gateway for route in routes):
            return None
        return by_link(inner.addresses()).get(link.index, ())


def _join(spec: TenantSpec) -> None:
    assert spec.transit is not None
    index = socket.if_nametoindex(UPLINK)
    ours = _ends(spec.transit)
    with Netlink() as inner:
        inner.do([netlink.set_link(UPLINK, mtu=spec.mtu)])
        have = by_link(inner.addresses()).get(index, ())
        inner.do([netlink.delete_address(index, one) for one in have if one not in ours[1]], missing_ok=True)
        requests = [netlink.add_address(index, address) for address in ours[1]]
        inner.do([*requests, *(netlink.add_default(index, address.ip) for address in ours[0])])
