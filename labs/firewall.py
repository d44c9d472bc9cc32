"""Faults as an nftables table of the fabric's bridges. Pure text; it replaces the last one in one transaction.

A frame on its way through a bridge passes `forward` once for every port it leaves by, floods included. A link that is
cut, or loses a part, is a rule on a port. Who may not hear whom is decided by the port a frame came in by, not by its
addresses, since what runs on a host may have interfaces and addresses of its own: `enter` writes a number for the
sending host into the packet's mark, which the veth pairs between bridges carry on (the kernel clears it only between
namespaces, skb_scrub_packet), and `forward` drops at the last port, the receiver's.
"""

from collections.abc import Iterator, Mapping, Sequence

from .faults import Faults
from .model import End, Topology

TABLE = "lab"
PARTS = 1_000_000  # a loss is so many of these


def ruleset(net: Topology, now: Faults) -> str:
    """The transaction that makes these faults, and no others, true."""
    fresh = f"add table bridge {TABLE}\ndelete table bridge {TABLE}\n"
    rules = list(_lossy(net, now))
    numbers, chains = _classes(now.deaf())
    if not rules and not numbers:
        return fresh
    ports = _ports(net)
    enter = ", ".join(f'"{port}" : {number}' for host, number in numbers.items() for port in ports[host])
    if numbers:
        jumps = ", ".join(f"{number} : goto deaf{number}" for number in chains)
        rules.append(f"meta mark vmap {{ {jumps} }}")
    text = [f"table bridge {TABLE} {{"]
    for number, targets in chains.items():
        names = ", ".join(f'"{port}"' for target in targets for port in ports[target])
        text.append(f"chain deaf{number} {{ oifname {{ {names} }} drop; }}")
    if numbers:
        rule = f"meta mark set iifname map {{ {enter} }}"
        text.append(f"chain enter {{ type filter hook prerouting priority 0; {rule}; }}")
    text += ["chain forward {", "type filter hook forward priority 0;", *rules, "}", "}"]
    return fresh + "\n".join(text) + "\n"


def _lossy(net: Topology, now: Faults) -> Iterator[str]:
    for link in net.links:
        for sender, receiver in ((link.a, link.b), (link.b, link.a)):
            match = _match(net, sender, receiver)
            how = now.impaired.get(sender.interface)
            if sender.interface in now.cuts:
                yield f"{match} drop"
            elif how and how.loss:
                yield f"{match} numgen random mod {PARTS} < {round(how.loss / 100 * PARTS)} drop"


def _match(net: Topology, sender: End, receiver: End) -> str:
    """Frames of a direction, at a port of the fabric."""
    return f'oifname "{sender.interface}"' if sender.node in net.switches else f'iifname "{receiver.interface}"'


def _ports(net: Topology) -> dict[str, list[str]]:
    """By host, the switch ports it is on."""
    hosts = {host.name for host in net.hosts}
    found: dict[str, list[str]] = {}
    for link in net.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            if near.node in hosts:
                found.setdefault(near.node, []).append(far.interface)
    return found


def _classes(deaf: Mapping[str, frozenset[str]]) -> tuple[dict[str, int], dict[int, Sequence[str]]]:
    """Hosts with the same listeners missing share a number; the numbers' missing listeners."""
    known: dict[frozenset[str], int] = {}
    numbers = {host: known.setdefault(targets, len(known) + 1) for host, targets in deaf.items()}
    return numbers, {number: sorted(targets) for targets, number in known.items()}
