"""The wires of a lab that is up: cut, healed, slowed, and one laid to the caller.

What is wrong is kept in the lab's state, so that every process that finds the lab goes on from there. A change is
written down first and made true as a whole: one transaction of nftables in the fabric, and a new queue for every
interface whose impairment is another. One that the kernel refuses is taken back.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, Protocol

from hawser.netd.drivers import netns
from hawser.netd.drivers.nft import Nft
from hawser.netd.errors import NetError

from .. import document, faults, units
from ..errors import Conflict, Exists, Invalid, LabError, NotFound, Unavailable
from ..faults import Faults, Impairment
from ..firewall import ruleset
from ..model import BRIDGE_PORTS, End, Host, Link, Topology, check_node
from ..render import FIRST_BRIDGE, FIRST_PEER, Cable
from . import tc
from .home import FABRIC, Home, locked
from .rtnl import Batch, Rtnl, settle

PATIENCE = 5.0  # seconds for another change of the same lab to be finished


class Named(Protocol):
    """A host, as it is found."""

    @property
    def name(self) -> str: ...


Member = str | Named


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The caller's place in a lab: an interface of its own network namespace, named and cut as a host is."""

    name: str
    interface: str
    address: IPv4Interface

    @property
    def ip(self) -> str:
        return str(self.address.ip)


class Wires:
    """What `Lab` can do to its links. Hosts, and the switches, are named or given as found."""

    name: str
    home: Home
    topology: Topology

    def cut(self, a: Member, b: Member | None = None, *, one_way: bool = False) -> None:
        """Lose every frame on the links of `a`, on the link of `a` and `b`, or between two hosts only.

        The interfaces stay up and see nothing of it, as with a dead switch further on. `one_way`: what `a` sends is
        lost, what it is sent arrives. NotFound, Invalid, Conflict.
        """
        self._change(lambda net, now: faults.cut(net, now, _name(a), _maybe(b), one_way=one_way))

    def partition(self, *groups: Iterable[Member]) -> None:
        """Hosts hear those of their own group, and those in no group; replaces the last partition, `()` ends it.

        NotFound, Invalid, Conflict.
        """
        names = [[_name(member) for member in group] for group in groups]
        self._change(lambda net, now: faults.partition(net, now, names))

    def impair(
        self,
        a: Member,
        b: Member | None = None,
        *,
        rate: int | str | None = None,
        delay: float | str = 0.0,
        loss: float | str = 0.0,
        one_way: bool = False,
    ) -> None:
        """Make the links of `a`, or the link of `a` and `b`, slow or lossy, each way, or only what `a` sends.

        `rate`: bits per second, or "10mbit"; `delay`: seconds, or "20ms", needs netem in the kernel; `loss`: percent,
        or "1%". Replaces what the link had; nothing given, nothing impaired. NotFound, Invalid, Conflict, Unavailable.
        """
        how = Impairment(
            rate=None if rate is None else units.rate(rate), delay=units.seconds(delay), loss=units.percent(loss)
        )
        self._change(lambda net, now: faults.impair(net, now, _name(a), _maybe(b), how, one_way=one_way))

    def heal(self, a: Member | None = None, b: Member | None = None) -> None:
        """Everything is well again: no cut, no partition, nothing slow. With names, those links and pairs; a partition
        stays. NotFound, Conflict."""
        self._change(lambda net, now: faults.heal(net, now, _maybe(a), _maybe(b)))

    @property
    def faults(self) -> Faults:
        """What is wrong now."""
        return document.load_faults(self.home.read().get("faults", {}))

    def attach(self, name: str = "here", *, switch: str | None = None) -> Attachment:
        """Give the caller's network namespace a link to a switch (the first by default) and an address in the lab.

        The caller is then a host called `name` to `cut`, `partition` and `impair`, and hears everybody until it is. The
        interface is `<name>-eth0`, which goes with the lab; the lab's whole subnet (10.0.0.0/8 unless `ipbase` says
        otherwise) is routed to it. Exists, Invalid, Conflict, LabError.
        """
        with locked(self.home, patience=PATIENCE):
            state = self._state()
            net = _wired(state)
            host, link = self._place(net, name, switch)
            self._cable(net, host, link)
            attached = [*state.get("attached", []), [host.name, str(host.address), link.b.node, link.b.port]]
            self.home.write({**state, "attached": attached})
        return Attachment(name=name, interface=link.a.interface, address=host.address)

    def _place(self, net: Topology, name: str, switch: str | None) -> tuple[Host, Link]:
        check_node(name)
        if not net.switches or not net.hosts or switch not in (None, *net.switches):
            raise NotFound(f"lab {self.name} has no {switch or 'switch with hosts'}; see: hawser lab show {self.name}")
        if name in {FABRIC, *net.switches, *(host.name for host in net.hosts)}:
            raise Exists(f"lab {self.name} has a {name}; take another name")
        chosen = switch or net.switches[0]
        port = 1 + max((end.port for link in net.links for end in (link.a, link.b) if end.node == chosen), default=0)
        if port > BRIDGE_PORTS:
            raise Invalid(f"switch {chosen} is full: a bridge takes {BRIDGE_PORTS} links")
        network = net.hosts[0].address.network
        number = int(max(host.address.ip for host in net.hosts)) + 1
        if number >= int(network.broadcast_address):
            raise Invalid(f"lab {self.name} has no address left in {network}; take a larger ipbase")
        address = IPv4Interface((IPv4Address(number), network.prefixlen))
        return Host(name=name, address=address, mac=""), Link(End(name, 0), End(chosen, port))

    def _cable(self, net: Topology, host: Host, link: Link) -> None:
        cable = Cable(
            name=link.a.interface,
            index=_index(f"{self.home.path.resolve()}/{host.name}"),
            peer=link.b.interface,
            peer_index=FIRST_PEER + len(net.links),
            bridge=FIRST_BRIDGE + net.switches.index(link.b.node),
        )
        fabric = os.open(self.home.space(FABRIC), os.O_RDONLY | os.O_CLOEXEC)
        here = os.open(netns.SELF, os.O_RDONLY | os.O_CLOEXEC)
        try:
            batch = Batch()
            batch.cable(cable, fabric, here)
            batch.address(cable.index, host.address)
            with Rtnl() as rtnl:
                rtnl.do(batch)
        finally:
            os.close(fabric)
            os.close(here)
        netns.inside(self.home.space(FABRIC), lambda: settle([cable.peer]))
        settle([cable.name])

    def _change(self, act: Callable[[Topology, Faults], Faults]) -> None:
        with locked(self.home, patience=PATIENCE):
            state = self._state()
            net, now = _wired(state), document.load_faults(state.get("faults", {}))
            wanted = act(net, now)
            self.home.write({**state, "faults": document.dump_faults(wanted)})
            try:
                _apply(self.home, net, now, wanted)
            except BaseException:
                self.home.write(state)
                with suppress(LabError):
                    _apply(self.home, net, wanted, now)
                raise

    def _state(self) -> dict[str, Any]:
        if not self.home.whole():
            raise Conflict(f"lab {self.name} is not up; see: hawser lab ls")
        return self.home.read()


