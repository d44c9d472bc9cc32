"""Links of containers, as Docker's `--link NAME[:ALIAS]` has them ("Legacy container links" in its documentation).

A link tells a container of another one: entries in /etc/hosts, which follow when the other's addresses change, and
environment variables, which do not. It opens nothing: whether a packet passes is for networks, routers and policies to
say. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hawser.netd.model import OWN_LABELS, Address, Interface, Publish

from ..faults import Fault
from .model import check_name

LINKS, EXPOSED = f"{OWN_LABELS}links", f"{OWN_LABELS}exposed"
LEFT_OUT = ("HOME", "PATH")
EXPOSE = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")
PORT_MAX = 65535
Port = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another container by its name, and what it is called in the one that is linked to it."""

    name: str
    alias: str

    def __str__(self) -> str:
        return f"{self.name}:{self.alias}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a link leads to: addresses, IPv4 first; ports (number, protocol); the environment it was given."""

    addresses: tuple[Address, ...]
    ports: tuple[Port, ...]
    env: Mapping[str, str]


def parse_link(text: str) -> Link:
    """`NAME[:ALIAS]`. Fault (usage)."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias):
        raise Fault(f"link {text!r}: write NAME or NAME:ALIAS", "usage")
    return Link(name=check_name(name), alias=check_name(alias or name))


def parse_links(texts: Iterable[str]) -> tuple[Link, ...]:
    """Links, each alias once. Fault (usage)."""
    links = tuple(map(parse_link, texts))
    aliases = [link.alias for link in links]
    if twice := sorted({alias for alias in aliases if aliases.count(alias) > 1}):
        raise Fault(f"two links are called {twice[0]}; give one another alias: NAME:ALIAS", "usage")
    return links


def parse_exposed(texts: Iterable[str]) -> tuple[Port, ...]:
    """`PORT[/tcp|udp]`, sorted. Fault (usage)."""
    found = set[Port]()
    for text in texts:
        match = EXPOSE.fullmatch(text)
        if not match or not 1 <= int(match[1]) <= PORT_MAX:
            raise Fault(f"port {text!r}: write 1-{PORT_MAX}, with /udp where it is not tcp", "usage")
        found.add((int(match[1]), match[2] or "tcp"))
    return tuple(sorted(found))


def labels(links: Sequence[Link], exposed: Sequence[Port]) -> dict[str, str]:
    """The labels by which a container's links and ports are known later."""
    found = {LINKS: " ".join(map(str, links)), EXPOSED: " ".join(f"{port}/{proto}" for port, proto in exposed)}
    return {name: text for name, text in found.items() if text}


def links_of(labels: Mapping[str, str]) -> tuple[Link, ...]:
    """The links of a container."""
    return tuple(map(parse_link, labels.get(LINKS, "").split()))


def ports_of(labels: Mapping[str, str], published: Iterable[Publish]) -> tuple[Port, ...]:
    """The ports of a container that others may know of: exposed and published ones."""
    exposed = parse_exposed(labels.get(EXPOSED, "").split())
    return tuple(sorted({*exposed, *((one.port, one.proto) for one in published)}))


def ordered(addresses: Iterable[Interface]) -> tuple[Address, ...]:
    """Addresses without prefix lengths, IPv4 first."""
    return tuple(sorted((one.ip for one in addresses), key=lambda ip: (ip.version, int(ip))))


def environment(link: Link, target: Target, own: str) -> dict[str, str]:
    """The variables of a link in the container called `own`."""
    prefix = re.sub(r"[^A-Z0-9]", "_", link.alias.upper())
    found = {f"{prefix}_NAME": f"/{own}/{link.alias}"}
    host = target.addresses[0]
    shown = f"[{host}]" if host.version == 6 else str(host)
    for port, proto in target.ports:
        url, key = f"{proto}://{shown}:{port}", f"{prefix}_PORT_{port}_{proto.upper()}"
        found.setdefault(f"{prefix}_PORT", url)
        found |= {key: url, f"{key}_ADDR": str(host), f"{key}_PORT": str(port), f"{key}_PROTO": proto}
    return found | {f"{prefix}_ENV_{name}": text for name, text in target.env.items() if name not in LEFT_OUT}


def entries(link: Link, addresses: Iterable[Address]) -> str:
    """The lines of /etc/hosts (hosts(5)) for a link."""
    names = "\t".join(_names(link))
    return "".join(f"{address}\t{names}\n" for address in addresses)


def follow(hosts: str, found: Mapping[Link, Sequence[Address]]) -> str:
    """A hosts file whose entries of these links say where they lead now; everything else stays."""
    gone = {tuple(_names(link)) for link in found}
    kept = [line for line in hosts.splitlines(keepends=True) if tuple(line.split()[1:]) not in gone]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return "".join((*kept, *(entries(link, addresses) for link, addresses in found.items())))


def _names(link: Link) -> list[str]:
    return list(dict.fromkeys((link.alias, link.name)))
