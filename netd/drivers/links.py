"""The links of one place: bridges and veth pairs in a tenant's namespace or at the switch, found by their mark.

A link is marked by its alias in the very system call that makes it; a port that is not yet complete is marked `new`,
which no intent ever asks for, so that a kill in between is cleaned up and made anew.
"""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from hawser.store.reconcile import Verb

from ..errors import NetError, NotFound
from ..model import Address
from ..ovs.drivers import offload
from ..specs import BridgeSpec, PortSpec, Spec
from . import netlink, netns, sockets, wire
from .inside import Inside, adjust, by_link, configure, look
from .place import Place
from .tune import harden_bridge, need_bridge_filter

NF_CALL_IPTABLES = 36


class Links:
    """The marked bridges and ports of one tenant; with `switch` ("" the host's namespace) those of Open vSwitch."""

    def __init__(self, place: Place, instance: str, tenant: str, sandboxes: Path, *, switch: str | None = None) -> None:
        self._place = place
        self._switch = switch
        self._netlink = place.netlink
        self._prefix = f"hawser:{instance}:"
        self._tenant = tenant
        self._directory = sandboxes
        self._prepared: set[str] = set()
        self._indices: dict[str, int] = {}

    def observe(self, links: Sequence[wire.Link]) -> dict[str, Spec]:
        """Every bridge and port with the mark; `links` are all there are."""
        mine = [link for link in links if link.alias.startswith(self._prefix)]
        if not mine:
            return {}
        names = {link.index: link.name for link in links}
        addresses = by_link(self._netlink.addresses())
        found: dict[str, Spec] = {}
        for link in mine:
            key = link.alias.removeprefix(self._prefix)
            if link.kind == "bridge":
                found[key] = BridgeSpec(
                    tenant=self._tenant,
                    ifname=link.name,
                    mtu=link.mtu,
                    mac=link.mac,
                    addresses=addresses.get(link.index, ()),
                    filtered=bool(link.number(NF_CALL_IPTABLES) & 0xFF),
                    up=link.up,
                )
            elif link.kind == "veth" and key.startswith(("port:", "new:port:")):
                bridge = names.get(link.master, "") if self._switch is None else ""
                found[key] = self._observe_port(key, link, bridge)
        return found

    def _observe_port(self, key: str, link: wire.Link, bridge: str) -> PortSpec:
        _, _, port = key.rpartition("port:")
        sandbox, _, inner = port.partition(":")
        path = self._directory / (sandbox or ".")
        state, summed = self._look(path, inner, link.index) if key.startswith("port:") else (None, False)
        return PortSpec(
            tenant=self._tenant,
            ifname=link.name,
            bridge=bridge,
            mtu=link.mtu if state is None or state[0].mtu == link.mtu else 0,
            mac=state[0].mac if state else "",
            addresses=state[1] if state else (),
            routes=state[2] if state else (),
            switch=self._switch,
            summed=summed,
            up=link.up and state is not None and state[0].up,
            inner=inner,
            netns=str(path),
            network="",
        )

    def _look(self, path: Path, inner: str, peer: int) -> tuple[Inside | None, bool]:
        """The other end of a port, and whether it makes its checksums itself, which only a switch wants to know."""

        def act() -> tuple[Inside | None, bool]:
            state = look(inner, peer)
            return state, bool(self._switch and state and not offload.tx_checksums(inner))

        with contextlib.suppress(NetError):
            if netns.alive(path):
                return netns.inside_here(path, act)
        return None, False

    def set_bridge(self, verb: Verb, key: str, spec: BridgeSpec) -> None:
        """Make a bridge, or change what differs."""
        if verb is Verb.UPDATE and self._own(spec.ifname) is None:
            self._remove_marked(key)
            verb = Verb.CREATE
        if verb is Verb.CREATE:
            index = netlink.index_of(spec.ifname)
            self._netlink.do(
                (
                    netlink.new_bridge(spec.ifname, mtu=_another(spec.mtu), mac=spec.mac, index=index, up=False),
                    netlink.mark_link(index, f"{self._prefix}{key}", mtu=spec.mtu),
                )
            )
        try:
            self._fix_bridge(spec)
        except BaseException:
            if verb is Verb.CREATE:
                self.delete(spec.ifname)
            raise

    def _fix_bridge(self, spec: BridgeSpec) -> None:
        if spec.filtered:
            self._place.inside(need_bridge_filter)
        self._place.inside(lambda: harden_bridge(spec.ifname))
        index = self._index(spec.ifname)
        have = by_link(self._netlink.addresses()).get(index, ())
        extra = [address for address in have if address not in spec.addresses]
        link = self._own(spec.ifname)
        # set anew, even to what it is, it would take every neighbour with it (neigh_changeaddr)
        mac = None if link is not None and link.mac == spec.mac else spec.mac
        self._netlink.do([netlink.set_link(spec.ifname, mtu=spec.mtu, mac=mac)])
        if spec.filtered and link is not None and not link.number(NF_CALL_IPTABLES) & 0xFF:
            self._place.conntrack.know(self._unseen(index))
        self._netlink.do([netlink.filter_bridge(index, spec.filtered)])
        self._netlink.do([netlink.delete_address(index, address) for address in extra], missing_ok=True)
        self._netlink.do([netlink.add_address(index, address) for address in spec.addresses])

    def _unseen(self, bridge: int) -> list[sockets.Flow]:
        """The TCP connections that go on over a bridge whose frames nobody has looked at."""
        places: dict[Address, sockets.Sockets] = {}
        for link in self._netlink.links():
            mark = link.alias.removeprefix(self._prefix)
            if link.master == bridge and mark.startswith("port:"):
                _, sandbox, inner = mark.split(":")
                with contextlib.suppress(NetError):
                    places |= netns.inside_here(self._directory / sandbox, functools.partial(_speaking, inner, link))
        return sockets.flows(places)

    def set_port(self, verb: Verb, key: str, spec: PortSpec) -> None:
        """A veth pair; of one that is there, only what differs is changed, or traffic would stop."""
        if verb is Verb.UPDATE:
            if self._own(spec.ifname) and self._fix_port(spec):
                return
            self._remove_marked(key)
        if verb is not Verb.CREATE or not self._take_prepared(key, spec.ifname):
            self.prepare(key, spec)
        self._prepared.discard(key)
        try:
            netns.inside_here(Path(spec.netns), lambda: configure(spec))
            self._netlink.do([netlink.mark_link(netlink.index_of(spec.ifname), f"{self._prefix}{key}")])
        except BaseException:
            self.delete(spec.ifname)
            raise

    def _take_prepared(self, key: str, ifname: str) -> bool:
        """Whether the link was prepared; a look at it costs the more, the more namespaces there are (peernet2id), so
        that what was prepared here is not looked at."""
        if key in self._prepared:
            return True
        link = self._own(ifname)
        return link is not None and link.alias == f"{self._prefix}new:{key}"

    def prepare(self, key: str, spec: PortSpec) -> None:
        """Make a port's link without its addresses, marked as not complete: `apply` completes it, a plan removes it."""
        index = netlink.index_of(spec.ifname)
        bridge = self._index(spec.bridge) if spec.bridge else None
        with netns.opened(Path(spec.netns)) as target:
            self._netlink.do(
                (
                    netlink.new_veth(
                        spec.ifname,
                        spec.inner,
                        peer_netns=target,
                        mtu=spec.mtu,
                        master=bridge,
                        peer_mac=spec.mac,
                        index=index,
                        up=False,
                    ),
                    netlink.mark_port(index, f"{self._prefix}new:{key}"),
                    netlink.up(index),
                )
            )
        self._prepared.add(key)

    def _fix_port(self, spec: PortSpec) -> bool:
        index = self._index(spec.ifname)
        bridge = self._index(spec.bridge) if spec.bridge else None
        self._netlink.do([netlink.set_link(spec.ifname, mtu=spec.mtu, master=bridge)])
        return netns.inside_here(Path(spec.netns), lambda: adjust(spec, index))

    def _own(self, ifname: str) -> wire.Link | None:
        link = self._netlink.link(ifname)
        return link if link and link.alias.startswith(self._prefix) else None

    def delete(self, ifname: str) -> None:
        """Delete a link if it is ours; nothing when it is not there."""
        self._prepared.clear()
        self._indices.pop(ifname, None)
        if link := self._own(ifname):
            self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)

    def _index(self, ifname: str) -> int:
        """A link's index, remembered: it is the link's as long as that lives, and a look costs the more, the more
        namespaces there are."""
        if ifname not in self._indices:
            link = self._netlink.link(ifname)
            if link is None:
                raise NotFound(f"link {ifname}: no such device")
            self._indices[ifname] = link.index
        return self._indices[ifname]

    def _remove_marked(self, key: str) -> None:
        """Remove a link by its mark, whatever its name now."""
        self._indices.clear()
        for link in self._netlink.links():
            if link.alias == f"{self._prefix}{key}":
                self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)


def _speaking(ifname: str, peer: wire.Link) -> dict[Address, sockets.Sockets]:
    """The addresses of a port's end here, each with the sockets of the namespace."""
    end = look(ifname, peer.index)
    if end is None or not end[1]:
        return {}
    return dict.fromkeys((address.ip for address in end[1]), sockets.look())


def _another(mtu: int) -> int:
    """An MTU to change from: only one that was changed by hand stays when ports come (br_mtu_auto_adjust)."""
    return mtu - 1 if mtu > 1280 else mtu + 1
