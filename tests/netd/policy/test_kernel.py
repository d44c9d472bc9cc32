"""The kernel decides as `decide` does: real packets, bridged, routed and from outside, through the text of `nft`."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Direction, Rule, Selector
from hawser.netd.policy.decide import decide
from hawser.netd.policy.match import Packet

from .stage import Stage, link_local, passed, staged
from .worlds import IN, LONGEST, OUT, app, packet, packets, peer, policy, world, worlds

pytestmark = pytest.mark.root


@pytest.fixture
def stage(rundir: Path) -> Iterator[Stage]:
    with staged(rundir) as found:
        yield found


def agree(stage: Stage, fabric: Fabric, sent: Packet) -> bool:
    """The kernel's decision, which must be the model's, by the rules the model names."""
    verdict = decide(fabric, "blue", sent)
    before = stage.counters()
    assert stage.arrives(sent) == verdict.allowed, verdict
    after = stage.counters()
    for check in verdict.checks if verdict.allowed else ():
        place = check.policy, check.direction, check.rule
        assert check.rule is None or passed(after, *place) > passed(before, *place), check
    return verdict.allowed


WEB1, WEB2, DB1, DB2, WORLD = "10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.2.3", "192.0.2.2"
WEB16, WEB26, DB16, WORLD6 = "fd00:1::2", "fd00:1::3", "fd00:2::2", "2001:db8:1::2"
EVERYTHING = Selector()
WAYS = ((WEB1, WEB2), (WEB1, DB1), (WEB1, WORLD), (WORLD, DB1), (WEB16, WEB26), (WEB16, DB16), (WORLD6, WEB16))


def test_without_policies_everything_passes(stage: Stage) -> None:
    fabric = world()
    stage.load(fabric)
    for ends in WAYS:
        assert agree(stage, fabric, packet(*ends))


def test_a_default_of_deny_lets_nothing_pass(stage: Stage) -> None:
    fabric = world(default=Default.DENY)
    stage.load(fabric)
    for ends in WAYS:
        assert not agree(stage, fabric, packet(*ends))


DATABASE = [
    (packet(WEB1, DB1, "tcp", 5432), True),
    (packet(WEB16, DB16, "tcp", 5432), True),
    (packet(WEB1, DB1, "tcp", 5433), False),
    (packet(WEB1, DB1, "udp", 5432), False),
    (packet(DB2, DB1, "tcp", 5432), False),
    (packet(WORLD, DB1, "tcp", 5432), False),
    (packet(WORLD, DB1, "tcp", 9100), True),
    (packet(WORLD, DB1, "tcp", 7000), False),
    (packet(WORLD6, DB16, "tcp", 9100), False),
    (packet(WEB1, DB1, "icmp", icmp_type=8), True),
    (packet(WEB1, DB1, "icmp", icmp_type=13), False),
    (packet(WEB16, DB16, "icmpv6", icmp_type=128), False),
    (packet(DB1, WEB1, "tcp", 80), True),
    (packet(DB1, WEB1, "tcp", 81), False),
    (packet(DB1, WORLD, "tcp", 443), False),
    (packet(WEB1, WEB2, "99"), True),
    (packet(DB2, DB1, "99"), False),
]


def test_a_database(stage: Stage) -> None:
    fabric = world(
        policy(
            LONGEST,
            app("db"),
            Rule(direction=IN, peers=(peer(app("web", "front")),), proto="tcp", ports=((5432, 5432),)),
            Rule(direction=IN, proto="icmp", icmp_types=(8,)),
            Rule(direction=IN, peers=(peer("192.0.2.0/24", "192.0.2.0/30", "192.0.2.4/32"),), ports=((7000, 7000),)),
            Rule(direction=IN, peers=(peer("192.0.2.0/24", "192.0.2.128/25"),), ports=((9000, 9100), (9100, 9200))),
        ),
        policy("out", app("db"), Rule(direction=OUT, peers=(peer("10.0.0.0/8"),), ports=((80, 80),))),
    )
    stage.load(fabric)
    for sent, passes in DATABASE:
        assert agree(stage, fabric, sent) is passes


def test_what_is_no_single_ports_reaches_no_isolated_port(stage: Stage) -> None:
    web2 = world().ports["m1/web2:eth0"]
    old = [(packet(WEB1, target, "udp"), WEB2) for target in ("10.0.1.255", "255.255.255.255", "224.0.0.1")]
    new = [(packet(WEB16, target, "udp"), WEB26) for target in (link_local(web2), "ff02::1")]
    for fabric, passes in ((world(), True), (world(policy("shut", app("web"), directions=(IN,))), False)):
        stage.load(fabric)
        for sent, ear in (*old, *new):
            assert decide(fabric, "blue", sent).allowed is passes
            assert stage.arrives(sent, ip_address(ear)) is passes


def test_neighbours_find_each_other_whatever_is_shut(stage: Stage) -> None:
    """Without it no IPv6 packet would have come at all; a solicitation is sent by hand."""
    fabric = world(default=Default.DENY)
    stage.load(fabric)
    sent = packet(WEB16, WEB26, "icmpv6", icmp_type=135)
    assert decide(fabric, "blue", sent).allowed
    assert stage.arrives(sent)


def test_counters_name_policy_direction_and_rule(stage: Stage) -> None:
    rules = (
        Rule(direction=OUT, proto="udp"),
        Rule(direction=IN, peers=(peer(EVERYTHING), peer("10.0.0.0/8")), proto="tcp"),
    )
    fabric = world(policy("p", EVERYTHING, *rules), policy("q", app("db"), Rule(direction=OUT)))
    stage.load(fabric)
    assert stage.arrives(packet(DB1, WEB1, "tcp"))
    assert not stage.arrives(packet(WEB1, DB1, "tcp"))
    found = {place: packets for place, (packets, size) in stage.counters().items() if packets and size}
    assert found[("q", Direction.EGRESS, 0)] == 1
    assert found[("p", Direction.INGRESS, 1)] == 1
    assert found[("-", Direction.EGRESS, -1)] == 1


def test_kernel_and_model_agree_about_any_policies(stage: Stage) -> None:
    decisions: list[bool] = []

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(worlds(), st.lists(packets(), min_size=4, max_size=4))
    def check(fabric: Fabric, sent: list[Packet]) -> None:
        stage.load(fabric)
        decisions.extend(agree(stage, fabric, one) for one in sent)

    check()
    assert {True, False} <= set(decisions)
