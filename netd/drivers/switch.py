"""What the kernel holds for Open vSwitch: gateways, containers' links, and a namespace for its datapath in user space.

Gateways and links are where the switch is, in the host's namespace or that one, found by their mark. What a switch
makes itself (its bridges, which are taps in user space) is its database's business; only the addresses by which its
tunnels leave are given to it here, each time it has made them.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from hawser.store.reconcile import Verb

from ..errors import NetError, NotFound
from ..model import Address, Interface
from ..ovs.drivers import offload
from ..specs import GatewaySpec, Spec, SwitchSpec
from ..tenant_rules import UPLINK
from . import netlink, netns, wire
from .inside import Inside, by_link, look
from .links import Links
from .netlink import Netlink, has_ipv6
from .place import Place
from .tune import harden_bridge, open_forwarding, prepare_sandbox


class Switch:
    """The switch's namespace at `path`, used when the datapath is in user space; tenants' are in `tenants`."""

    def __init__(self, host: Place, instance: str, path: Path, tenants: Path, sandboxes: Path) -> None:
        self._host, self._instance, self._path = host, instance, path
        self._tenants, self._sandboxes = tenants, sandboxes
        self._mark = f"hawser:{instance}:switch:"
        self._here = Links(host, instance, "", sandboxes, switch="")
        self._inside: tuple[int, Place, Links] | None = None

    def close(self) -> None:
        """Let go; nothing is removed."""
        if self._inside is not None:
            self._inside[1].close()
            self._inside = None

    def place(self, switch: str) -> Place:
        """Where the switch's links are. NotFound."""
        return self._within()[0] if switch else self._host

    def links(self, switch: str) -> Links:
        """Containers' links at the switch. NotFound."""
        return self._within()[1] if switch else self._here

    def _within(self) -> tuple[Place, Links]:
        if not netns.alive(self._path):
            self.close()
            raise NotFound("the switch has no namespace here")
        identity = self._path.stat().st_ino
        if self._inside is None or self._inside[0] != identity:
            self.close()
            place = Place(self._path)
            links = Links(place, self._instance, "", self._sandboxes, switch=str(self._path))
            self._inside = identity, place, links
        return self._inside[1:]

    def observe(self) -> dict[str, Spec]:
        """The namespace, gateways and links."""
        found = self._observe_namespace()
        for switch in ("", str(self._path)) if netns.alive(self._path) else ("",):
            found |= self.links(switch).observe() | self._gateways(switch)
        return found

    def _observe_namespace(self) -> dict[str, Spec]:
        link = next((one for one in self._host.netlink.links() if one.alias == self._mark), None)
        if link is None and not self._path.exists():
            return {}
        addresses = by_link(self._host.netlink.addresses()).get(link.index, ()) if link else ()
        inner = netns.inside_here(self._path, _uplink) if netns.alive(self._path) and link else None
        spec = SwitchSpec(
            path=str(self._path),
            ifname=link.name if link else "",
            mtu=link.mtu if link else 0,
            addresses=addresses,
            up=bool(link and link.up and inner and inner.up and inner.iflink == link.index),
        )
        return {"switch:": spec}

    def make(self, verb: Verb, spec: SwitchSpec) -> None:
        """Make the namespace and its way out, or mend what is missing of them."""
        if not netns.alive(self._path):
            netns.remove(self._path)
            netns.create_here(self._path, prepare_sandbox)
        host = self._host.netlink
        link, inner = host.link(spec.ifname), netns.inside_here(self._path, _uplink)
        if link is not None and link.alias == self._mark and (inner is None or inner.iflink != link.index):
            host.do([netlink.delete_link(index=link.index)], missing_ok=True)
            link = None
        if link is None:
            with netns.opened(self._path) as target:
                index = netlink.index_of(spec.ifname)
                veth = netlink.new_veth(spec.ifname, UPLINK, peer_netns=target, index=index, up=False)
                host.do((veth, netlink.mark_link(index, self._mark, mtu=spec.mtu)))
        open_forwarding()
        harden_bridge(spec.ifname)
        index = netlink.index_of(spec.ifname)
        wanted = [one for one in spec.addresses if one.version == 4 or has_ipv6()]
        host.do([netlink.set_link(spec.ifname, mtu=spec.mtu), *(netlink.add_address(index, one) for one in wanted)])
        netns.inside_here(self._path, lambda: _up(UPLINK, spec.mtu))

    def delete(self, spec: SwitchSpec) -> None:
        """Remove the namespace and its way out; nothing when they are not there."""
        self.close()
        for link in self._host.netlink.links():
            if link.alias == self._mark:
                self._host.netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)
        netns.remove(Path(spec.path))

    def join(self, ifname: str, addresses: Iterable[Interface], gateways: Iterable[Address], mtu: int) -> None:
        """Give the switch's own way out its addresses and routes; can be done twice. NotFound."""

        def act() -> None:
            with Netlink() as inner:
                link = inner.link(ifname)
                if link is None:
                    raise NotFound(f"Open vSwitch has made no {ifname} yet")
                have = by_link(inner.addresses()).get(link.index, ())
                wanted = [one for one in addresses if one.version == 4 or has_ipv6()]
                if link.up and link.mtu == mtu and set(wanted) <= set(have):
                    return
                inner.do([netlink.set_link(ifname, mtu=mtu)])
                requests = [netlink.add_address(link.index, one) for one in wanted]
                versions = {one.version for one in wanted}
                routes = [netlink.add_default(link.index, one) for one in gateways if one.version in versions]
                inner.do([*requests, *routes])

        netns.inside_here(self._path, act)

    def _gateways(self, switch: str) -> dict[str, Spec]:
        prefix = f"hawser:{self._instance}:gateway:"
        found: dict[str, Spec] = {}
        for link in self.place(switch).netlink.links():
            if link.alias.startswith(prefix):
                network, _, inner = link.alias.removeprefix(prefix).rpartition(":")
                found[f"gateway:{network}"] = self._gateway(switch, network, inner, link)
        return found

    def _gateway(self, switch: str, network: str, inner: str, link: wire.Link) -> GatewaySpec:
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

    def set_gateway(self, key: str, spec: GatewaySpec) -> None:
        """Make a gateway, or change what differs; one whose other end is gone is made anew."""
        here, path = self.place(spec.switch).netlink, self._tenants / spec.tenant
        link = here.link(spec.ifname)
        alias = f"hawser:{self._instance}:{key}:{spec.inner}"
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

    def delete_gateway(self, spec: GatewaySpec) -> None:
        """Remove a gateway if it is ours; nothing when it is not there."""
        with contextlib.suppress(NotFound):
            here = self.place(spec.switch).netlink
            link = here.link(spec.ifname)
            if link is not None and link.alias.startswith(f"hawser:{self._instance}:gateway:"):
                here.do([netlink.delete_link(index=link.index)], missing_ok=True)


def _uplink() -> wire.Link | None:
    with Netlink() as inner:
        return inner.link(UPLINK)


def _up(ifname: str, mtu: int) -> None:
    with Netlink() as inner:
        inner.do([netlink.set_link(ifname, mtu=mtu)])


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
