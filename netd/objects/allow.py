"""The quick way to a policy: these may speak to those, on these ports. What must be written depends on the defaults.

Whom a policy selects gets only what policies allow. Written is the ingress of those spoken to; and the egress of those
who speak only where they could send nothing without it, on networks that deny by default, or where who is spoken to is
no port but an address of the outside.
"""

import hashlib
import re
from collections.abc import Sequence

from ..errors import Invalid
from ..model import Default, Direction, Network, Peer, Policy, Rule, Selector, Tenant
from ..parse import check_label
from .checks import World
from .policies import PEER
from .shape import Wrong

LONGEST = 63
EGRESS = "-egress"


def parse_peer(text: str) -> Peer:
    """`network=web`, `label=app=x`, both or several with commas between, or `cidr=10.0.0.0/8`. Invalid."""
    plain: dict[str, object] = {}
    networks: list[str] = []
    labels: dict[str, str] = {}
    for part in text.split(","):
        word, _, value = part.partition("=")
        if word == "network":
            networks.append(value)
        elif word == "label" and "=" in value:
            key, _, label = value.partition("=")
            labels[key] = label
        elif word == "cidr" and "cidr" not in plain:
            plain["cidr"] = value
        else:
            raise Invalid(f"{text!r}: give network=NAME, label=KEY=VALUE or cidr=SUBNET, commas between")
    plain |= {"networks": networks} if networks else {}
    plain |= {"labels": labels} if labels else {}
    try:
        return PEER.read(plain, "")
    except Wrong as error:
        raise Invalid(f"{text!r}: {error}") from None


def policies(world: World, tenant: str, target: Peer, sources: Sequence[Peer], rule: Rule, name: str) -> list[Policy]:
    """The policies that let `sources` (none: whoever) speak to `target`; `rule` says what. Invalid."""
    check_label(name, "name")
    if target.ports is not None:
        ingress = Rule(
            direction=Direction.INGRESS,
            peers=tuple(sources),
            proto=rule.proto,
            ports=rule.ports,
            icmp_types=rule.icmp_types,
        )
        found = [_policy(tenant, name, target.ports, ingress)]
        senders = [shut for peer in sources if peer.ports and (shut := _shut(world, tenant, peer.ports))]
    else:
        found = []
        senders = [peer.ports for peer in sources if peer.ports]
        if not senders:
            raise Invalid("to cidr=…: give the ports that may send there, --from network=NAME or label=KEY=VALUE")
    egress = Rule(
        direction=Direction.EGRESS, peers=(target,), proto=rule.proto, ports=rule.ports, icmp_types=rule.icmp_types
    )
    for index, selector in enumerate(senders):
        suffix = f"{EGRESS}{index + 1}" if len(senders) > 1 else EGRESS
        found.append(_policy(tenant, _shortened(name, suffix) if found else name, selector, egress))
    return found


def _policy(tenant: str, name: str, applies: Selector, rule: Rule) -> Policy:
    return Policy(tenant=tenant, name=name, applies=applies, directions=(rule.direction,), rules=(rule,))


def _shut(world: World, tenant: str, selector: Selector) -> Selector | None:
    """Those of a selector's ports that are on networks which deny by default."""
    record = world.things.get(f"tenant:{tenant}")
    default = record.default if isinstance(record, Tenant) else Default.ALLOW
    there = world.of(Network, tenant)
    named = [network for network in there if not selector.networks or network.name in selector.networks]
    shut = tuple(network.name for network in named if (network.default or default) is Default.DENY)
    return Selector(networks=shut, labels=selector.labels) if shut else None


def name_of(target: str, sources: Sequence[str], proto: str | None, ports: Sequence[str]) -> str:
    """A name made of what is allowed, the same for the same."""
    words = ["allow", target, *(["from", *sources] if sources else []), *([proto] if proto else []), *ports]
    return _shortened(
        "-".join(re.sub(r"[^a-z0-9]+", "-", re.sub(r"(network|label|cidr)=", "", w.lower())) for w in words)
    )


def _shortened(name: str, suffix: str = "") -> str:
    name = name.strip("-")
    if len(name) + len(suffix) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST - len(suffix) - len(digest) - 1].rstrip('-')}-{digest}"
    return name + suffix
