"""Who may speak to whom: what the model's docstrings say, case by case."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings

from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Direction, Policy, Rule, Selector
from hawser.netd.policy.decide import Verdict, decide
from hawser.netd.policy.match import Packet

from .worlds import IN, OUT, app, network, packet, packets, peer, policy, port, world, worlds

pytestmark = pytest.mark.pure
WEB1, WEB2, DB1, SAFE1, WORLD = "10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.3.2", "192.0.2.2"
EVERYTHING = Selector()


def ask(fabric: Fabric, source: str, target: str, *args: object) -> Verdict:
    return decide(fabric, "blue", packet(source, target, *args))  # type: ignore[arg-type]


def passes(fabric: Fabric, source: str, target: str, *args: object) -> bool:
    return ask(fabric, source, target, *args).allowed


def test_ports_on_one_network_and_on_joined_ones_speak() -> None:
    assert not ask(world(), WEB1, WEB2).routed
    assert ask(world(), WEB1, DB1).routed
    assert passes(world(), WEB1, WEB2)
    assert passes(world(), WEB1, DB1)
    assert ask(world(), "fd00:1::2", "fd00:2::2").routed


def test_networks_that_no_router_joins_do_not() -> None:
    verdict = ask(world(), WEB1, SAFE1)
    assert not verdict.allowed
    assert verdict.reason == "no router joins networks front and lone"
    assert (verdict.policy, verdict.rule, verdict.direction, verdict.checks) == (None, None, None, ())


def test_joining_goes_through_a_router_and_not_on_to_the_next() -> None:
    fabric = world()
    fabric.routers["blue/s"] = replace(fabric.routers["blue/r"], name="s", networks=("back", "lone"))
    assert passes(fabric, DB1, SAFE1)
    assert not passes(fabric, WEB1, SAFE1)


def test_another_tenants_port_is_nobody_here() -> None:
    fabric = world()
    fabric.networks["red/front"] = network("front", 1, "red")
    fabric.put_port(port("spy", "front", 9, "red", labels={"app": "web"}))
    assert "spy" not in str(ask(fabric, "10.0.1.9", WEB1))
    fabric.policies["blue/p"] = policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")),)))
    assert not passes(fabric, "10.0.1.9", DB1)
    assert not decide(fabric, "red", packet(WEB1, DB1)).allowed


def test_an_internal_network_has_no_way_out_and_none_in() -> None:
    for ends in ((SAFE1, WORLD), (WORLD, SAFE1)):
        assert ask(world(), *ends).reason == "network lone is internal: it has no way out and none in"
    assert passes(world(), WEB1, WORLD)
    assert passes(world(), WORLD, WEB1)


def test_a_gateway_is_reached_from_its_own_and_joined_networks_also_from_an_internal_one() -> None:
    assert passes(world(), SAFE1, "10.0.3.1")
    assert passes(world(), WEB1, "10.0.2.1")
    assert not passes(world(), WEB1, "10.0.3.1")
    assert not passes(world(policy("p", EVERYTHING, directions=(OUT,))), WEB1, "10.0.1.1")


def test_versions_of_ip_do_not_meet_and_two_strangers_are_not_ours() -> None:
    assert ask(world(), WEB1, "fd00:1::3").reason == "10.0.1.2 and fd00:1::3 are of different versions of IP"
    assert not passes(world(), WORLD, "192.0.2.9")


@pytest.mark.parametrize("default", Default)
@pytest.mark.parametrize("own", [None, *Default])
def test_a_networks_default_goes_before_its_tenants(default: Default, own: Default | None) -> None:
    fabric = world(default=default, defaults={"front": own} if own else {})
    assert passes(fabric, WEB1, WEB2) is ((own or default) is Default.ALLOW)
    assert passes(fabric, WEB1, WORLD) is ((own or default) is Default.ALLOW)


def test_both_sides_must_allow_where_everything_is_denied_by_default() -> None:
    out, into = (policy(str(d), EVERYTHING, Rule(direction=d, proto="tcp")) for d in (OUT, IN))
    assert not passes(world(out, default=Default.DENY), WEB1, DB1)
    assert not passes(world(into, default=Default.DENY), WEB1, DB1)
    verdict = ask(world(out, into, default=Default.DENY), WEB1, DB1)
    assert verdict.allowed
    assert [(c.direction, c.policy, c.rule) for c in verdict.checks] == [(OUT, "egress", 0), (IN, "ingress", 0)]


def test_a_selected_port_gets_only_what_a_rule_allows_and_others_everything() -> None:
    fabric = world(
        policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")),), ports=((80, 90),), proto="tcp"))
    )
    assert passes(fabric, WEB1, DB1, "tcp", 85)
    for other in (("tcp", 91), ("udp", 85), ("icmp", None, 8)):
        assert not passes(fabric, WEB1, DB1, *other)
    assert not passes(fabric, "10.0.2.3", DB1, "tcp", 85)
    assert passes(fabric, DB1, WEB1, "udp", 1)
    assert passes(fabric, WEB1, WEB2, "udp", 1)


def test_a_direction_without_rules_is_shut_and_one_that_is_not_named_is_left_alone() -> None:
    rules = Rule(direction=OUT), Rule(direction=IN)
    fabric = world(policy("p", app("db"), directions=(IN,)), policy("q", app("db"), *rules, directions=(OUT,)))
    verdict = ask(fabric, WEB1, DB1)
    assert (verdict.allowed, verdict.policy, verdict.rule, verdict.direction) == (False, "p", None, IN)
    assert verdict.reason == "ingress of db1:eth0: selected by policy p, no rule of which allows it"
    assert passes(fabric, DB1, WEB1)


def test_policies_add_up_and_the_first_by_name_that_allows_is_named() -> None:
    one = policy("one", EVERYTHING, Rule(direction=IN, proto="udp"), Rule(direction=IN, proto="tcp"))
    shut, also = policy("a", EVERYTHING, directions=(IN,)), policy("two", EVERYTHING, Rule(direction=IN))
    verdict = ask(world(also, one, shut), WEB1, DB1)
    assert (verdict.allowed, verdict.policy, verdict.rule, verdict.direction) == (True, "one", 1, IN)
    assert ask(world(also, one, shut), WEB1, DB1, "icmp", None, 8).policy == "two"
    assert verdict.checks[-1].selected == ("a", "one", "two")


def test_selectors_ask_for_a_network_and_all_labels() -> None:
    def named(selector: Selector) -> list[str]:
        fabric = world(policy("p", selector, directions=(IN,)))
        fabric.put_port(port("web9", "back", 9, labels={"app": "web", "tier": "x"}))
        return [one.sandbox for one in fabric.ports.values() if ask(fabric, str(one.addresses[0].ip), WORLD).checks and
                ask(fabric, "10.0.2.1", str(one.addresses[0].ip)).policy == "p"]  # fmt: skip

    assert named(EVERYTHING) == ["web1", "web2", "db1", "db2", "web9"]
    assert named(app("web")) == ["web1", "web2", "web9"]
    assert named(app("web", "front")) == ["web1", "web2"]
    assert named(app("web", "front", "back")) == ["web1", "web2", "web9"]
    assert named(Selector(labels={"app": "web", "tier": "x"})) == ["web9"]
    assert named(Selector(labels={"tier": "y"})) == []


def test_a_cidr_speaks_of_whoever_has_the_address_and_not_of_what_is_excluded() -> None:
    fabric = world(
        policy("p", app("db"), Rule(direction=IN, peers=(peer("10.0.0.0/16", "10.0.1.3/32"), peer("2001:db8::/32"))))
    )
    assert passes(fabric, WEB1, DB1)
    assert not passes(fabric, WEB2, DB1)
    assert not passes(fabric, WORLD, DB1)
    assert passes(fabric, "2001:db8:1::2", "fd00:2::2")
    assert not passes(fabric, "fd00:1::2", "fd00:2::2")


def test_peers_by_selector_are_ports_and_never_the_outside() -> None:
    fabric = world(policy("p", EVERYTHING, Rule(direction=IN, peers=(peer(EVERYTHING),))))
    assert passes(fabric, WEB1, DB1)
    assert not passes(fabric, WORLD, DB1)
    assert passes(world(policy("p", EVERYTHING, Rule(direction=IN))), WORLD, DB1)


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (Rule(direction=IN), {"tcp", "udp", "icmp", "icmpv6", "99"}),
        (Rule(direction=IN, ports=((80, 80),)), {"tcp", "udp"}),
        (Rule(direction=IN, ports=((81, 65535), (0, 79))), set()),
        (Rule(direction=IN, proto="icmp"), {"icmp"}),
        (Rule(direction=IN, proto="icmpv6"), {"icmpv6"}),
        (Rule(direction=IN, icmp_types=(8, 128)), {"icmp", "icmpv6"}),
        (Rule(direction=IN, icmp_types=(13,)), set()),
        (Rule(direction=IN, proto="icmp", ports=((0, 65535),)), set()),
        (Rule(direction=IN, proto="tcp", icmp_types=(8,)), set()),
    ],
)
def test_protocols_ports_and_types(rule: Rule, allowed: set[str]) -> None:
    fabric = world(policy("p", app("db"), rule))
    found = {proto for proto in ("tcp", "udp", "99") if passes(fabric, WEB1, DB1, proto, 80)}
    found |= {"icmp"} if passes(fabric, WEB1, DB1, "icmp", None, 8) else set()
    found |= {"icmpv6"} if passes(fabric, "fd00:1::2", "fd00:2::2", "icmpv6", None, 128) else set()
    assert found == allowed


def test_icmp_of_the_other_version_is_not_meant() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN, proto="icmp"), Rule(direction=IN, icmp_types=(8,))))
    assert not passes(fabric, "fd00:1::2", "fd00:2::2", "icmp", None, 8)


def test_a_leaving_port_is_nobody() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")),))))
    assert passes(fabric, WEB1, DB1)
    fabric.put_port(replace(fabric.ports["m1/web1:eth0"], leaving=True))
    assert not passes(fabric, WEB1, DB1)
    fabric.put_port(replace(fabric.ports["m1/db1:eth0"], leaving=True))
    assert ask(fabric, WEB1, DB1).reason == "neither 10.0.1.2 nor 10.0.2.2 is a port's of tenant blue"


@pytest.mark.parametrize("target", ["10.0.1.255", "255.255.255.255", "224.0.0.251", "ff02::1", "fe80::1"])
def test_an_address_that_is_no_single_ports_passes_only_where_nothing_is_filtered(target: str) -> None:
    source = "fd00:1::2" if ":" in target else WEB1
    assert passes(world(), source, target)
    for fabric in (world(policy("p", app("db"), directions=(IN,))), world(defaults={"front": Default.DENY})):
        assert not passes(fabric, source, target)
        if target == "fe80::1":
            assert not passes(fabric, target, source)
    assert passes(world(policy("p", app("db", "back"), directions=(IN,))), source, target)


def test_neighbour_discovery_is_not_policys_business_but_what_is_routed_is_no_discovery() -> None:
    fabric = world(default=Default.DENY)
    for target in ("fd00:1::3", "ff02::1:ff00:3", "fd00:1::1"):
        assert passes(fabric, "fd00:1::2", target, "icmpv6", None, 135)
    assert not passes(fabric, "fd00:1::2", "fd00:2::2", "icmpv6", None, 135)
    assert not passes(fabric, "fd00:1::2", "fd00:1::3", "icmpv6", None, 134)


@settings(max_examples=200, deadline=None)
@given(worlds(), packets())
def test_a_verdict_names_what_decided(fabric: Fabric, sent: Packet) -> None:
    verdict = decide(fabric, "blue", sent)
    assert "\n" not in verdict.reason
    assert verdict.allowed == all(check.allowed for check in verdict.checks)
    for check in verdict.checks:
        assert check.reason in verdict.reason or not verdict.allowed
        if check.rule is not None:
            found = fabric.policies[f"blue/{check.policy}"]
            assert found.rules[check.rule].direction is check.direction
            assert check.policy in check.selected


@settings(max_examples=200, deadline=None)
@given(worlds(), packets())
def test_one_more_rule_never_takes_anything_away(fabric: Fabric, sent: Packet) -> None:
    before = decide(fabric, "blue", sent).allowed
    for key, found in list(fabric.policies.items()):
        more = tuple(Rule(direction=direction) for direction in Direction)
        fabric.policies[key] = Policy(
            tenant="blue", name=found.name, applies=found.applies, directions=found.directions, rules=found.rules + more
        )
    assert decide(fabric, "blue", sent).allowed >= before


def test_another_tenants_policies_and_ports_change_nothing() -> None:
    fabric = world()
    fabric.policies["red/p"] = policy("p", EVERYTHING, directions=(IN, OUT), tenant="red")
    assert passes(fabric, WEB1, DB1)
    assert ip_address(WEB1) in {address.ip for address in fabric.ports["m1/web1:eth0"].addresses}
