"""The written forms: what is read, what is refused and in which words, and that what is written is read back."""

from typing import Any

import pytest
from hypothesis import given, settings

from hawser.netd.errors import Invalid
from hawser.netd.model import Direction, Peer, Policy, Reservation, Selector
from hawser.netd.objects import forms, policies
from hawser.netd.objects.kinds import KINDS, Object, encode_document, kind_of, parse_document

from . import documents
from .stage import things


@settings(max_examples=200, deadline=None)
@given(things)
def test_what_is_written_is_read_back(thing: Object) -> None:
    assert parse_document(encode_document(thing)) == thing
    assert KINDS[kind_of(thing).word].form.read(kind_of(thing).encode(thing), "") == thing


@pytest.mark.parametrize("plain", documents.GOOD, ids=str)
def test_a_good_document_is_read(plain: dict[str, Any]) -> None:
    thing = parse_document(plain)
    assert parse_document(encode_document(thing)) == thing


@pytest.mark.parametrize(("plain", "problem"), [*documents.BAD, *documents.PARSER_ONLY], ids=str)
def test_a_bad_document_is_refused_with_path_and_reason(plain: Any, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_document(plain)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    plain = documents.ingress({"cidr": "x"}, {"network": "B"}, proto="gre", ports=[0, 70000])
    with pytest.raises(Invalid) as caught:
        parse_document({**plain, "name": "-", "colour": 1, "directions": [1]})
    for path in (
        *("colour", "name '-'", "directions[0]", "rules[0].from[0].cidr", "rules[0].from[1].network"),
        *("rules[0].proto", "rules[0].ports[0]", "rules[0].ports[1]"),
    ):
        assert path in str(caught.value)


def test_a_long_value_is_told_shortly() -> None:
    with pytest.raises(Invalid) as caught:
        parse_document({"kind": "tenant", "name": "x" * 10_000})
    assert len(str(caught.value)) < 200


def test_a_deep_value_is_told_too() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Invalid, match="name of too many levels: use 1-63"):
        parse_document({"kind": "tenant", "name": deep})


def test_the_tenant_is_default_unless_given() -> None:
    assert forms.parse_router({"name": "r", "networks": ["a"]}).tenant == "default"


def test_rates_have_units() -> None:
    limits = forms.parse_reservation({"name": "p", "network": "n", "qos": {"ingress": "10kbit", "egress": "1gbit"}}).qos
    assert (limits.ingress, limits.egress, limits.dscp) == (10_000, 1_000_000_000, None)


def test_a_reservation_may_leave_mac_and_addresses_open() -> None:
    wish = forms.parse_reservation({"name": "p", "network": "n", "addresses": ["10.0.0.5"]})
    assert isinstance(wish, Reservation)
    assert (wish.mac, [str(address) for address in wish.addresses]) == ("", ["10.0.0.5/32"])


def test_a_policy_has_the_directions_of_its_rules_unless_given() -> None:
    rules = [{"to": [{"network": "a"}]}, {"from": [{"labels": {}}]}]
    policy: Policy = policies.parse_policy({"name": "p", "applies": {}, "rules": rules})
    assert policy.directions == (Direction.INGRESS, Direction.EGRESS)
    assert policy.rules[0].peers == (Peer(ports=Selector(networks=("a",))),)
    assert policy.rules[1].peers == (Peer(ports=Selector()),)
