"""What is wrong with a lab's wires: cuts, partitions and slow links, as data.

A frame is lost or held back on its way out of an interface, so every direction of a link is named by the interface
that sends: `h1-eth0` towards the switch, `s1-eth1` back. Three things can be wrong at once and independently: links
that are cut, hosts that do not hear each other although their links are whole (pairs, and the groups of a partition),
and links that are impaired. The functions take what is wrong now and return what is to be wrong next; `cut` twice is
`cut` once, and `heal` of what is whole is nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .errors import Invalid, NotFound
from .model import End, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """Of one direction of a link. `rate`: bits per second, None is unlimited; `delay`: seconds; `loss`: percent."""

    rate: int | None = None
    delay: float = 0.0
    loss: float = 0.0

    @property
    def queued(self) -> bool:
        """Whether the sending interface needs a queue of its own for it."""
        return self.rate is not None or self.delay > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Everything that is wrong. `apart`: from, to; hosts in no group of `groups` hear everybody."""

    cuts: frozenset[str] = frozenset()
    apart: frozenset[tuple[str, str]] = frozenset()
    groups: tuple[tuple[str, ...], ...] = ()
    impaired: Mapping[str, Impairment] = field(default_factory=dict)

    def deaf(self) -> dict[str, frozenset[str]]:
        """By host, those who do not get its frames."""
        lost: dict[str, set[str]] = {}
        for source, target in self.apart:
            lost.setdefault(source, set()).add(target)
        for group in self.groups:
            others = {host for other in self.groups if other is not group for host in other}
            for host in group:
                lost.setdefault(host, set()).update(others)
        return {host: frozenset(lost[host]) for host in sorted(lost) if lost[host]}


WHOLE = Faults()


def cut(net: Topology, now: Faults, a: str, b: str | None = None, *, one_way: bool = False) -> Faults:
    """Every link of `a`, the link between `a` and `b`, or, between two hosts, only what one sends the other.

    `one_way`: only what `a` sends. NotFound, Invalid.
    """
    if pair := _pair(net, a, b):
        return replace(now, apart=now.apart | ({pair} if one_way else {pair, pair[::-1]}))
    return replace(now, cuts=now.cuts | set(directions(net, a, b, one_way=one_way)))


def partition(net: Topology, now: Faults, groups: Iterable[Iterable[str]]) -> Faults:
    """Hosts hear those of their own group only, and those in no group; replaces the last partition. NotFound, Invalid.

    No groups: no partition.
    """
    made = tuple(tuple(group) for group in groups)
    members = [host for group in made for host in group]
    hosts = {host.name for host in net.hosts}
    for host in members:
        if host not in hosts:
            raise _unknown(host, "host")
        if members.count(host) > 1:
            raise Invalid(f"partition: {host} is named twice; a host is in one group at most")
    if len(made) == 1 or not all(made):
        raise Invalid("partition: name at least two groups with a host each, or none to end the partition")
    return replace(now, groups=made)


def impair(net: Topology, now: Faults, a: str, b: str | None, how: Impairment, *, one_way: bool = False) -> Faults:
    """Slow or lossy links, as `cut` names them, except pairs of hosts; replaces what they had. NotFound, Invalid."""
    if _pair(net, a, b):
        raise Invalid(f"impair {a} - {b}: there is no link between them; name a host and its switch, or one host")
    if how.rate is not None and how.rate < 1000:
        raise Invalid(f"impair: a rate of {how.rate} bit/s; at least 1000, or cut the link")
    if not 0 <= how.delay <= 60:
        raise Invalid(f"impair: a delay of {how.delay:g} s; 0 to 60")
    if not 0 <= how.loss <= 100:
        raise Invalid(f"impair: a loss of {how.loss:g} %; 0 to 100")
    chosen = dict.fromkeys(directions(net, a, b, one_way=one_way), how)
    return replace(now, impaired={**_without(now.impaired, chosen), **(chosen if how != Impairment() else {})})


def heal(net: Topology, now: Faults, a: str | None = None, b: str | None = None) -> Faults:
    """Nothing is wrong any more; with names, nothing with those links and pairs, while a partition stays. NotFound."""
    if a is None:
        return WHOLE
    if pair := _pair(net, a, b):
        return replace(now, apart=now.apart - {pair, pair[::-1]})
    links = set(directions(net, a, b))
    apart = now.apart if b else frozenset(pair for pair in now.apart if a not in pair)
    return replace(now, cuts=now.cuts - links, apart=apart, impaired=_without(now.impaired, links))


def directions(net: Topology, a: str, b: str | None = None, *, one_way: bool = False) -> Iterator[str]:
    """The sending interfaces of the links of `a`, or of those between `a` and `b`. NotFound, Invalid."""
    found = [(near, far) for near, far in _ends(net, a) if b in (None, far.node)]
    if not found:
        raise _missing(net, a, b)
    for near, far in found:
        yield near.interface
        if not one_way:
            yield far.interface


def _ends(net: Topology, node: str) -> Iterator[tuple[End, End]]:
    for link in net.links:
        if link.a.node == node:
            yield link.a, link.b
        elif link.b.node == node:
            yield link.b, link.a


def _pair(net: Topology, a: str, b: str | None) -> tuple[str, str] | None:
    """Two different hosts."""
    hosts = {host.name for host in net.hosts}
    return (a, b) if b is not None and a != b and a in hosts and b in hosts else None


def _missing(net: Topology, a: str, b: str | None) -> Invalid | NotFound:
    nodes = {*net.switches, *(host.name for host in net.hosts)}
    for name in (a, b):
        if name is not None and name not in nodes:
            return _unknown(name, "host or switch")
    return Invalid(f"there is no link between {a} and {b}" if b else f"{a} has no link")


def _unknown(name: str, what: str) -> NotFound:
    return NotFound(f"the lab has no {what} {name}; see: hawser lab show")


def _without(impaired: Mapping[str, Impairment], these: Iterable[str]) -> dict[str, Impairment]:
    gone = set(these)
    return {interface: how for interface, how in impaired.items() if interface not in gone}


def lines(now: Faults) -> Sequence[tuple[str, str]]:
    """For people: where, and what is wrong there."""
    found = [(f"from {interface}", "cut") for interface in sorted(now.cuts)]
    found += [(f"{a} to {b}", "cut") for a, b in sorted(now.apart)]
    if now.groups:
        found.append((" | ".join(" ".join(group) for group in now.groups), "partition"))
    for interface, how in sorted(now.impaired.items()):
        words = [f"rate {how.rate} bit/s"] if how.rate is not None else []
        words += [f"delay {how.delay * 1000:g} ms"] if how.delay else []
        words += [f"loss {how.loss:g} %"] if how.loss else []
        found.append((f"from {interface}", ", ".join(words)))
    return found
