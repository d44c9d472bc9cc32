"""What a port sends, as nftables netdev text, and read back from what the kernel has: DSCP, copies, and last the limit.

Two chains a port, named by a hash of its key: `port_…` has no hook and one rule, whose comment says which port and
which host end they are for (libnftables' JSON names no device); `egress_…` hooks into the ingress of the host end,
where what the port sends comes out. The table's name is the ownership mark. Every change is one transaction. What a
port gets is limited and copied by traffic control (`drivers`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from ..errors import NetError
from ..model import Direction
from . import rates
from .specs import MirrorSpec, QosSpec

CLASSES = {f"cs{number}": number * 8 for number in range(8)}
ASSURED = {f"af{number}{drop}": number * 8 + drop * 2 for number in range(1, 5) for drop in range(1, 4)}
DSCP = {**CLASSES, **ASSURED, "df": 0, "be": 0, "lephb": 1, "va": 44, "ef": 46}
UNITS = {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}
HALF = -100  # no DSCP, nor the complement of one
# what reads as a rule of somebody else's
STRANGE = MirrorSpec(direction=Direction.EGRESS, to="?")


def table(instance: str) -> str:
    """The table's name."""
    return f"hawser_{instance}"


def create(instance: str, key: str, spec: QosSpec, shaper: str | None) -> str:
    """Commands that bring a port's chains to the spec, whatever they were. `shaper` is the device through which
    what the port sends is to go; None: what is over the rate is dropped."""
    name, lines = table(instance), [f"add table netdev {table(instance)}"]
    lines += [f"add chain netdev {name} {_chain('port', key)}", f"flush chain netdev {name} {_chain('port', key)}"]
    lines.append(f'add rule netdev {name} {_chain("port", key)} return comment "{_comment(key, spec.ifname)}"')
    chain, rules = _chain("egress", key), list(_rules(spec, shaper))
    if rules:
        hook = f'type filter hook ingress device "{_device(spec.ifname)}" priority 0;'
        lines += [f"add chain netdev {name} {chain} {{ {hook} }}", f"flush chain netdev {name} {chain}"]
        lines += [f"add rule netdev {name} {chain} {rule}" for rule in rules]
    else:
        lines += _drop(name, chain)
    return "\n".join([*lines, ""])


def delete(instance: str, key: str) -> str:
    """Commands that remove a port's chains, whether they are there or not."""
    name, lines = table(instance), [f"add table netdev {table(instance)}"]
    for part in ("port", "egress"):
        lines += _drop(name, _chain(part, key))
    return "\n".join([*lines, ""])


def observed(objects: Iterable[dict[str, Any]], tenant: str, shapers: Mapping[str, int | None]) -> dict[str, QosSpec]:
    """Specs by key from a table in libnftables-json(5) form, without what concerns what ports get.

    `shapers` are the devices through which ports' frames may go, with the rate each has; another device, or a rule
    that nobody here wrote, gives a spec that is never wanted.
    """
    chains: dict[str, list[dict[str, Any]]] = {}
    for rule in (entry["rule"] for entry in objects if "rule" in entry):
        chains.setdefault(rule["chain"], []).append(rule)
    found: dict[str, QosSpec] = {}
    for chain, rules in chains.items():
        key, _, ifname = rules[0].get("comment", "").partition(" ")
        key = f"qos:{unquote(key)}"
        if not ifname or chain != _chain("port", key):
            continue
        spec = QosSpec(tenant=tenant, ifname=ifname)
        for rule in chains.get(_chain("egress", key), ()):
            spec = _read(spec, rule["expr"], shapers)
        found[key] = replace(spec, mirrors=tuple(sorted(set(spec.mirrors), key=lambda one: (one.direction, one.to))))
    return found


def _rules(spec: QosSpec, shaper: str | None) -> Iterator[str]:
    if spec.dscp is not None:
        yield f"ip dscp set {spec.dscp}"
        yield f"ip6 dscp set {spec.dscp}"
    for mirror in spec.mirrors:
        if mirror.direction is Direction.EGRESS:
            yield f'dup to "{_device(mirror.to)}"'
    if spec.egress is not None:
        burst = rates.police_burst(spec.egress)
        over = f"limit rate over {spec.egress // 8} bytes/second burst {burst} bytes drop"
        yield f'fwd to "{_device(shaper)}"' if shaper else over


def _read(spec: QosSpec, rule: Iterable[Any], shapers: Mapping[str, int | None]) -> QosSpec:
    """A spec with what one more rule says."""
    parts = [(kind, value) for expression in rule for kind, value in expression.items() if not _implied(expression)]
    match parts:
        case [("mangle", {"key": {"payload": {"protocol": str(protocol), "field": "dscp"}}, "value": value})]:
            return replace(spec, dscp=_marked(spec.dscp, protocol, value))
        case [("dup", {"addr": to})]:
            return replace(spec, mirrors=(*spec.mirrors, MirrorSpec(direction=Direction.EGRESS, to=str(to))))
        case [("fwd", {"dev": device})]:
            return replace(spec, egress=shapers.get(str(device)) or 0)
        case [("limit", dict(limit)), ("drop", _)]:
            return replace(spec, egress=_policed(limit))
    return replace(spec, mirrors=(*spec.mirrors, STRANGE))


def _implied(expression: Mapping[str, Any]) -> bool:
    """Whether nft shows what a rule about IPv4 or IPv6 means by itself."""
    left = expression.get("match", {}).get("left", {}) if "match" in expression else {}
    return left == {"meta": {"key": "protocol"}}


def _marked(before: int | None, protocol: str, value: int | str) -> int:
    """The DSCP after one more rule: IPv4's comes first, as the complement, and IPv6's makes it whole."""
    number = value if isinstance(value, int) else DSCP.get(value, HALF)
    if protocol == "ip":
        return ~number
    return number if before == ~number else HALF


def _policed(limit: Mapping[str, Any]) -> int:
    """The rate of a policer in bit/s; 0 when it is none that `create` writes."""
    rate = int(limit["rate"]) * UNITS.get(limit.get("rate_unit", ""), 0) * 8
    burst = int(limit.get("burst", 0)) * UNITS.get(limit.get("burst_unit", ""), 0)
    known = limit.get("per") == "second" and limit.get("inv") and burst == rates.police_burst(rate)
    return rate if known else 0


def _drop(name: str, chain: str) -> list[str]:
    return [f"add chain netdev {name} {chain}", f"delete chain netdev {name} {chain}"]


def _chain(part: str, key: str) -> str:
    return f"{part}_{hashlib.sha256(key.encode()).hexdigest()[:20]}"


def _comment(key: str, ifname: str) -> str:
    """At most 127 bytes: a sandbox has 63, an interface 15."""
    return f"{quote(key.removeprefix('qos:'), safe=':')} {_device(ifname)}"


def _device(ifname: str) -> str:
    """The last guard before a name becomes a command to the kernel; host ends have names that are derived."""
    if not ifname.replace("-", "").replace("_", "").replace(".", "").isalnum() or not ifname.isascii():
        raise NetError(f"interface {ifname!r}: rules can only name letters, digits and -_. ; not done")
    return ifname
