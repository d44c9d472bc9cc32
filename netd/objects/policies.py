"""The written form of a policy, near to Kubernetes' NetworkPolicy: whom it applies to, and rules with peers.

A list that is there and empty is refused where leaving it out means "everything": an empty list is what is left when
somebody removed the last entry, and must not open what was shut.
"""

from collections.abc import Mapping
from typing import Any

from ..model import Direction, Peer, Policy, Rule, Selector
from .forms import DEFAULT_TENANT, NAME, TENANT, whole_form
from .shape import Field, Shape, Wrong, choice, items, record, whole
from .words import CIDR, LABELS, NETWORK, RANGE

PORTED = ("tcp", "udp", "sctp")
ICMP = ("icmp", "icmpv6")
SIDES = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
EMPTY = "an empty list names nobody; leave it out for everything, or give one"

SELECTOR: Shape[Selector] = record(
    lambda values: Selector(**values),
    {
        "networks": Field(items(NETWORK, least=1, hint=EMPTY), "on one of these; on any unless given"),
        "labels": Field(LABELS, "with all of these"),
    },
)


def _peer(values: Mapping[str, Any]) -> Peer:
    selecting = [name for name in ("network", "networks", "labels") if name in values]
    if "cidr" in values:
        if selecting:
            raise Wrong(f"{selecting[0]}: not beside cidr; make it a peer of its own")
        return _block(values)
    if "except" in values:
        raise Wrong("except: goes with cidr")
    if not selecting:
        raise Wrong("network: is missing; give network, labels or cidr")
    if "network" in values and "networks" in values:
        raise Wrong("networks: not beside network; give one of the two")
    networks = (values["network"],) if "network" in values else values.get("networks", ())
    return Peer(ports=Selector(networks=networks, labels=values.get("labels", {})))


def _block(values: Mapping[str, Any]) -> Peer:
    cidr, excluded = values["cidr"], values.get("except", ())
    problems = [
        f"except[{index}] {one}: is not within {cidr}"
        for index, one in enumerate(excluded)
        if one.version != cidr.version or not one.subnet_of(cidr)
    ]
    if problems:
        raise Wrong(*problems)
    return Peer(cidr=cidr, excluded=excluded)


PEER: Shape[Peer] = record(
    _peer,
    {
        "network": Field(NETWORK, "ports on this network of the tenant"),
        "networks": Field(items(NETWORK, least=1, hint=EMPTY), "ports on one of these"),
        "labels": Field(LABELS, "ports with all of these, on the networks named or on any"),
        "cidr": Field(CIDR, "addresses, whoever has them"),
        "except": Field(items(CIDR, least=1, hint=EMPTY), "but not these of cidr"),
    },
    minProperties=1,
    dependentRequired={"except": ["cidr"]},
    allOf=[
        {"not": {"required": [one, other]}}
        for one, other in (("cidr", "network"), ("cidr", "networks"), ("cidr", "labels"), ("network", "networks"))
    ],
)


def _rule(values: Mapping[str, Any]) -> Rule:
    sides = [direction for direction, side in SIDES.items() if side in values]
    direction = values.get("direction") or (sides[0] if sides else None)
    proto, problems = values.get("proto"), []
    if direction is None:
        problems.append("direction: is missing; give ingress or egress")
    problems += [
        f"{SIDES[side]}: a rule of {direction} has {SIDES[direction]}"
        for side in sides
        if direction and side != direction
    ]
    if "ports" in values and proto not in PORTED:
        problems.append(f"ports: proto {proto} has none; give proto {', '.join(PORTED[:-1])} or {PORTED[-1]}")
    if "icmp_types" in values and proto not in ICMP:
        problems.append(f"icmp_types: proto {proto} has none; give proto {' or '.join(ICMP)}")
    if problems or direction is None:
        raise Wrong(*problems)
    return Rule(
        direction=direction,
        peers=values.get(SIDES[direction], ()),
        proto=proto,
        ports=values.get("ports", ()),
        icmp_types=values.get("icmp_types", ()),
    )


def _needs_proto(field: str, protos: tuple[str, ...]) -> dict[str, Any]:
    then = {"required": ["proto"], "properties": {"proto": {"enum": list(protos)}}}
    return {"if": {"required": [field]}, "then": then}


