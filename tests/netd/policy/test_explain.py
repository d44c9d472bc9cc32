"""What `hawser policy explain` tells."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings

from hawser.netd.errors import Invalid, NotFound
from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Rule
from hawser.netd.policy.decide import decide
from hawser.netd.policy.explain import explain, find, words
from hawser.netd.policy.match import Packet

from .worlds import IN, OUT, app, network, packets, peer, policy, port, world, worlds

pytestmark = pytest.mark.pure


def test_the_rule_that_decides_is_named_and_what_was_considered_before() -> None:
    fabric = world(
        policy("a-shut", app("db"), directions=(IN,)),
        policy(
            "db",
            app("db"),
            Rule(direction=IN, peers=(peer(app("ops", "back")), peer("10.9.0.0/16", "10.9.1.0/24")), proto="tcp"),
            Rule(direction=IN, proto="udp"),
            Rule(direction=OUT),
            Rule(direction=IN, peers=(peer(app("web")),), proto="tcp", ports=((5432, 5432), (6000, 6010))),
        ),
        policy("z-never-asked", app("db"), Rule(direction=IN)),
    )
    assert explain(fabric, "web1", "db1:eth0", "tcp", 5432) == [
        "web1:eth0 (10.0.1.2, network front app=web) -> db1:eth0 (10.0.2.2, network back app=db): tcp 5432",
        "way: routed",
        "egress of web1:eth0: allowed; no policy selects it, network front allows by default",
        "ingress of db1:eth0: allowed; selected by a-shut, db, z-never-asked",
        "  policy a-shut: no ingress rule, it shuts the direction",
        (
            "  policy db rule 0 (ingress from ports on back with app=ops or 10.9.0.0/16 but 10.9.1.0/24, tcp): "
            "10.0.1.2 is none of its peers"
        ),
        "  policy db rule 1 (ingress from anybody, udp): another protocol, port or type",
        "  policy db rule 3 (ingress from ports with app=web, tcp port 5432,6000-6010): decides",
        (
            "ALLOWED: egress of web1:eth0: default, for no policy selects it and network front allows; "
            "ingress of db1:eth0: policy db rule 3"
        ),
    ]


def test_a_default_that_denies_is_named() -> None:
    told = explain(world(default=Default.DENY), "web1", "web2", "icmpv6", icmp_type=128)
    assert told[0].endswith(": icmpv6 type 128")
    assert told[1:] == [
        "way: on one network",
        "egress of web1:eth0: denied; no policy selects it, network front denies by default",
        "ingress of web2:eth0: denied; no policy selects it, network front denies by default",
        "DENIED: egress of web1:eth0: default, for network front denies and no policy selects it",
    ]


def test_where_there_is_no_way_nobody_is_asked() -> None:
    assert explain(world(), "web1", "safe1", "tcp", 80)[1:] == ["DENIED: no router joins networks front and lone"]


def test_outside_and_gateway_are_not_asked() -> None:
    told = explain(world(), "web1", "192.0.2.9", "tcp", 443)
    assert told[0].endswith("-> 192.0.2.9 (outside): tcp 443")
    assert "ingress of the target: not asked, it is no port's" in told
    told = explain(world(), ip_address("10.0.1.1"), "web1", "udp", 53)
    assert told[0].startswith("10.0.1.1 (gateway on network front) -> web1:eth0")
    assert "egress of the source: not asked, it is no port's" in told
    assert told[-1].startswith("ALLOWED: ")


def test_between_tenants_nothing_passes() -> None:
    fabric = world()
    fabric.networks["red/front"] = network("front", 1, "red")
    fabric.put_port(port("spy", "front", 9, "red"))
    assert explain(fabric, "spy", "web1", "tcp", 80)[-1] == "DENIED: nothing passes between tenants blue and red"
    assert explain(fabric, "10.0.1.2", "10.0.1.3", tenant="blue")[-1].startswith("ALLOWED")
    assert explain(fabric, "10.0.1.2", "10.0.1.3", tenant="red")[-1].startswith("DENIED: neither")
    with pytest.raises(NotFound, match="no port of tenant blue is 'spy'"):
        explain(fabric, "spy", "10.0.1.3", tenant="blue")
    with pytest.raises(Invalid, match="give the tenant"):
        explain(fabric, "10.0.1.2", "10.0.1.3")


def test_a_port_is_found_by_id_key_sandbox_or_a_beginning_of_one() -> None:
    fabric = world()
    second = replace(port("web10", "back", 9), ifname="eth1")
    fabric.put_port(second)
    fabric.put_port(replace(second, ifname="eth0", network="front"))
    web1, web2 = fabric.ports["m1/web1:eth0"], fabric.ports["m1/web2:eth0"]
    assert find(fabric, "web1:eth0") == find(fabric, "m1/web1:eth0") == find(fabric, "web1") == web1
    assert find(fabric, "web2") == find(fabric, "web2:eth0") == web2
    assert find(fabric, "web10:eth1") == find(fabric, "web:eth1") == second
    assert find(fabric, "s") == fabric.ports["m1/safe1:eth0"]
    with pytest.raises(Invalid, match=r"'web10' fits 2 ports, give one of them: web10:eth0, web10:eth1"):
        find(fabric, "web10")
    with pytest.raises(Invalid, match="'web' fits 4 ports"):
        find(fabric, "web")
    for name in ("", ":eth0", "nobody", "web1:eth7", "fd00::/64"):
        with pytest.raises(NotFound, match="no port is"):
            find(fabric, name)
    fabric.put_port(replace(web1, leaving=True))
    with pytest.raises(NotFound):
        find(fabric, "web1:eth0")


def test_versions_that_end_otherwise_are_both_told() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN, peers=(peer("10.0.1.0/24"),))))
    told = explain(fabric, "web1", "db1", "tcp", 80)
    ends = [line for line in told if line.startswith(("ALLOWED", "DENIED"))]
    assert [line.split(":")[0] + line[-10:] for line in ends] == ["ALLOWED (by IPv4)", "DENIED (by IPv6)"]


def test_no_version_in_common() -> None:
    with pytest.raises(Invalid, match="no version of IP in common"):
        explain(world(), "10.0.1.2", "fd00:1::3", tenant="blue")
    with pytest.raises(Invalid, match="in common for icmpv6"):
        explain(world(), "10.0.1.2", "web2", "icmpv6", icmp_type=128)


def test_a_rule_in_words() -> None:
    assert words(Rule(direction=OUT)) == "egress to anybody, any protocol"
    assert words(Rule(direction=IN, peers=(peer(app("a", "n", "m")),), proto="icmp", icmp_types=(8, 13))) == (
        "ingress from ports on n or m with app=a, icmp type 8,13"
    )


@settings(max_examples=100, deadline=None)
@given(worlds(), packets())
def test_the_end_is_the_decision(fabric: Fabric, sent: Packet) -> None:
    told = explain(fabric, str(sent.source), sent.target, sent.proto, sent.port, sent.icmp_type, tenant="blue")
    verdict = decide(fabric, "blue", sent)
    assert told[-1] == f"{'ALLOWED' if verdict.allowed else 'DENIED'}: {verdict.reason}"
    decisive = [line for line in told if line.endswith(": decides")]
    assert len(decisive) == sum(check.rule is not None for check in verdict.checks)
    assert not any("\n" in line for line in told)
