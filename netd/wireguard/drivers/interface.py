"""A WireGuard interface of either kind: its link, its mark and its address through rtnetlink, the rest by its backend.

What carries another's mark, or none, is left alone, even under our name; one that was being made when the node was
killed is known by its backend. The link is up before it is told a port, so that a taken port is refused and not only
logged.
"""

import errno
import socket
from ipaddress import IPv6Address

from ...drivers import netlink, wire
from ...drivers.netlink import Netlink
from ...errors import Conflict, NetError
from ..specs import WireguardSpec, prefixed
from ..state import Backend, State, difference


class Interface:
    """A Device; make and use it on one thread, which is in the namespace of the interface."""

    def __init__(self, rtnetlink: Netlink, ifname: str, alias: str, backend: Backend) -> None:
        self._netlink = rtnetlink
        self._ifname = ifname
        self._alias = alias
        self._backend = backend

    def observe(self) -> WireguardSpec | None:
        """What it is; None when there is none with our mark that works."""
        link = self._own()
        state = self._backend.read() if link else None
        if link is None or state is None:
            return None
        addresses = [entry.address.ip for entry in self._addresses(link)]
        return WireguardSpec(
            ifname=link.name,
            listen_port=state.listen_port,
            address=next((one for one in addresses if one.version == 6), IPv6Address(0)),
            mtu=link.mtu,
            public_key=state.public_key or "",
            peers=tuple(state.peers[key].spec for key in sorted(state.peers)),
            up=link.up,
        )

    def state(self) -> State | None:
        """Its peers with their handshakes and counters."""
        return self._backend.read() if self._own() else None

    def apply(self, spec: WireguardSpec, private_key: str) -> None:
        """Make it, or change what differs."""
        state = self._present()
        link = self._netlink.link(self._ifname)
        if link is None or state is None:
            raise NetError(f"WireGuard interface {self._ifname} vanished while it was set up; it is tried again")
        if (link.alias, link.mtu, link.up) != (self._alias, spec.mtu, True):
            self._netlink.do([netlink.mark_port(link.index, self._alias)])
            self._netlink.do([netlink.set_link(self._ifname, mtu=spec.mtu)])
        self._address(link, spec)
        what = difference(state, spec, private_key)
        if what.listen_port is not None:
            _free(self._ifname, what.listen_port)
        if what:
            self._backend.write(what)

    def _present(self) -> State | None:
        link = self._netlink.link(self._ifname)
        if link is not None and link.alias != self._alias and not self._backend.owns():
            raise Conflict(f"interface {self._ifname} is not ours; remove it: ip link delete {self._ifname}")
        state = self._backend.read() if link and link.kind == self._backend.kind else None
        if link is not None and state is None:
            self._delete(link)
            link = None
        if link is None:
            self._backend.create()
            state = self._backend.read()
        return state

    def _address(self, link: wire.Link, spec: WireguardSpec) -> None:
        wanted = prefixed(spec.address)
        have = [entry.address for entry in self._addresses(link)]
        extra = [netlink.delete_address(link.index, one) for one in have if one != wanted]
        self._netlink.do(extra, missing_ok=True)
        if wanted not in have:
            self._netlink.do([netlink.add_address(link.index, wanted)])

    def _addresses(self, link: wire.Link) -> list[wire.LinkAddress]:
        return [entry for entry in self._netlink.addresses() if entry.index == link.index and entry.scope == 0]

    def remove(self) -> None:
        """Remove it if it is ours; nothing when it is not there."""
        link = self._netlink.link(self._ifname)
        if link is not None and (link.alias == self._alias or self._backend.owns()):
            self._delete(link)
        elif link is None:
            self._backend.removed()

    def _delete(self, link: wire.Link) -> None:
        self._netlink.do([netlink.delete_link(index=link.index)], missing_ok=True)
        self._backend.removed()

    def _own(self) -> wire.Link | None:
        link = self._netlink.link(self._ifname)
        return link if link and link.alias == self._alias and link.kind == self._backend.kind else None


def _free(ifname: str, port: int) -> None:
    """Conflict when another socket has the port: WireGuard itself would only log it, or go down."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(("", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise Conflict(f"{ifname}: UDP port {port} is taken; choose another for WireGuard") from error
                raise NetError(f"{ifname}: UDP port {port}: {error.strerror}") from error
