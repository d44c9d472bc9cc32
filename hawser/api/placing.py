"""Which namespace an attachment is for, whether it may be attached to, and under which name the node knows it."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hawser.netd.drivers import netns
from hawser.netd.model import LINK
from hawser.netd.parse import check_ifname, parse_path

from ..faults import Fault
from ..guests import OWN, OWNER, same
from ..node import Node

TO_OUTSIDE = "eth0"  # the interface that gets the default routes (netd.compile)
ETHERNETS = 1024
LOOPBACK = "lo"


class Wish(Protocol):
    """The part of a request that says where."""

    sandbox: str
    netns: str | None
    pid: int | None
    link: str | None
    ifname: str | None
    mac: str | None
    reserved: str | None

    @property
    def owner(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace by a path to it, or a `link` of the host's; and the sandbox's name."""

    sandbox: str
    source: str = ""
    link: str | None = None


async def find(node: Node, wanted: Wish, caller: tuple[int, int] | None) -> Place:
    """The place that a request speaks of. Fault (usage, not-found, conflict)."""
    if sum(one is not None for one in (wanted.netns, wanted.pid, wanted.link)) != 1:
        raise Fault("give one of netns, pid and link", "usage")
    if wanted.owner != OWNER and not (wanted.netns and wanted.sandbox):
        raise Fault(f"owner {wanted.owner} attaches a netns, and names its sandbox", "usage")
    if wanted.link is not None:
        return Place(sandbox=wanted.sandbox or _made_up("if"), link=wanted.link)
    source = parse_path(wanted.netns) if wanted.netns is not None else _of_process(wanted.pid, caller)
    if same(Path(source), OWN):
        raise Fault(f"{source} is this machine's own network namespace; give another's", "usage")
    if wanted.owner != OWNER:
        return Place(sandbox=wanted.sandbox, source=source)
    await asyncio.to_thread(_check_foreign, node, Path(source))
    known = await asyncio.to_thread(_known, node, Path(source))
    if known is not None and wanted.sandbox not in ("", known):
        raise Fault(f"this namespace is attached as {known} already; leave out the other name", "conflict")
    return Place(sandbox=wanted.sandbox or known or _made_up("ns"), source=source)


def _made_up(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(3)}"


def _of_process(pid: int | None, caller: tuple[int, int] | None) -> str:
    """The path of a process's namespace; 0 is the caller."""
    number = caller[0] if not pid and caller else pid
    path = f"/proc/{number}/ns/net"
    if not number or number < 0 or not os.path.exists(path):
        raise Fault(f"no process {number} on this machine", "not-found")
    return path


def _check_foreign(node: Node, source: Path) -> None:
    """Fault for the namespaces that the node made: they have what they need."""
    for name in node.net.sandboxes():
        if same(source, node.config.run / "netns" / name):
            raise Fault(f"{source} is container {name}'s; use: hawser net attach {name} NETWORK", "conflict")
    tenants = node.config.run / "tenants"
    for path in tenants.iterdir() if tenants.is_dir() else ():
        if same(source, path):
            raise Fault(f"{source} is tenant {path.name}'s own network namespace; give another's", "conflict")


def _known(node: Node, source: Path) -> str | None:
    """The name under which a namespace is attached already."""
    found = sorted(node.net.sources(OWNER))
    return next((name for name in found if same(source, node.config.run / "netns" / name)), None)


async def make_ready(node: Node, wanted: Wish, place: Place) -> str:
    """Adopt what is to be attached; the interface's name. A CNI container that was adopted under this id and is another
    by now has gone without a word: it and its attachments are let go. Fault (conflict)."""
    net, owner = node.net, node.net.owners().get(place.sandbox)
    if place.sandbox in net.sandboxes() or owner not in (None, wanted.owner):
        raise Fault(f"sandbox {place.sandbox} is not {wanted.owner}'s; choose another name", "conflict")
    if wanted.ifname is not None:
        check_ifname(wanted.ifname)
    if place.link is not None:
        await net.adopt_link(place.sandbox, _check_link(node, wanted, place), wanted.owner)
        return place.link
    source, kept = Path(place.source), node.config.run / "netns" / place.sandbox
    names = await asyncio.to_thread(_interfaces, source)
    ifname = wanted.ifname or _free(names)
    if owner is not None and not await asyncio.to_thread(same, kept, source):
        if owner == OWNER:
            raise Fault(f"{place.sandbox} is attached already, another namespace; choose another name", "conflict")
        await net.remove_sandbox(place.sandbox)
    if ifname in names:
        raise Fault(f"{place.source} has an interface {ifname}; remove it, or choose another name", "conflict")
    await net.adopt_sandbox(place.sandbox, place.source, wanted.owner)
    return ifname


def _check_link(node: Node, wanted: Wish, place: Place) -> str:
    """The link. Fault when it cannot be told what is behind it, or the name is another's."""
    assert place.link is not None
    if place.link == LOOPBACK:
        raise Fault("lo is the host's loopback; attach another interface", "usage")
    if wanted.mac is None and wanted.reserved is None:
        raise Fault(f"give the MAC of what is behind {place.link}: no other gets through (--mac, --reserved)", "usage")
    if wanted.ifname not in (None, place.link):
        raise Fault(
            f"{place.link} has no namespace in which it could be called {wanted.ifname}; leave that out", "usage"
        )
    source = node.net.source(place.sandbox)
    if source not in ("", f"{LINK}{place.link}"):
        raise Fault(f"{place.sandbox} is attached already, and is {source}; choose another name", "conflict")
    return place.link


def _interfaces(path: Path) -> set[str]:
    if not netns.alive(path):
        words = "give one's path, as /run/netns/NAME or /proc/PID/ns/net"
        raise Fault(f"{path} is no network namespace; {words}", "usage")
    return {name for _, name in netns.inside(path, socket.if_nameindex)}


def _free(names: Iterable[str]) -> str:
    taken = set(names)
    return next(name for number in range(ETHERNETS) if (name := f"eth{number}") not in taken)
