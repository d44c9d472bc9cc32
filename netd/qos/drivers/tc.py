"""Rates, DSCP and copies of ports in one namespace: tbf, ifb, nftables' netdev family and clsact.

What comes to a port waits in a tbf on the host end of its veth pair. What a port sends should wait too, not be thrown
away, and where the port cannot change it: not on its own end (with CAP_NET_ADMIN it would take that queue off), but
behind the host end. So nftables hands every frame from there to an ifb device (`fwd to`, which marks it as ifb asks,
nft_fwd_netdev.c); its tbf holds the frames back, and then they come in at the host end as if nothing had been
(drivers/net/ifb.c). mirred, the usual way to an ifb, is not needed. Where the kernel has no ifb or no `fwd`, asked
once, what is over the rate is dropped by nftables' `limit`: TCP keeps to such a rate too, with more losses.

A host end has its queue under a handle of ours, copies of what it is given under preferences of ours (`copies`), a
shaper is marked by its alias, rules by their table's name. Made in this order: copies, shaper, rules, queue; removed
the other way round, so that no frame is led to nowhere. If somebody deletes a shaper the port is silent until the next
observation finds it. Loading the kernel's module ifb leaves `ifb0` and `ifb1` in the host's namespace.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from hawser.store.reconcile import Verb

from ...drivers import wire
from ...drivers.place import Place
from ...errors import Denied, NetError, NotFound, Unavailable
from ...model import Direction, derived
from .. import rates, rules
from ..specs import MirrorSpec, QosSpec
from . import copies
from .rtnl import HANDLE, ROOT, Queue, Rtnl

PROBE = "hwqprobe"


class Tc:
    """The quality of service of the ports in one place. `shaping` False has what ports send policed; None asks the
    kernel."""

    def __init__(self, place: Place, instance: str, tenant: str, *, shaping: bool | None = None) -> None:
        self._place = place
        self._instance = instance
        self._tenant = tenant
        self._shaping = shaping
        self._rtnl = place.inside(Rtnl)
        self._keys: set[str] = set()

    def close(self) -> None:
        """Let go; nothing is removed."""
        self._rtnl.close()

    @property
    def shaping(self) -> bool:
        """Whether what a port sends waits when it is over its rate; else it is dropped."""
        if self._shaping is None:
            self._shaping = self._probe()
        return self._shaping

    def observe(self, known: Iterable[wire.Link] | None = None) -> dict[str, QosSpec]:
        """What ports have, by key; of a port with a part only, a spec that is never wanted. `known` are all links there
        are, when that is known."""
        links = {link.index: link for link in (self._place.netlink.links() if known is None else known)}
        every = self._rtnl.queues()
        queues = {queue.index: queue for queue in every if queue.parent == ROOT}
        copied = {queue.index: self._copied(queue.index, links) for queue in every if queue.parent == copies.CLSACT}
        shapers = {link.name: _rate(queues.get(index)) for index, link in links.items() if link.kind == "ifb"}
        objects = self._table()
        found = rules.observed(objects, self._tenant, shapers)
        for link in links.values():
            key = self._marked(link, queues.get(link.index), copied.get(link.index, ()))
            if key is not None and key not in found:
                found[key] = QosSpec(tenant=self._tenant, ifname=link.name if link.kind == "veth" else "?")
        rate = {link.name: _rate(queues.get(link.index)) for link in links.values()}
        given = {links[index].name: mirrors for index, mirrors in copied.items() if index in links}
        found = {
            key: replace(spec, ingress=rate.get(spec.ifname), mirrors=(*spec.mirrors, *given.get(spec.ifname, ())))
            for key, spec in found.items()
        }
        self._keys = set(found)
        return found

    def apply(self, verb: Verb, key: str, spec: QosSpec) -> None:
        """Bring a port to its spec, or (DELETE) take everything away. NotFound when its host end is not there."""
        if verb is Verb.DELETE:
            self.delete(key, spec)
            return
        index = self._index(spec.ifname)
        if index is None:
            raise NotFound(f"{key}: link {spec.ifname}: no such device")
        self._keys.add(key)
        self._copy(index, spec)
        shaper = self._shaper(key, spec.egress) if spec.egress is not None and self.shaping else None
        self._nft(rules.create(self._instance, key, spec, shaper))
        if shaper is None:
            self._rtnl.delete_link(self._shaper_name(key))
        if spec.ingress is not None:
            self._rtnl.set_queue(index, spec.ifname, rates.tbf(rates.bucket(spec.ingress)))
        else:
            self._clear(index, spec.ifname)

    def delete(self, key: str, spec: QosSpec) -> None:
        """Take a port's quality of service away; nothing when it is not there."""
        self._keys.discard(key)
        index = self._index(spec.ifname)
        if index is not None:
            self._clear(index, spec.ifname)
            copies.remove(self._rtnl, index, spec.ifname)
        self._nft(rules.delete(self._instance, key))
        self._rtnl.delete_link(self._shaper_name(key))
        if not self._keys and not any("chain" in entry for entry in self._table()):
            with contextlib.suppress(NotFound):
                self._nft(f"delete table netdev {rules.table(self._instance)}\n")

    def _copied(self, index: int, links: Mapping[int, wire.Link]) -> tuple[MirrorSpec, ...]:
        """Where copies of what a link is given go."""
        names = [links[to].name if to in links else "?" for to in copies.found(self._rtnl, index)]
        return tuple(MirrorSpec(direction=Direction.INGRESS, to=name) for name in sorted(set(names)))

    def _copy(self, index: int, spec: QosSpec) -> None:
        wanted = [mirror.to for mirror in spec.mirrors if mirror.direction is Direction.INGRESS]
        targets = {name: self._index(name) for name in wanted}
        for name, target in targets.items():
            if target is None:
                raise NotFound(f"mirror to {name}: no such device")
        copies.put(self._rtnl, index, spec.ifname, [target for target in targets.values() if target is not None])

    def _table(self) -> list[dict[str, Any]]:
        return self._place.inside(lambda: self._place.nft.table(rules.table(self._instance), "netdev")) or []

    def _nft(self, commands: str) -> None:
        """Run commands inside: libnftables looks for the devices that rules name where its thread is."""
        self._place.inside(lambda: self._place.nft.run(commands))

    def _shaper(self, key: str, rate: int) -> str:
        name = self._shaper_name(key)
        index = self._index(name)
        if index is None:
            self._rtnl.new_ifb(name, f"hawser:{self._instance}:{key}")
            index = self._index(name)
        else:
            self._rtnl.raise_link(name)
        assert index is not None
        self._rtnl.set_queue(index, name, rates.tbf(rates.bucket(rate)))
        return name

    def _shaper_name(self, key: str) -> str:
        return derived("hwq", self._instance, key)

    def _clear(self, index: int, name: str) -> None:
        """Remove a queue of ours."""
        if any(queue.index == index and queue.handle == HANDLE for queue in self._rtnl.queues()):
            self._rtnl.delete_queue(index, name)

    def _index(self, name: str) -> int | None:
        link = self._place.netlink.link(name) if name and name != "?" else None
        return link.index if link else None

    def _marked(self, link: wire.Link, queue: Queue | None, mirrors: Collection[MirrorSpec]) -> str | None:
        """The key of the port that a shaper, or a host end with a queue or copies of ours, belongs to."""
        mark = f"hawser:{self._instance}:"
        if link.kind == "ifb" and link.alias.startswith(f"{mark}qos:"):
            return link.alias.removeprefix(mark)
        ours = mirrors or (queue is not None and queue.handle == HANDLE)
        if link.alias.startswith(f"{mark}port:") and ours:
            return f"qos:{link.alias.removeprefix(f'{mark}port:')}"
        return None

    def _probe(self) -> bool:
        name, device = f"{rules.table(self._instance)}_probe", PROBE
        try:
            self._rtnl.new_ifb(device, f"hawser:{self._instance}:probe")
        except Unavailable:
            return False
        try:
            self._nft(
                f"add table netdev {name}\nadd chain netdev {name} probe\n"
                f'add rule netdev {name} probe fwd to "{device}"\ndelete table netdev {name}\n'
            )
        except Denied:
            raise
        except NetError:
            return False
        finally:
            self._rtnl.delete_link(device)
        return True


def _rate(queue: Queue | None) -> int | None:
    """The rate of a queue of ours, None when it is somebody else's."""
    if queue is None or queue.handle != HANDLE:
        return None
    return rates.observed_tbf(queue.options) if queue.kind == "tbf" else 0
