"""Routes to the inner addresses of other machines, through one slot's interface or the other's.

A route is replaced in one message, so that there is always one (NLM_F_REPLACE; IPv6 replaces the route of the same
target and metric). Only routes to host addresses over our own interfaces, with our two metrics, are looked at.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_NEWROUTE
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ...drivers import wire
from ...drivers.netlink import Netlink, Request
from ..paths import BEST, SPARE, Path

BOOT, UNIVERSE, UNICAST = 3, 0, 1


class Routes:
    """The paths of this machine as the kernel has them; `indices` are the slots' interfaces, None where there is
    none."""

    def __init__(self, rtnetlink: Netlink) -> None:
        self._netlink = rtnetlink

    def observe(self, indices: tuple[int | None, int | None]) -> frozenset[Path]:
        """Every path there is."""
        slots = {index: slot for slot, index in enumerate(indices) if index is not None}
        if not slots:
            return frozenset()
        return frozenset(
            Path(route.subnet.network_address, slots[route.index], route.metric)
            for route in self._netlink.routes()
            if route.index in slots
            and route.metric in (BEST, SPARE)
            and isinstance(route.subnet, IPv6Network)
            and route.subnet.prefixlen == 128
            and not route.local
        )

    def apply(self, wanted: frozenset[Path], indices: tuple[int | None, int | None]) -> None:
        """Have these paths and no others; those of a slot without an interface are left out."""
        able = {path for path in wanted if indices[path.slot] is not None}
        have = self.observe(indices)
        for metric in (BEST, SPARE):
            new = sorted(path for path in able - have if path.metric == metric)
            self._netlink.do([_route(RTM_NEWROUTE, path, indices) for path in new])
        gone = sorted(self.observe(indices) - able) if have - able else []
        self._netlink.do([_route(RTM_DELROUTE, path, indices) for path in gone], missing_ok=True)


def current(paths: frozenset[Path]) -> Mapping[IPv6Address, int]:
    """The slot each machine is sent to through."""
    best: dict[IPv6Address, Path] = {}
    for path in sorted(paths, key=lambda path: -path.metric):
        best[path.target] = path
    return {target: path.slot for target, path in best.items()}


def _route(command: int, path: Path, indices: tuple[int | None, int | None]) -> Request:
    message: Any = rtmsg()
    message["header"]["type"] = command
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK
    if command == RTM_NEWROUTE:
        message["header"]["flags"] |= NLM_F_CREATE | NLM_F_REPLACE
    message["family"], message["dst_len"] = wire.AF_INET6, 128
    message["table"], message["proto"], message["scope"] = wire.MAIN_TABLE, BOOT, UNIVERSE
    message["type"] = UNICAST
    attrs = [("RTA_DST", str(path.target)), ("RTA_OIF", indices[path.slot]), ("RTA_PRIORITY", path.metric)]
    message["attrs"] = attrs
    verb = "add" if command == RTM_NEWROUTE else "delete"
    return Request(message, f"{verb} route to {path.target} through slot {path.slot}")
