"""Copies of what a port is given, by the traffic control of its host end's egress (tc-mirred(8), clsact).

nftables' own egress hook would do, but the kernel spares it every frame that waited in another port's shaper (ifb.c:
nf_skip_egress). A filter that takes everything is one instruction of classic BPF (tc-bpf(8)): every kernel with traffic
control for containers has it. A filter is ours by its preference.
"""

import socket
import struct
from collections.abc import Sequence

from ...drivers import wire
from ...drivers.wire import attribute
from .rtnl import CREATE, DELQDISC, EXCL, NEWQDISC, Rtnl

NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46
CLSACT, CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
OURS, MOST = 0x4857, 256
PIPE, MIRROR = 3, 2
ETH_P_ALL = 3
EVERYTHING = struct.pack("=HBBI", 6, 0, 0, 0xFFFFFFFF)  # return -1
UNKNOWN = -1


def put(rtnl: Rtnl, index: int, name: str, targets: Sequence[int]) -> None:
    """Copy what the link is given to these links (by index), and to no others. NotFound, Unavailable, NetError."""
    if targets == found(rtnl, index):
        return
    remove(rtnl, index, name)
    if targets:
        body = _tcmsg(index, CLSACT_HANDLE, CLSACT, 0) + attribute(1, b"clsact\0")
        rtnl.ask(NEWQDISC, CREATE, body, f"copies of {name}")
    for number, target in enumerate(targets):
        body = _tcmsg(index, 0, EGRESS, OURS + number) + attribute(1, b"bpf\0") + attribute(2, _filter(target))
        rtnl.ask(NEWTFILTER, CREATE | EXCL, body, f"copies of {name}")


def remove(rtnl: Rtnl, index: int, name: str) -> None:
    """Copy nothing any more; the hook goes, too, when nobody else uses it."""
    preferences = _preferences(rtnl, index, EGRESS)
    ours = [one for one in preferences if _ours(one)]
    for preference in ours:
        rtnl.ask(DELTFILTER, 0, _tcmsg(index, 0, EGRESS, preference), f"copies of {name}", missing_ok=True)
    if ours and len(ours) == len(preferences) and not _preferences(rtnl, index, INGRESS):
        rtnl.ask(DELQDISC, 0, _tcmsg(index, CLSACT_HANDLE, CLSACT, 0), f"copies of {name}", missing_ok=True)


def found(rtnl: Rtnl, index: int) -> list[int]:
    """Where copies go, in order; UNKNOWN for a filter of ours that does something else."""
    filters = _filters(rtnl, index, EGRESS)
    return [_target(attributes) for preference, attributes in filters if _ours(preference) and 2 in attributes]


def _ours(preference: int) -> bool:
    return OURS <= preference < OURS + MOST


def _tcmsg(index: int, handle: int, parent: int, preference: int) -> bytes:
    protocol = socket.htons(ETH_P_ALL) if parent == EGRESS else 0
    return struct.pack("=BxxxiIII", 0, index, handle, parent, preference << 16 | protocol)


def _filter(target: int) -> bytes:
    mirred = struct.pack("=IIiiiiI", 0, 0, PIPE, 0, 0, MIRROR, target)
    action = attribute(1, b"mirred\0") + attribute(2, attribute(2, mirred))
    program = attribute(4, struct.pack("=H", 1)) + attribute(5, EVERYTHING)
    return attribute(1, attribute(1, action)) + program


def _filters(rtnl: Rtnl, index: int, parent: int) -> list[tuple[int, dict[int, bytes]]]:
    """Preferences and attributes of the filters of one hook."""
    entries = []
    for payload in rtnl.every(GETTFILTER, NEWTFILTER, _tcmsg(index, 0, parent, 0)):
        _, there, _, _, info = struct.unpack_from("=BxxxiIII", payload)
        if there == index:
            entries.append((info >> 16, wire.attributes(payload, 20)))
    return sorted(entries, key=lambda entry: entry[0])


def _preferences(rtnl: Rtnl, index: int, parent: int) -> list[int]:
    return sorted({preference for preference, _ in _filters(rtnl, index, parent)})


def _target(attributes: dict[int, bytes]) -> int:
    """Where a filter of ours copies to."""
    options = wire.attributes(attributes[2])
    actions = wire.attributes(options.get(1, b""))
    action = wire.attributes(actions.get(1, b""))
    parameters = wire.attributes(action.get(2, b"")).get(2, b"")
    whole = attributes.get(1) == b"bpf\0" and options.get(5) == EVERYTHING and list(actions) == [1]
    if not whole or action.get(1) != b"mirred\0" or len(parameters) < 28:
        return UNKNOWN
    _, _, then, _, _, kind, target = struct.unpack_from("=IIiiiiI", parameters)
    return int(target) if (then, kind) == (PIPE, MIRROR) else UNKNOWN
