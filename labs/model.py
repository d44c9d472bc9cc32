"""Topologies: hosts, switches and the links between them, checked when they are made.

A topology is data. Hosts have one address each, on their first link, all in one subnet (`ipbase`); switches are
bridges without a spanning tree, so links between switches must not form a loop. Ports are numbered in the order of
the links as Mininet does: a host's from 0 (`h1-eth0`), a switch's from 1 (`s1-eth1`). Every problem of a topology is
reported at once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from .errors import Invalid

IFNAMSIZ = 16
BRIDGE_PORTS = 1023  # BR_MAX_PORTS, net/bridge/br_private.h
MAX_NODES = 20_000
DEFAULT_BASE = "10.0.0.0/8"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,14}")
LAB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An end system; `mac` belongs to its first interface."""

    name: str
    address: IPv4Interface
    mac: str


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: the node and its port number."""

    node: str
    port: int

    @property
    def interface(self) -> str:
        return f"{self.node}-eth{self.port}"


@dataclass(frozen=True, slots=True)
class Link:
    """A cable; at least one end is a switch's."""

    a: End
    b: End


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A checked network. Make one with `topology()` or a shape."""

    hosts: tuple[Host, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]


def topology(
    hosts: Iterable[str],
    switches: Iterable[str],
    links: Iterable[tuple[str, str]],
    *,
    ipbase: str = DEFAULT_BASE,
    mac: bool = False,
) -> Topology:
    """Number ports, give out addresses and MACs in natural order of the names; Invalid with every problem.

    `mac`: small readable MACs (00:00:00:00:00:01 for the first host), as Mininet's `--mac`.
    """
    names, bridges, pairs = sorted(hosts, key=natural), tuple(switches), tuple(links)
    check_size(len(names) + len(bridges))
    base = _base(ipbase)
    cables = tuple(_cables(names, pairs))
    problems = [*_names(names, bridges), *_links(set(names), set(bridges), cables)]
    space = base.num_addresses - 2
    if len(names) > space:
        problems.append(f"{len(names)} hosts do not fit into {base} ({max(space, 0)} addresses); take a larger ipbase")
    if problems:
        raise Invalid("topology: " + "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else ""))
    addresses = ((IPv4Interface((base.network_address + i, base.prefixlen)), i) for i in range(1, len(names) + 1))
    made = (Host(name=name, address=a, mac=_mac(i, mac)) for name, (a, i) in zip(names, addresses, strict=True))
    return Topology(hosts=tuple(made), switches=bridges, links=cables)


def check_size(nodes: int) -> None:
    """Refuse what no machine can hold before anything is built; Invalid."""
    if nodes > MAX_NODES:
        raise Invalid(f"topology: {nodes} hosts and switches; at most {MAX_NODES}, take a smaller shape")


def check_name(name: str) -> str:
    """A lab's name becomes a directory; Invalid."""
    if not LAB_NAME.fullmatch(name):
        raise Invalid(f"lab name {name!r}: take letters, digits, '.', '_', '-', at most 63, a letter or digit first")
    return name


def check_node(name: str) -> str:
    """A host's name becomes an interface's; Invalid."""
    if not NAME.fullmatch(name) or len(End(name, 0).interface) >= IFNAMSIZ:
        raise Invalid(f"name {name!r}: take letters, digits, '_' and '.', a letter first, at most {IFNAMSIZ - 6} bytes")
    return name


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which h2 comes before h10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


def _base(text: str) -> IPv4Network:
    try:
        return IPv4Network(text, strict=False)
    except ValueError as error:
        raise Invalid(f"ipbase {text!r}: {error}; write an IPv4 subnet such as {DEFAULT_BASE}") from None


def _mac(number: int, readable: bool) -> str:
    first = "00:00" if readable else "02:48"
    return ":".join([first, *(f"{number:08x}"[i : i + 2] for i in (0, 2, 4, 6))])


def _cables(hosts: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Iterator[Link]:
    ports = Counter(dict.fromkeys(hosts, -1))
    for a, b in pairs:
        ports[a] += 1
        first = End(a, ports[a])
        ports[b] += 1
        yield Link(first, End(b, ports[b]))


def _names(hosts: Sequence[str], switches: Sequence[str]) -> Iterator[str]:
    for name, count in Counter([*hosts, *switches]).items():
        if count > 1:
            yield f"the name {name} is used {count} times"
        if not NAME.fullmatch(name):
            yield f"name {name!r}: take letters, digits, '_' and '.', a letter first, at most 15 bytes"
    if not hosts and not switches:
        yield "it is empty"
    if "fabric" in hosts:
        yield "a host cannot be called fabric: the lab's bridges live there"


def _links(hosts: set[str], switches: set[str], links: Sequence[Link]) -> Iterator[str]:
    for link in links:
        for end in (link.a, link.b):
            if end.node not in hosts and end.node not in switches:
                yield f"link {link.a.node} - {link.b.node}: there is no {end.node}"
            elif len(end.interface) >= IFNAMSIZ:
                yield f"interface name {end.interface} is longer than the kernel's 15 bytes; shorten {end.node}"
        if link.a.node in hosts and link.b.node in hosts:
            yield f"link {link.a.node} - {link.b.node}: put a switch between two hosts"
    yield from _degrees(hosts, switches, links)
    yield from _loops(switches, links)


def _degrees(hosts: set[str], switches: set[str], links: Sequence[Link]) -> Iterator[str]:
    degree = Counter(end.node for link in links for end in (link.a, link.b))
    for host in sorted(hosts - set(degree), key=natural):
        yield f"host {host} has no link"
    for switch in sorted(switches, key=natural):
        if degree[switch] > BRIDGE_PORTS:
            yield f"switch {switch} has {degree[switch]} links; a bridge takes {BRIDGE_PORTS}"


def _loops(switches: set[str], links: Sequence[Link]) -> Iterator[str]:
    root = {switch: switch for switch in switches}

    def find(node: str) -> str:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for link in links:
        if link.a.node in root and link.b.node in root:
            a, b = find(link.a.node), find(link.b.node)
            if a == b:
                yield f"link {link.a.node} - {link.b.node} closes a loop, and these bridges run no spanning tree"
            root[a] = b
