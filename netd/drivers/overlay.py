"""The tunnels of one tenant, and the ports of other machines behind them.

A tunnel is a VXLAN device on a network's bridge. It is made in the host's namespace, where its socket stays, and moved
into the tenant's; there everything is ours, so what is in the way under its name is removed. Nothing is learned: each
remote port is a forwarding entry of the bridge and of the tunnel, and a permanent neighbour of the bridge by which the
bridge answers ARP and neighbour solicitations itself (neigh_suppress, bridge(8)), so that neither crosses the tunnel.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from ..errors import NotFound
from ..model import Address
from ..specs import CLEAR, RemoteSpec, Spec, TunnelSpec
from . import announce, netlink, netns, wire
from .netlink import NOBODY, Netlink
from .place import Place

VXLAN_ID, VXLAN_LOCAL, VXLAN_PORT, VXLAN_LOCAL6 = 1, 4, 15, 17


class Overlay:
    """The marked tunnels of one tenant; `host` speaks to the namespace of the underlay."""

    def __init__(self, place: Place, host: Netlink, instance: str, tenant: str) -> None:
        self._place = place
        self._netlink = place.netlink
        self._host = host
        self._prefix = f"hawser:{instance}:"
        self._tenant = tenant

    def observe(self, every: Iterable[wire.Link]) -> dict[str, Spec]:
        """Every tunnel with the mark, and what is known behind it; `every` are all links there are."""
        links = {link.index: link for link in every}
        tunnels = [link for link in links.values() if link.kind == "vxlan" and link.alias.startswith(self._prefix)]
        if not tunnels:
            return {}
        forwarding = self._netlink.neighbours(wire.AF_BRIDGE)
        neighbours = _by_mac(self._netlink.neighbours(wire.AF_INET) + self._netlink.neighbours(wire.AF_INET6))
        found: dict[str, Spec] = {}
        for link in tunnels:
            key = link.alias.removeprefix(self._prefix)
            bridge = links.get(link.master)
            entries = [entry for entry in forwarding if entry.index == link.index]
            found[key] = self._tunnel(link, bridge.name if bridge else "", entries)
            if bridge is not None:
                found |= self._remotes(key, link, bridge, entries, neighbours)
        return found

    def _tunnel(self, link: wire.Link, bridge: str, entries: Iterable[wire.Neighbour]) -> TunnelSpec:
        return TunnelSpec(
            tenant=self._tenant,
            ifname=link.name,
            bridge=bridge,
            vni=link.number(VXLAN_ID),
            local=_local(link),
            port=_port(link),
            mtu=link.mtu,
            flood=_sorted(_flooded(entries)),
            up=link.up,
        )

    def _remotes(
        self,
        key: str,
        link: wire.Link,
        bridge: wire.Link,
        entries: Iterable[wire.Neighbour],
        neighbours: Mapping[tuple[int, str], list[Address]],
    ) -> dict[str, Spec]:
        known = {entry.mac for entry in entries if entry.master == bridge.index}
        kind, _, network = key.partition(":")
        return {
            f"remote:{network}/{entry.mac}{CLEAR if kind == 'clear' else ''}": RemoteSpec(
                tenant=self._tenant,
                network=network,
                tunnel=link.name,
                bridge=bridge.name if entry.mac in known else "",
                mac=entry.mac,
                addresses=_sorted(neighbours.get((bridge.index, entry.mac), ())),
                endpoint=entry.address,
            )
            for entry in entries
            if entry.address is not None and entry.mac != NOBODY
        }

    def set_tunnel(self, key: str, spec: TunnelSpec) -> None:
        """Make a tunnel, or bring one to the spec; one of another kind or key is made anew."""
        there = self._netlink.link(spec.ifname)
        if there is not None and self._another(there, spec):
            self.delete(spec.ifname)
            there = None
        if there is None:
            assert self._place.path is not None
            with netns.opened(self._place.path) as target:
                made = netlink.new_vxlan(
                    spec.ifname, vni=spec.vni, local=spec.local, port=spec.port, netns=target, mtu=spec.mtu
                )
                self._host.do([made])
        index, bridge = self._index(spec.ifname), self._index(spec.bridge)
        alias = f"{self._prefix}{key}"
        self._netlink.do([netlink.enslave(index, bridge), netlink.mark_link(index, alias, mtu=spec.mtu)])
        self._netlink.do([netlink.join_tunnel(index, alias=alias, flood=bool(spec.flood))])
        self._flood(index, spec.flood)

    def _another(self, link: wire.Link, spec: TunnelSpec) -> bool:
        wanted = (spec.vni, spec.local, spec.port)
        return link.kind != "vxlan" or (link.number(VXLAN_ID), _local(link), _port(link)) != wanted

    def _flood(self, index: int, wanted: tuple[Address, ...]) -> None:
        entries = [entry for entry in self._netlink.neighbours(wire.AF_BRIDGE) if entry.index == index]
        have = {*_flooded(entries)}
        self._netlink.do([netlink.stop_flooding(index, address) for address in have - {*wanted}], missing_ok=True)
        self._netlink.do([netlink.flood_to(index, address) for address in wanted if address not in have])

    def set_remote(self, spec: RemoteSpec) -> None:
        """Lead to a remote port from now on; what its bridge knew of its addresses before is replaced at once."""
        index, bridge = self._index(spec.tunnel), self._index(spec.bridge)
        requests = [*netlink.add_forwarding(index, spec.mac, spec.endpoint)]
        requests += [netlink.add_neighbour(bridge, address, spec.mac) for address in spec.addresses]
        self._netlink.do(requests)
        announce.send(self._place.inside, spec.bridge, spec.mac, spec.addresses)

    def delete_remote(self, spec: RemoteSpec) -> None:
        """Lead there no more; nothing when the tunnel is gone."""
        tunnel, bridge = self._netlink.link(spec.tunnel), self._netlink.link(spec.bridge)
        requests = [*netlink.delete_forwarding(tunnel.index, spec.mac)] if tunnel else []
        if bridge:
            requests += [netlink.delete_neighbour(bridge.index, address) for address in spec.addresses]
        self._netlink.do(requests, missing_ok=True)

    def delete(self, ifname: str) -> None:
        """Remove a tunnel; nothing when it is not there."""
        if link := self._netlink.link(ifname):
            self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)

    def _index(self, ifname: str) -> int:
        link = self._netlink.link(ifname)
        if link is None:
            raise NotFound(f"link {ifname}: no such device")
        return link.index


def _local(link: wire.Link) -> Address:
    return ip_address(link.data.get(VXLAN_LOCAL) or link.data.get(VXLAN_LOCAL6) or bytes(4))


def _port(link: wire.Link) -> int:
    """In the byte order of the network, unlike the other numbers."""
    return int.from_bytes(link.data.get(VXLAN_PORT) or b"", "big")


def _flooded(entries: Iterable[wire.Neighbour]) -> list[Address]:
    return [entry.address for entry in entries if entry.mac == NOBODY and entry.address is not None]


def _by_mac(entries: Iterable[wire.Neighbour]) -> dict[tuple[int, str], list[Address]]:
    found: dict[tuple[int, str], list[Address]] = {}
    for entry in entries:
        if entry.permanent and entry.address is not None:
            found.setdefault((entry.index, entry.mac), []).append(entry.address)
    return found


def _sorted(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda address: (address.version, int(address))))