def _needs_direction(side: str, direction: Direction) -> dict[str, Any]:
    return {"if": {"required": [side]}, "then": {"properties": {"direction": {"const": str(direction)}}}}


RULE: Shape[Rule] = record(
    _rule,
    {
        "direction": Field(choice(list(Direction), Direction), "as the port sees it; told by from or to unless given"),
        "from": Field(items(PEER, least=1, hint=EMPTY), "who may send; whoever unless given (ingress)"),
        "to": Field(items(PEER, least=1, hint=EMPTY), "who may be sent to; whoever unless given (egress)"),
        "proto": Field(choice([*PORTED, *ICMP], str), "whatever unless given"),
        "ports": Field(items(RANGE, least=1, hint=EMPTY), "destination ports or ranges like 8000-8100"),
        "icmp_types": Field(items(whole(0, 255), least=1, hint=EMPTY), "types of icmp or icmpv6"),
    },
    anyOf=[{"required": [name]} for name in ("direction", *SIDES.values())],
    allOf=[
        {"not": {"required": list(SIDES.values())}},
        *(_needs_direction(side, direction) for direction, side in SIDES.items()),
        _needs_proto("ports", PORTED),
        _needs_proto("icmp_types", ICMP),
    ],
)


def _policy(values: Mapping[str, Any]) -> Policy:
    rules: tuple[Rule, ...] = values.get("rules", ())
    used = {rule.direction for rule in rules}
    directions = values.get("directions") or tuple(one for one in Direction if one in used)
    if not directions:
        raise Wrong("directions: is missing; give ingress, egress or both: without rules they are shut")
    problems = [
        f"rules[{index}].direction {rule.direction}: is not among directions; add it there"
        for index, rule in enumerate(rules)
        if rule.direction not in directions
    ]
    if problems:
        raise Wrong(*problems)
    return Policy(**{"tenant": DEFAULT_TENANT, **values, "directions": directions})


POLICY_FORM: Shape[Policy] = record(
    _policy,
    {
        "tenant": TENANT,
        "name": NAME,
        "applies": Field(SELECTOR, "the ports that it is about; {} is every port of the tenant", needed=True),
        "directions": Field(
            items(choice(list(Direction), Direction), least=1),
            "where only what rules allow passes; the rules' unless given",
        ),
        "rules": Field(items(RULE), "what may pass, and the answers to it"),
    },
    anyOf=[{"required": ["directions"]}, {"required": ["rules"], "properties": {"rules": {"minItems": 1}}}],
)


def parse_policy(plain: object) -> Policy:
    """A policy from its form. Invalid."""
    return whole_form(POLICY_FORM, "policy", plain)


def encode_policy(policy: Policy) -> dict[str, Any]:
    """The form that `parse_policy` reads back."""
    return {
        "tenant": policy.tenant,
        "name": policy.name,
        "applies": _encode_selector(policy.applies),
        "directions": [str(direction) for direction in policy.directions],
        "rules": [_encode_rule(rule) for rule in policy.rules],
    }


def _encode_selector(selector: Selector) -> dict[str, Any]:
    networks = {"networks": list(selector.networks)} if selector.networks else {}
    return {**networks, **({"labels": dict(selector.labels)} if selector.labels else {})}


def _encode_rule(rule: Rule) -> dict[str, Any]:
    ports = [first if first == last else f"{first}-{last}" for first, last in rule.ports]
    return {
        "direction": str(rule.direction),
        **({SIDES[rule.direction]: [_encode_peer(peer) for peer in rule.peers]} if rule.peers else {}),
        **({"proto": rule.proto} if rule.proto else {}),
        **({"ports": ports} if ports else {}),
        **({"icmp_types": list(rule.icmp_types)} if rule.icmp_types else {}),
    }


def _encode_peer(peer: Peer) -> dict[str, Any]:
    if peer.ports is not None:
        return _encode_selector(peer.ports) or {"labels": {}}
    excluded = {"except": [str(one) for one in peer.excluded]} if peer.excluded else {}
    return {"cidr": str(peer.cidr), **excluded}
