"""Shapes are Mininet's, and every one is a tree of the promised size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.labs.errors import Invalid
from hawser.labs.model import Topology
from hawser.labs.shapes import linear, minimal, parse, single, tree

small = st.integers(min_value=1, max_value=4)


def connected(lab: Topology) -> bool:
    neighbours: dict[str, set[str]] = {node: set() for node in [*lab.switches, *(host.name for host in lab.hosts)]}
    for link in lab.links:
        neighbours[link.a.node].add(link.b.node)
        neighbours[link.b.node].add(link.a.node)
    seen, todo = set(), [next(iter(neighbours))]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += neighbours[node]
    return len(seen) == len(neighbours)


def is_tree(lab: Topology) -> bool:
    return connected(lab) and len(lab.links) == len(lab.hosts) + len(lab.switches) - 1


@settings(max_examples=40)
@given(depth=st.integers(1, 3), fanout=small)
def test_tree_has_fanout_to_the_depth_hosts(depth: int, fanout: int) -> None:
    lab = tree(depth, fanout)
    assert len(lab.hosts) == fanout**depth
    assert len(lab.switches) == sum(fanout**level for level in range(depth))
    assert is_tree(lab)


@settings(max_examples=40)
@given(k=small, n=small)
def test_linear_has_n_hosts_at_each_of_k_switches(k: int, n: int) -> None:
    lab = linear(k, n)
    assert (len(lab.switches), len(lab.hosts)) == (k, k * n)
    assert is_tree(lab)


@given(k=st.integers(1, 300))
@settings(max_examples=30)
def test_single_has_unique_macs_addresses_and_interfaces(k: int) -> None:
    lab = single(k)
    assert is_tree(lab)
    assert len({host.mac for host in lab.hosts}) == k
    assert len({host.address.ip for host in lab.hosts}) == k
    assert len({end.interface for link in lab.links for end in (link.a, link.b)}) == 2 * k


def test_names_ports_and_addresses_are_mininets() -> None:
    lab = tree(2, 2)
    ends = [(link.a.interface, link.b.interface) for link in lab.links]
    assert ends == [
        ("s2-eth1", "h1-eth0"),
        ("s2-eth2", "h2-eth0"),
        ("s1-eth1", "s2-eth3"),
        ("s3-eth1", "h3-eth0"),
        ("s3-eth2", "h4-eth0"),
        ("s1-eth2", "s3-eth3"),
    ]
    assert [str(host.address) for host in lab.hosts] == [f"10.0.0.{i}/8" for i in range(1, 5)]
    assert [host.name for host in linear(2, 2).hosts] == ["h1s1", "h1s2", "h2s1", "h2s2"]
    assert single(1, mac=True).hosts[0].mac == "00:00:00:00:00:01"
    assert str(single(3, ipbase="192.168.7.0/29").hosts[2].address) == "192.168.7.3/29"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("minimal", minimal()),
        ("single", single(2)),
        ("single,3", single(3)),
        ("linear,4", linear(4)),
        ("linear,k=4,n=2", linear(4, 2)),
        ("linear,4,n=2", linear(4, 2)),
        ("tree,2,3", tree(2, 3)),
        ("tree,depth=2,fanout=3", tree(2, 3)),
        ("tree,fanout=3", tree(1, 3)),
    ],
)
def test_mininets_spelling(text: str, same: Topology) -> None:
    assert parse(text) == same


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ring,3", "no shape 'ring'"),
        ("", "no shape ''"),
        ("single,x", "write a whole number"),
        ("single,-1", "write a whole number"),
        ("single,0", "at least 1"),
        ("single,1,2", "too many arguments"),
        ("single,n=2", "unknown argument 'n'"),
        ("linear,2,k=3", "k is given twice"),
        ("minimal,2", "takes no arguments"),
        ("tree,depth=9,fanout=9", "at most 20000"),
        ("tree,depth=99,fanout=1", "at most 64"),
        ("single,1024", "a bridge takes 1023"),
    ],
)
def test_a_bad_shape_says_why_in_one_line(text: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.kind == "usage"
