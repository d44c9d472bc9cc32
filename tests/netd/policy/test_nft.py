"""Text and elements: what depends on what, names, and that nftables takes them."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawser.netd import rules
from hawser.netd.drivers.nft import Nft
from hawser.netd.errors import Invalid
from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Rule, Selector
from hawser.netd.policy import nft

from .stage import TABLE, load
from .worlds import IN, LONGEST, OUT, app, network, peer, policy, port, world, worlds

DEFINED = re.compile(r"^set (\S+) \{", re.MULTILINE)


def names(fabric: Fabric, key: str) -> set[str]:
    return {name for name, _, _ in nft.elements(fabric, fabric.ports[key])}


def test_where_nothing_is_filtered_everything_is_accepted() -> None:
    text = nft.chains(world(), "blue")
    assert text.endswith("chain policies {\n  accept\n}\n")
    assert "drop" not in text
    assert names(world(), "m1/web1:eth0") == set()


def test_the_text_for_a_policy() -> None:
    rule = Rule(direction=IN, peers=(peer("10.0.0.0/9"), peer("10.128.0.0/9")), proto="tcp", ports=((90, 99), (80, 91)))
    lines = nft.chains(world(policy("p", app("db"), rule)), "blue").splitlines()
    chosen = nft.set_name(app("db"), 4)
    start = lines.index("chain policy_ingress4 {")
    assert lines[start + 1 : start + 4] == [
        (
            f"  ip daddr @{chosen} ip saddr {{ 10.0.0.0/8 }} tcp dport {{ 80-99 }} "
            'counter return comment "policy/p/ingress/0"'
        ),
        '  counter drop comment "policy/-/ingress/drop"',
        "}",
    ]
    assert lines[-6:] == [
        "  ip saddr @isolated_egress4 jump policy_egress4",
        "  ip6 saddr @isolated_egress6 jump policy_egress6",
        "  ip daddr @isolated_ingress4 jump policy_ingress4",
        "  ip6 daddr @isolated_ingress6 jump policy_ingress6",
        "  accept",
        "}",
    ]


def test_a_ports_sets() -> None:
    fabric = world(
        policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")), peer(app("web", "front"))))),
        policy("q", app("web", "back"), directions=(IN, OUT)),
        defaults={"front": Default.DENY},
    )
    both = {"isolated_egress4", "isolated_egress6", "isolated_ingress4", "isolated_ingress6"}
    web = {nft.set_name(selector, v) for selector in (app("web"), app("web", "front")) for v in (4, 6)}
    assert names(fabric, "m1/web1:eth0") == both | web
    assert names(fabric, "m1/db1:eth0") == {"isolated_ingress4", "isolated_ingress6"} | {
        nft.set_name(app("db"), v) for v in (4, 6)
    }
    assert names(fabric, "m1/safe1:eth0") == set()
    leaving = replace(fabric.ports["m1/web1:eth0"], leaving=True)
    assert list(nft.elements(fabric, leaving)) == []
    assert list(nft.elements(Fabric(), fabric.ports["m1/web1:eth0"])) == []


def test_equal_selectors_share_a_set_and_others_do_not() -> None:
    one = Selector(networks=("a", "b"), labels={"x": "1", "y": "2"})
    assert nft.set_name(one, 4) == nft.set_name(Selector(networks=("b", "a"), labels={"y": "2", "x": "1"}), 4)
    others = [Selector(), Selector(networks=("a", "b")), Selector(labels={"x": "1"}), Selector(networks=("x",))]
    assert len({nft.set_name(selector, v) for selector in (one, *others) for v in (4, 6)}) == 10


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_the_text_knows_no_port_and_elements_know_only_sets_it_defines(fabric: Fabric) -> None:
    text = nft.chains(fabric, "blue")
    sets = DEFINED.findall(text)
    assert len(sets) == len(set(sets))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{,30}", name) for name in sets)
    for found in fabric.ports.values():
        for name, element, value in nft.elements(fabric, found):
            assert name in sets
            assert rules.WORD.fullmatch(element)
            assert value is None
            assert name.endswith("6" if ":" in element else "4")
    shuffled = Fabric(networks=fabric.networks, tenants=fabric.tenants, routers=fabric.routers)
    shuffled.policies = dict(reversed(fabric.policies.items()))
    assert nft.chains(shuffled, "blue") == text


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_a_port_concerns_no_other_ports_elements(fabric: Fabric) -> None:
    key = "m1/web1:eth0"
    before = {other: list(nft.elements(fabric, found)) for other, found in fabric.ports.items() if other != key}
    fabric.put_port(replace(fabric.ports[key], labels={"app": "db", "tier": "x"}))
    fabric.put_port(port("web9", "front", 9))
    assert {other: list(nft.elements(fabric, fabric.ports[other])) for other in before} == before


def test_other_tenants_are_not_in_the_text() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN)))
    before = nft.chains(fabric, "blue")
    fabric.networks["red/n"] = network("n", 9, "red", default=Default.DENY)
    fabric.policies["red/secret"] = policy("secret", app("x"), Rule(direction=IN), tenant="red")
    assert nft.chains(fabric, "blue") == before
    assert "secret" in nft.chains(fabric, "red")


@pytest.mark.parametrize("name", ['p" drop', "p\nflush ruleset", "-", "P", ""])
def test_a_policy_nobody_checked_stops_at_the_last_guard(name: str) -> None:
    fabric = world(policy(name, app("db"), directions=(IN,)))
    with pytest.raises(Invalid, match="use 1-63 of"):
        nft.chains(fabric, "blue")
    fabric = world(policy("p", app("db"), Rule(direction=IN, proto="tcp } ; flush ruleset")))
    with pytest.raises(Invalid, match="none of those a rule can name"):
        nft.chains(fabric, "blue")


def test_counters_of_one_rule_are_added_up_and_foreign_ones_left_out() -> None:
    def rule(comment: str | None, packets: int) -> dict[str, Any]:
        own = {"comment": comment} if comment is not None else {}
        return {"rule": {**own, "expr": ["x", {"counter": {"packets": packets, "bytes": 10 * packets}}]}}

    listed: list[dict[str, Any]] = [
        {"metainfo": {}},
        {"rule": {"comment": "policy/a/egress/0", "expr": [{"accept": None}]}},
    ]
    listed += [rule("policy/a/egress/0", 1), rule("policy/a/egress/0", 2), rule("policy/-/ingress/drop", 4)]
    listed += [rule("policy/-/ingress/scattered", 8), rule("somebody else's", 16), rule(None, 32)]
    assert nft.observed_counters(listed) == {
        ("a", OUT, 0): (3, 30),
        (nft.NOBODY, IN, nft.DROP): (4, 40),
        (nft.NOBODY, IN, nft.SCATTERED): (8, 80),
    }


@pytest.mark.root
def test_nftables_takes_whatever_is_generated() -> None:
    driver = Nft()

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(worlds(), st.sampled_from(["m1/web1:eth0", "m1/db2:eth0"]))
    def check(fabric: Fabric, key: str) -> None:
        load(driver, fabric)
        for name, element, _ in nft.elements(fabric, fabric.ports[key]):
            driver.run(f"delete element inet {TABLE} {name} {{ {element} }}")

    try:
        check()
    finally:
        driver.run(f"table inet {TABLE}\ndelete table inet {TABLE}")
        driver.close()


@pytest.mark.root
def test_the_longest_names_and_the_most_rules_come_back_in_counters() -> None:
    driver = Nft()
    many = tuple(
        Rule(direction=d, peers=(peer(app(LONGEST, LONGEST)),), icmp_types=(n,)) for n in range(256) for d in (IN, OUT)
    )
    fabric = world(policy(LONGEST, Selector(networks=(LONGEST, "front")), *many))
    try:
        load(driver, fabric)
        found = nft.observed_counters(driver.table(TABLE) or [])
    finally:
        driver.run(f"table inet {TABLE}\ndelete table inet {TABLE}")
        driver.close()
    assert {place for place in found if place[0] == LONGEST} == {(LONGEST, many[n].direction, n) for n in range(512)}
    drops = {(nft.NOBODY, d, why) for d in (IN, OUT) for why in (nft.DROP, nft.SCATTERED)}
    assert {place for place in found if place[0] != LONGEST} == drops