def _index(key: str) -> int:
    """An interface index to ask for in a namespace that others use too: what follows in a batch goes by it, and must
    not be able to hit a link of theirs."""
    return (1 << 29) | int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 3


def _name(member: Member) -> str:
    return member if isinstance(member, str) else member.name


def _maybe(member: Member | None) -> str | None:
    return None if member is None else _name(member)


def _wired(state: dict[str, Any]) -> Topology:
    """The topology with the attached."""
    net = document.load_topology(state["topology"])
    attached = state.get("attached", [])
    hosts = [Host(name=name, address=IPv4Interface(address), mac="") for name, address, _, _ in attached]
    links = [Link(End(name, 0), End(switch, port)) for name, _, switch, port in attached]
    return replace(net, hosts=(*net.hosts, *hosts), links=(*net.links, *links))


def _apply(home: Home, net: Topology, now: Faults, wanted: Faults) -> None:
    _queues(home, net, now, wanted)
    text = ruleset(net, wanted)
    netns.inside(home.space(FABRIC), lambda: _filter(text))


def _queues(home: Home, net: Topology, now: Faults, wanted: Faults) -> None:
    changed: dict[str, list[str]] = {}
    for link in net.links:
        for end in (link.a, link.b):
            before, after = now.impaired.get(end.interface), wanted.impaired.get(end.interface)
            if before != after and any(how and how.queued for how in (before, after)):
                changed.setdefault(FABRIC if end.node in net.switches else end.node, []).append(end.interface)
    for node, interfaces in changed.items():
        found = {name: how for name in interfaces if (how := wanted.impaired.get(name)) and how.queued}
        if home.space(node).exists():
            netns.inside(home.space(node), lambda f=found, i=interfaces: tc.shape(f, i))  # type: ignore[misc]
        else:  # an attachment: the caller's
            tc.shape(found, interfaces)


def _filter(text: str) -> None:
    try:
        nft = Nft()
        try:
            nft.run(text)
        finally:
            nft.close()
    except NetError as error:
        raise (Unavailable if error.kind == "unavailable" else LabError)(str(error)) from error
