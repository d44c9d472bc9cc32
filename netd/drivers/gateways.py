"""The gateways of networks of kind `ovs`: veth pairs between the switch and tenants' namespaces, found by their mark.

The switch's end is marked with the network and the other end's name. The other end has the gateway's addresses and MAC,
and is what a bridge would be to the tenant's rules.
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import NetError, NotFound
from ..ovs.drivers import offload
from ..specs import GatewaySpec, Spec
from . import netlink, netns, wire
from .inside import Inside, by_link, look
from .netlink import Netlink
from .place import Place
from .tune import harden_bridge


class Gateways:
    """The gateways of one node; `place` says where a switch's links are (NotFound), `tenants` keeps the namespaces."""

    def __init__(self, place: Callable[[str], Place], instance: str, tenants: Path) -> None:
        self._place, self._tenants = place, tenants
        self._prefix = f"hawser:{instance}:gateway:"

    def observe(self, switch: str, links: Iterable[wire.Link]) -> dict[str, Spec]:
        """Every gateway with the mark, of the links at `switch`."""
        found: dict[str, Spec] = {}
        for link in links:
            if link.alias.startswith(self._prefix):
                network, _, inner = link.alias.removeprefix(self._prefix).rpartition(":")
                found[f"gateway:{network}"] = self._observe(switch, network, inner, link)
        return found

    def _observe(self, switch: str, network: str, inner: str, link: wire.Link) -> GatewaySpec:
        tenant = network.partition("/")[0]
        path = self._tenants / tenant
        state: Inside | None = None
        summed = False
        with contextlib.suppress(NetError):
            if netns.alive(path):
                state, summed = netns.inside_here(path, lambda: (look(inner, link.index), _summed(inner)))
        return GatewaySpec(
            tenant=tenant,
            switch=switch,
            ifname=link.name,
            inner=inner,
            mtu=link.mtu if state is None or state[0].mtu == link.mtu else 0,
            mac=state[0].mac if state else "",
            addresses=state[1] if state else (),
            summed=bool(switch) and summed,
            up=bool(link.up and state and state[0].up),
        )

    def set(self, key: str, spec: GatewaySpec) -> None:
        """Make a gateway, or change what differs; one whose other end is gone is made anew."""
        here, path = self._place(spec.switch).netlink, self._tenants / spec.tenant
        link = here.link(spec.ifname)
        alias = f"{self._prefix}{key.partition(':')[2]}:{spec.inner}"
        if link is not None and link.alias != alias:
            raise NetError(f"link {spec.ifname} is not ours; remove it")
        if link is not None:
            index = link.index
            if netns.inside_here(path, lambda: look(spec.inner, index)) is None:
                here.do([netlink.delete_link(index=index)], missing_ok=True)
                link = None
        if link is None:
            index, within = netlink.index_of(spec.ifname), netlink.index_of(spec.inner)
            with netns.opened(path) as target:
                veth = netlink.new_veth(
                    *(spec.ifname, spec.inner),
                    peer_netns=target,
                    peer_mac=spec.mac,
                    index=index,
                    peer_index=within,
                    up=False,
                )
                here.do((veth, netlink.mark_port(index, alias)))
        here.do([netlink.set_link(spec.ifname, mtu=spec.mtu)])
        netns.inside_here(path, lambda: _configure(spec))

    def delete(self, spec: GatewaySpec) -> None:
        """Remove a gateway if it is ours; nothing when it is not there."""
        with contextlib.suppress(NotFound):
            here = self._place(spec.switch).netlink
            link = here.link(spec.ifname)
            if link is not None and link.alias.startswith(self._prefix):
                here.do([netlink.delete_link(index=link.index)], missing_ok=True)


def _summed(ifname: str) -> bool:
    with contextlib.suppress(NetError):
        return not offload.tx_checksums(ifname)
    return False


def _configure(spec: GatewaySpec) -> None:
    harden_bridge(spec.inner)
    if spec.summed:
        offload.sum_before_sending(spec.inner)
    with Netlink() as inner:
        inner.do([netlink.set_link(spec.inner, mtu=spec.mtu, mac=spec.mac)])
        link = inner.link(spec.inner)
        assert link is not None
        have = by_link(inner.addresses()).get(link.index, ())
        extra = [netlink.delete_address(link.index, one) for one in have if one not in spec.addresses]
        inner.do(extra, missing_ok=True)
        inner.do([netlink.add_address(link.index, one) for one in spec.addresses])
