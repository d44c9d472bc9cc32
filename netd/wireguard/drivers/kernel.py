"""WireGuard in the kernel: the link by rtnetlink, the rest by generic netlink (pyroute2).

The link is made and marked in one system call. Generic netlink takes one peer a message here, so what changes many
peers is not one transaction; each message can be repeated.
"""

import errno
import os
from collections.abc import Iterable
from typing import Any

from pyroute2 import WireGuard
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ...drivers import netlink
from ...drivers.netlink import Netlink, Request
from ...errors import Conflict, Denied, NetError
from ..specs import PeerSpec
from ..state import Change, PeerState, State, Write


def new_wireguard(name: str, index: int = 0) -> Request:
    """Make a WireGuard link, down; `index` 0 lets the kernel choose."""
    message = ifinfmsg()
    message["header"]["type"] = RTM_NEWLINK
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    message["index"] = index
    kind = {"attrs": [("IFLA_INFO_KIND", "wireguard")]}
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind)]
    return Request(message, f"create WireGuard interface {name}")


class Kernel:
    """A Backend."""

    kind = "wireguard"

    def __init__(self, rtnetlink: Netlink, ifname: str, alias: str) -> None:
        self._netlink = rtnetlink
        self._ifname = ifname
        self._alias = alias

    def create(self) -> None:
        """Make the link with its mark."""
        index = netlink.index_of(self._ifname)
        self._netlink.do([new_wireguard(self._ifname, index), netlink.mark_link(index, self._alias)])

    def owns(self) -> bool:
        """Never: there is no moment without a mark."""
        return False

    def read(self) -> State | None:
        """What the interface is."""
        try:
            with WireGuard() as generic:
                messages = [_plain(message) for message in generic.info(self._ifname)]
        except NetlinkError as error:
            if error.code in (errno.ENODEV, errno.EOPNOTSUPP, errno.ENOENT):
                return None
            raise self._refused("look at", error) from error
        if not messages:
            return None
        key = messages[0].get("WGDEVICE_A_PUBLIC_KEY")
        peers = [_peer(_plain(peer)) for message in messages for peer in message.get("WGDEVICE_A_PEERS", ())]
        return State(
            public_key=_text(key) if key else None,
            listen_port=int(messages[0].get("WGDEVICE_A_LISTEN_PORT", 0)),
            peers=_joined(peers),
        )

    def write(self, what: Write) -> None:
        """Change it, the device first."""
        try:
            with WireGuard() as generic:
                if what.private_key is not None or what.listen_port is not None:
                    generic.set(self._ifname, private_key=what.private_key, listen_port=what.listen_port)
                for change in what.changes:
                    generic.set(self._ifname, peer=_change(change))
        except NetlinkError as error:
            if error.code == errno.EADDRINUSE:
                text = f"{self._ifname}: UDP port {what.listen_port} is taken; choose another for WireGuard"
                raise Conflict(text) from error
            raise self._refused("configure", error) from error

    def removed(self) -> None:
        """Nothing stays of a kernel's link."""

    def _refused(self, verb: str, error: NetlinkError) -> NetError:
        text = f"{verb} {self._ifname}: {os.strerror(error.code)} ({errno.errorcode.get(error.code, error.code)})"
        return Denied(f"{text}; run as root") if error.code in (errno.EPERM, errno.EACCES) else NetError(text)


def _change(change: Change) -> dict[str, Any]:
    if change.spec is None:
        return {"public_key": change.public_key, "remove": True}
    address, _, port = change.spec.endpoint.rpartition(":")
    return {
        "public_key": change.public_key,
        "endpoint_addr": address.strip("[]"),
        "endpoint_port": int(port),
        "persistent_keepalive": change.spec.keepalive,
        "replace_allowed_ips": True,
        "allowed_ips": list(change.spec.allowed_ips),
    }


def _peer(attrs: dict[str, Any]) -> PeerState:
    where = attrs.get("WGPEER_A_ENDPOINT")
    seen = attrs.get("WGPEER_A_LAST_HANDSHAKE_TIME") or {"tv_sec": 0, "tv_nsec": 0}
    return PeerState(
        spec=PeerSpec(
            public_key=_text(attrs["WGPEER_A_PUBLIC_KEY"]),
            endpoint=_endpoint(where["addr"], where["port"]) if where else "",
            allowed_ips=tuple(allowed["addr"] for allowed in attrs.get("WGPEER_A_ALLOWEDIPS", ())),
            keepalive=int(attrs.get("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", 0)),
        ),
        handshake=seen["tv_sec"] + seen["tv_nsec"] / 1e9,
        received=int(attrs.get("WGPEER_A_RX_BYTES", 0)),
        sent=int(attrs.get("WGPEER_A_TX_BYTES", 0)),
    )


def _joined(peers: Iterable[PeerState]) -> dict[str, PeerState]:
    """Peers by key; one that did not fit a message goes on in the next, with its addresses only (include/uapi/linux/
    wireguard.h), so the first counts."""
    found: dict[str, PeerState] = {}
    for peer in peers:
        found.setdefault(peer.spec.public_key, peer)
    return found


def _plain(message: Any) -> dict[str, Any]:
    return dict(tuple(attr)[:2] for attr in message["attrs"])


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
