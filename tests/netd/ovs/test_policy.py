"""Rules as conjunctions: ranges of ports, prefixes with holes, numbers and identities."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from hawser.netd.model import Peer, Rule, Selector
from hawser.netd.ovs.pipeline import flows_of_policies
from hawser.netd.ovs.policy import port_masks
from hawser.netd.ovs.rules import TenantPolicies, identity_number
from hawser.netd.ovs.tables import Table
from tests.netd.policy.worlds import IN, OUT, app, peer, policy

from .stage import ZONES, fabric, numbers

PORTS = st.integers(0, 65535)


@given(st.lists(st.tuples(PORTS, PORTS).map(sorted).map(tuple), max_size=4), PORTS)
def test_masks_match_just_the_ports_of_the_ranges(ranges: list[tuple[int, int]], port: int) -> None:
    masks = [each if isinstance(each, tuple) else (each, 0xFFFF) for each in port_masks(ranges)]
    found = [mask for mask in masks if mask[0] is None or port & mask[1] == mask[0]]
    assert len(found) == any(first <= port <= last for first, last in ranges)


def test_few_masks_are_enough() -> None:
    assert port_masks([(0, 65535)]) == [None]
    assert port_masks([(1, 65535)]) == [1, *((1 << bit, 0xFFFF & -(1 << bit)) for bit in range(1, 16))]
    assert port_masks([(80, 90), (91, 91), (85, 88)]) == [(80, 0xFFF8), (88, 0xFFFC)]
    assert port_masks([(9, 8)]) == []


def _egress(rule: Rule) -> dict[str, str]:
    made = fabric(policy("p", app("web"), rule))
    flows = flows_of_policies(made, "m1", numbers(made, "m1"), ZONES, "blue")
    return {flow.match: flow.actions for flow in flows if flow.table == Table.EGRESS}


def test_a_cidr_loses_its_exceptions_and_no_peer_is_one_part_less() -> None:
    rule = Rule(direction=OUT, peers=(peer("10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/10"),), proto="tcp")
    found = _egress(rule)
    assert "ip,reg5=0x7,nw_dst=10.192.0.0/10" in found
    assert sum("nw_dst" in said for said in found) == 1
    assert found["tcp,reg5=0x7"].endswith(",3/3)")
    found = _egress(Rule(direction=OUT, ports=((53, 53),)))
    assert {said for said in found if "tp_dst" in said} == {
        f"{proto},reg5=0x7,tp_dst=53" for proto in ("tcp", "tcp6", "udp", "udp6", "sctp", "sctp6")
    }
    assert _egress(Rule(direction=OUT))["reg5=0x7"].endswith(",2/2)")


def test_a_rule_that_speaks_of_nothing_has_no_flows() -> None:
    assert _egress(Rule(direction=OUT, proto="icmp", ports=((80, 80),))) == {}
    assert not any("nw_dst" in said for said in _egress(Rule(direction=OUT, peers=(peer("10.0.0.0/9", "10.0.0.0/8"),))))


def test_other_policies_do_not_renumber_a_rule_and_numbers_are_never_shared() -> None:
    many = [policy(f"p{n}", app("web"), *[Rule(direction=IN)] * 9) for n in range(150)]
    all_of_them = TenantPolicies.of(fabric(*many), "blue").rules
    assert len({rule.number for rule in all_of_them}) == len(all_of_them) == 1350
    half = {rule.key: rule.number for rule in TenantPolicies.of(fabric(*many[::2]), "blue").rules}
    moved = [rule for rule in all_of_them if rule.key in half and half[rule.key] != rule.number]
    assert len(moved) < 20


def test_an_identity_is_what_selectors_say_of_a_port_and_nothing_else() -> None:
    made = fabric(policy("p", app("web", "front"), Rule(direction=IN, peers=(Peer(ports=app("db")),))))
    policies, port = TenantPolicies.of(made, "blue"), made.ports["m1/blue-web1:eth0"]
    same = replace(port, labels={"app": "web", "pod": "web-7f9c"})
    assert policies.identity(port) == policies.identity(same) != ()
    assert policies.identity(replace(port, labels={})) == ()
    assert policies.identity(replace(port, network="back")) == ()
    assert len(policies.identity(replace(port, labels={"app": "db"}))) == 1
    assert identity_number("blue", policies.identity(port)) != identity_number("red", policies.identity(port))


def test_selectors_in_other_words_are_the_same() -> None:
    one, other = (
        Selector(networks=("a", "b"), labels={"x": "1", "y": "2"}),
        Selector(networks=("b", "a"), labels={"y": "2", "x": "1"}),
    )
    rule = Rule(direction=IN, peers=(Peer(ports=other), Peer(cidr=ip_network("10.0.0.0/8"))))
    assert len(TenantPolicies.of(fabric(policy("p", one, rule)), "blue").selectors) == 1
