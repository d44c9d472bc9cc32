"""Links of the host's that are lent to a tenant's bridge, and given back as they were.

A lent link moves into the tenant's namespace, where it has the port's name: nothing of the host's stack is on it any
more, and the port's rules hold for it. What it was (name, alias, MTU, up, addresses) is written to a file before it
moves, and the file goes when the link has it back, so that a kill in between loses nothing: wherever the link is, its
alias says whose it is. That is an alias of its own kind, by which nothing is ever deleted.

When a tenant's namespace vanishes (somebody unmounts it), the kernel gives physical links back to the initial namespace
and deletes virtual ones (default_device_exit_batch in net/core/dev.c); so a namespace goes after its lent links only.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import ip_interface
from pathlib import Path

from ..errors import Conflict, Invalid, NetError, NotFound
from ..specs import BorrowedSpec, Spec
from . import netlink, netns, wire
from .inside import by_link
from .netlink import Netlink
from .place import Place

ABOVE = ("vlan", "macvlan", "macvtap", "ipvlan", "ipvtap")
OURS = ("hawser:", "hawser-borrowed:")
LOOPBACK = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a link was on the host, and to whom it is lent: `key` is the port's."""

    key: str
    tenant: str
    ifname: str
    name: str
    alias: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]


class Borrowed:
    """The lent links of one node; `of` gives a tenant's place, NotFound when it has no namespace."""

    def __init__(self, host: Netlink, instance: str, directory: Path, of: Callable[[str], Place]) -> None:
        self._host = host
        self._mark = f"hawser-borrowed:{instance}:"
        self._directory = directory
        self._of = of

    def observe(self) -> dict[str, Spec]:
        """Every link that is lent, or of which it is noted that it was."""
        return {before.key: self._observe(before) for before in self._all()}

    def _observe(self, before: Before) -> BorrowedSpec:
        place, link = self._find(before)
        names = {each.index: each.name for each in place.netlink.links()} if place and link else {}
        return BorrowedSpec(
            tenant=before.tenant,
            ifname=before.ifname,
            bridge=names.get(link.master, "") if link else "",
            mtu=link.mtu if link else 0,
            up=bool(link and link.up),
            source=before.name,
            network="",
        )

    def set(self, key: str, spec: BorrowedSpec) -> None:
        """Lend a link, or mend what is not as it should be of one that is lent. NotFound, Conflict, Invalid."""
        place = self._of(spec.tenant)
        before = self._read(self._file(key))
        here, link = self._find(before) if before else (None, None)
        if before is None or link is None:
            link = self._take(key, spec)
            here = None
        if here is None:
            with netns.opened(place.path or Path(netns.SELF)) as target:
                self._host.do([netlink.move_link(link.index, target, name=spec.ifname, alias=f"{self._mark}{key}")])
        self._plug(place, key, spec)

    def _take(self, key: str, spec: BorrowedSpec) -> wire.Link:
        """A link of the host's that may be lent, and what it is, noted."""
        links = self._host.links()
        link = next((each for each in links if each.name == spec.source), None)
        for other in self._all():
            if other.name == spec.source and other.key != key:
                raise Conflict(f"interface {spec.source} is {other.key.split(':')[1]}'s already; detach that first")
        if link is None:
            raise NotFound(f"no interface {spec.source} on this host; it is attached when there is one")
        own = [entry for entry in self._host.addresses() if entry.index == link.index]
        check(link, links, self._host.routes(), own, spec)
        self._write(
            Before(
                key=key,
                tenant=spec.tenant,
                ifname=spec.ifname,
                name=link.name,
                alias=link.alias,
                mtu=link.mtu,
                up=link.up,
                addresses=tuple(str(address) for address in by_link(own).get(link.index, ())),
            )
        )
        return link

    def _plug(self, place: Place, key: str, spec: BorrowedSpec) -> None:
        tenant = place.netlink
        bridge, link = tenant.link(spec.bridge), self._marked(tenant, key)
        if bridge is None or link is None:
            raise NotFound(f"link {spec.bridge if bridge is None else spec.ifname}: no such device")
        tenant.do([netlink.mark_port(link.index, f"{self._mark}{key}")])
        if link.name != spec.ifname:
            tenant.do([netlink.rename_link(link.index, spec.ifname)])
        tenant.do([netlink.enslave(link.index, bridge.index), netlink.set_link(spec.ifname, mtu=spec.mtu)])

    def give_back(self, key: str) -> None:
        """Return a link to the host as it was; nothing when it is not lent. What cannot be returned stays where it
        is."""
        before = self._read(self._file(key))
        if before is None:
            return
        place, link = self._find(before)
        if place is not None and link is not None:
            with netns.opened(Path(netns.SELF)) as host:
                place.netlink.do([netlink.enslave(link.index, 0)])
                place.netlink.do([netlink.move_link(link.index, host)])
            link = self._marked(self._host, key)
        if link is not None:
            self._restore(link, before)
        with contextlib.suppress(FileNotFoundError):
            self._file(key).unlink()

    def give_all_back(self, tenant: str) -> None:
        """Return whatever is lent to a tenant."""
        for before in self._all():
            if before.tenant == tenant:
                self.give_back(before.key)

    def _restore(self, link: wire.Link, before: Before) -> None:
        """On the host: its name first, its mark last."""
        if link.name != before.name:
            self._host.do([netlink.down(link.index)])
            if self._host.link(before.name) is not None:
                words = f"the host has another {before.name} by now, so that it is called {link.name}; rename that one"
                raise Conflict(f"interface {before.name} cannot have its name back: {words}")
            self._host.do([netlink.rename_link(link.index, before.name)])
        requests = [netlink.mark_link(link.index, f"{self._mark}{before.key}", mtu=before.mtu)]
        requests += [netlink.up(link.index)] if before.up else []
        requests += [netlink.add_address(link.index, ip_interface(text)) for text in before.addresses]
        self._host.do([*requests, netlink.mark_link(link.index, before.alias)])

    def _find(self, before: Before) -> tuple[Place | None, wire.Link | None]:
        """A lent link, in the tenant's place or (no place) on the host, where the kernel may have put it."""
        with contextlib.suppress(NotFound):
            place = self._of(before.tenant)
            link = self._marked(place.netlink, before.key)
            if link is not None:
                return place, link
        return None, self._marked(self._host, before.key)

    def _marked(self, where: Netlink, key: str) -> wire.Link | None:
        return next((link for link in where.links() if link.alias == f"{self._mark}{key}"), None)

    def _file(self, key: str) -> Path:
        return self._directory / key

    def _all(self) -> Iterator[Before]:
        if self._directory.is_dir():
            for path in sorted(self._directory.iterdir()):
                if path.suffix != ".new" and (before := self._read(path)):
                    yield before

    def _read(self, path: Path) -> Before | None:
        try:
            plain = json.loads(path.read_text())
            return Before(**(plain | {"addresses": tuple(plain["addresses"])}))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise NetError(
                f"{path}, what a lent interface was, cannot be read: {error}; see to the interface"
            ) from None

    def _write(self, before: Before) -> None:
        path = self._file(before.key)
        fresh = path.with_name(f"{path.name}.new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps(asdict(before)))
            os.replace(fresh, path)
        except OSError as error:
            raise NetError(f"{path}: {error.strerror}; what the interface is must be noted before it moves") from error


def check(
    link: wire.Link,
    links: tuple[wire.Link, ...],
    routes: tuple[wire.Route, ...],
    addresses: list[wire.LinkAddress],
    spec: BorrowedSpec,
) -> None:
    """Whether the host can do without a link. Invalid, Conflict."""
    what = f"interface {link.name}"
    if link.name == LOOPBACK:
        raise Invalid(f"{what} is the host's loopback; attach another one")
    if link.alias.startswith(OURS):
        raise Conflict(f"{what} is one of hawser's own; attach another one")
    if link.kind == "bridge":
        raise Invalid(f"{what} is a bridge, which is no port of another; attach one of its ports")
    if link.master:
        master = next((each.name for each in links if each.index == link.master), str(link.master))
        raise Conflict(f"{what} is part of {master}; take it out of that first")
    if above := [each.name for each in links if each.index != link.index and _stands_on(each, link)]:
        raise Conflict(f"{what} has {', '.join(sorted(above))} on it; remove that first")
    if any(route.index == link.index and not route.subnet.prefixlen and not route.local for route in routes):
        raise Conflict(f"{what} has the default route, the host's way out; attach another one")
    if spec.underlay is not None and any(entry.address.ip == spec.underlay for entry in addresses):
        raise Conflict(f"{what} has {spec.underlay}, by which other machines reach this one; attach another one")


def _stands_on(above: wire.Link, link: wire.Link) -> bool:
    return above.master == link.index or (above.iflink == link.index and above.kind in ABOVE)
