"""The shapes everybody knows, in Mininet's spelling: `single,3`, `linear,k=4,n=2`, `tree,depth=2,fanout=16`.

Names, their order and the order of the links are Mininet's (mininet/topo.py, topolib.py), so that scripts and habits
carry over: h1.., s1.., and h<j>s<i> in a linear lab with several hosts a switch.
"""

from collections.abc import Callable
from itertools import count

from .errors import Invalid
from .model import DEFAULT_BASE, Topology, check_size, topology

Pairs = list[tuple[str, str]]


def single(k: int = 2, *, ipbase: str = DEFAULT_BASE, mac: bool = False) -> Topology:
    """One switch with `k` hosts (≥ 1); Invalid."""
    _at_least("single", k=(k, 1))
    check_size(k + 1)
    hosts = [f"h{i}" for i in range(1, k + 1)]
    return topology(hosts, ["s1"], [(host, "s1") for host in hosts], ipbase=ipbase, mac=mac)


def linear(k: int = 2, n: int = 1, *, ipbase: str = DEFAULT_BASE, mac: bool = False) -> Topology:
    """`k` switches in a row with `n` hosts each (both ≥ 1); Invalid."""
    _at_least("linear", k=(k, 1), n=(n, 1))
    check_size(k + k * n)
    hosts: list[str] = []
    links: Pairs = []
    for i in range(1, k + 1):
        own = [f"h{i}" if n == 1 else f"h{j}s{i}" for j in range(1, n + 1)]
        hosts += own
        links += [(host, f"s{i}") for host in own]
        if i > 1:
            links.append((f"s{i}", f"s{i - 1}"))
    return topology(hosts, [f"s{i}" for i in range(1, k + 1)], links, ipbase=ipbase, mac=mac)


def tree(depth: int = 1, fanout: int = 2, *, ipbase: str = DEFAULT_BASE, mac: bool = False) -> Topology:
    """Switches `depth` deep, each with `fanout` children, the lowest with hosts: fanout^depth hosts; Invalid."""
    _at_least("tree", depth=(depth, 1), fanout=(fanout, 1))
    if depth > 64:
        raise Invalid(f"shape tree: depth is {depth}, at most 64")
    check_size(sum(fanout**level for level in range(depth + 1)))
    switch, host = count(1), count(1)
    hosts: list[str] = []
    switches: list[str] = []
    links: Pairs = []

    def add(level: int) -> str:
        if level == 0:
            hosts.append(f"h{next(host)}")
            return hosts[-1]
        node = f"s{next(switch)}"
        switches.append(node)
        links.extend((node, add(level - 1)) for _ in range(fanout))
        return node

    add(depth)
    return topology(hosts, switches, links, ipbase=ipbase, mac=mac)


def minimal(*, ipbase: str = DEFAULT_BASE, mac: bool = False) -> Topology:
    """One switch, two hosts."""
    return single(2, ipbase=ipbase, mac=mac)


SHAPES: dict[str, tuple[Callable[..., Topology], tuple[str, ...]]] = {
    "minimal": (minimal, ()),
    "single": (single, ("k",)),
    "linear": (linear, ("k", "n")),
    "tree": (tree, ("depth", "fanout")),
}


def parse(text: str, *, ipbase: str = DEFAULT_BASE, mac: bool = False) -> Topology:
    """A topology from Mininet's `--topo` argument; Invalid says what is wrong with it."""
    shape, *arguments = text.strip().split(",")
    if shape not in SHAPES:
        raise Invalid(
            f"topology {text!r}: no shape {shape!r}; there are {', '.join(SHAPES)}, e.g. tree,depth=2,fanout=4"
        )
    make, names = SHAPES[shape]
    values: dict[str, int] = {}
    for position, argument in enumerate(arguments):
        name, value = _argument(text, names, position, argument)
        if name in values:
            raise Invalid(f"topology {text!r}: {name} is given twice")
        values[name] = value
    return make(**values, ipbase=ipbase, mac=mac)


def _argument(text: str, names: tuple[str, ...], position: int, argument: str) -> tuple[str, int]:
    name, sep, value = argument.partition("=")
    takes = f"takes {', '.join(names)}" if names else "takes no arguments"
    if not sep:
        if position >= len(names):
            raise Invalid(f"topology {text!r}: too many arguments; it {takes}")
        name, value = names[position], argument
    if name not in names:
        raise Invalid(f"topology {text!r}: unknown argument {name!r}; it {takes}")
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Invalid(f"topology {text!r}: {name} is {value!r}; write a whole number")
    return name, int(value)


def _at_least(shape: str, **values: tuple[int, int]) -> None:
    for name, (value, least) in values.items():
        if value < least:
            raise Invalid(f"shape {shape}: {name} is {value}, at least {least}")
