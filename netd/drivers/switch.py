"""Where the switch of networks of kind `ovs` is: the host's namespace, or one for its datapath in user space.

Containers' links and gateways (`gateways`) are there, found by their mark. What a switch makes itself (its bridges,
which are taps in user space) is its database's business; only the addresses by which its tunnels leave are given to it
here, each time it has made them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hawser.store.reconcile import Verb

from ..errors import NotFound
from ..model import Address, Interface
from ..specs import Spec, SwitchSpec
from ..tenant_rules import UPLINK
from . import netlink, netns, wire
from .inside import by_link
from .links import Links
from .netlink import Netlink, has_ipv6
from .place import Place
from .tune import harden_bridge, open_forwarding, prepare_sandbox


class Switch:
    """The switch's namespace at `path`, used when the datapath is in user space."""

    def __init__(self, host: Place, instance: str, path: Path, sandboxes: Path) -> None:
        self._host, self._instance, self._path, self._sandboxes = host, instance, path, sandboxes
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

    def there(self, host: Sequence[wire.Link]) -> dict[str, Sequence[wire.Link]]:
        """Every link of the places where a switch's may be, by `switch`; `host` are the host's."""
        if not netns.alive(self._path):
            return {"": host}
        return {"": host, str(self._path): self.place(str(self._path)).netlink.links()}

    def observe(self, host: Sequence[wire.Link]) -> dict[str, Spec]:
        """The namespace; `host` are the host's links."""
        link = next((one for one in host if one.alias == self._mark), None)
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


def _uplink() -> wire.Link | None:
    with Netlink() as inner:
        return inner.link(UPLINK)


def _up(ifname: str, mtu: int) -> None:
    with Netlink() as inner:
        inner.do([netlink.set_link(ifname, mtu=mtu)])
