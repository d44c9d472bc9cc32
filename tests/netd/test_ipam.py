"""Which address and which subnet come next."""

from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd import ipam, parse
from hawser.netd.errors import Conflict, Invalid, Unavailable
from hawser.netd.model import Address, Network


def network(*subnets: str, name: str = "n") -> Network:
    return parse.parse_network({"tenant": "t", "name": name, "subnets": list(subnets)})


SMALL = network("10.0.0.0/28", "fd00::/124")


@given(st.sets(st.integers(0, 15)), st.none() | st.integers(0, 15), st.sampled_from([0, 1]))
@settings(max_examples=100)
def test_candidates_are_exactly_the_free_ones_beginning_after_the_last(
    taken: set[int], last: int | None, which: int
) -> None:
    subnet = SMALL.subnets[which]
    held = {subnet.network_address + n for n in taken}
    after = None if last is None else subnet.network_address + last
    found = list(ipam.candidates(SMALL, subnet, held, after))
    top = 14 if subnet.version == 4 else 15
    free = {subnet.network_address + n for n in range(1, top + 1)} - held - set(SMALL.gateways)
    assert set(found) == free
    assert len(found) == len(free)
    if last is not None and found and (above := [a for a in free if int(a) > int(subnet.network_address + last)]):
        assert found[0] == min(above)


def test_a_large_ipv6_subnet_is_not_walked_through() -> None:
    large = network("fd00::/64")
    taken: set[Address] = {large.subnets[0].network_address + n for n in range(2, 200)}
    assert next(ipam.candidates(large, large.subnets[0], taken, None)) == ip_address("fd00::c8")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("10.0.0.1", "gateway"), ("10.0.0.0", "reserved"), ("10.0.0.15", "reserved"), ("10.1.0.0", "is not in network")],
)
def test_a_fixed_address_that_can_never_be_given_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        ipam.check_fixed(SMALL, ip_address(text))
    assert problem in str(caught.value)


used = st.lists(st.tuples(st.integers(0, 2**22 - 1), st.integers(10, 32)), max_size=6)


@given(used)
@settings(max_examples=100)
def test_free_subnets_overlap_nothing_in_use(used: list[tuple[int, int]]) -> None:
    base = int(ip_address("10.64.0.0"))
    busy = [IPv4Network((base + offset, prefix), strict=False) for offset, prefix in used]
    four, six = ipam.free_subnets(busy)
    assert four.prefixlen == 24
    assert six.prefixlen == 64
    assert not any(four.overlaps(one) for one in busy)


def test_a_host_that_routes_all_of_one_pool_gets_the_next() -> None:
    assert str(ipam.free_subnets([ip_network("10.0.0.0/8")])[0]) == "172.16.0.0/24"
    everything = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    with pytest.raises(Unavailable, match="is in use; remove a network"):
        ipam.free_subnets(everything)
    assert len(ipam.free_subnets([], ipv6=False)) == 1


def test_overlap_is_refused_with_the_name_of_the_other() -> None:
    with pytest.raises(Conflict, match=r"overlaps network t/m"):
        ipam.check_subnets(SMALL, [network("10.0.0.0/24", name="m")])
    ipam.check_subnets(SMALL, [network("10.0.1.0/24", name="m")])
