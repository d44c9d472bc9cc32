"""From machines' records to interfaces."""

from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv6Network, ip_address

import pytest

from hawser.netd.errors import Invalid
from hawser.netd.model import Endpoint
from hawser.netd.wireguard.specs import (
    alias_of,
    announce,
    announced,
    compile_peers,
    ifname_of,
    inner_address,
    mtu_inside,
    peers_of,
)

pytestmark = pytest.mark.pure


def key(number: int) -> str:
    return b64encode(bytes([number]) * 32).decode()


def record(machine: str, number: int, address: str = "192.0.2.1", port: int = 51820) -> Endpoint:
    return announce(machine, ip_address(address), 1500, f"{key(number)},{key(number + 1)}", port)


OWN = record("a", 1)


def test_an_inner_address_follows_from_the_machines_name() -> None:
    assert inner_address("a") == inner_address("a") != inner_address("b")
    assert all(inner_address(f"m{one}") in IPv6Network("fd68:6177:7267::/64") for one in range(100))


@pytest.mark.parametrize(
    ("mtu", "version", "inside"), [(1500, 4, 1440), (1500, 6, 1420), (9000, 4, 8940), (1340, 4, 1280)]
)
def test_the_headers_of_the_underlay_are_left_out(mtu: int, version: int, inside: int) -> None:
    assert mtu_inside(mtu, version) == inside


@pytest.mark.parametrize(("mtu", "version"), [(1339, 4), (1359, 6), (68, 4)])
def test_an_underlay_too_small_for_ipv6_is_refused(mtu: int, version: int) -> None:
    with pytest.raises(Invalid, match="too small for WireGuard"):
        mtu_inside(mtu, version)


def test_each_slot_has_its_key_port_and_name() -> None:
    peers = peers_of(OWN, [OWN, record("b", 3, "192.0.2.2", 60000)])
    first, second = (compile_peers(OWN, peers, "i", slot) for slot in (0, 1))
    assert (first.listen_port, second.listen_port) == (51820, 51821)
    assert (first.public_key, second.public_key) == (key(1), key(2))
    assert first.address == second.address == inner_address("a")
    assert [peer.endpoint for peer in (*first.peers, *second.peers)] == ["192.0.2.2:60000", "192.0.2.2:60001"]
    assert [peer.public_key for peer in (*first.peers, *second.peers)] == [key(3), key(4)]
    assert first.peers[0].allowed_ips == (f"{inner_address('b')}/128",)
    assert len({ifname_of("i", 0), ifname_of("i", 1), ifname_of("j", 0)}) == 3
    assert alias_of("i", 0) == "hawser:i:wireguard:0"
    assert len(ifname_of("i", 0)) <= 15


def test_an_ipv6_endpoint_has_brackets() -> None:
    own, other = record("a", 1, "2001:db8::1"), record("b", 3, "2001:db8::2")
    assert compile_peers(own, peers_of(own, [other]), "i", 0).peers[0].endpoint == "[2001:db8::2]:51820"


def test_who_has_no_key_is_no_peer_and_no_problem() -> None:
    plain = Endpoint(machine="b", address=ip_address("192.0.2.2"), mtu=1500)
    assert peers_of(OWN, [plain]) == peers_of(OWN, [])


def test_a_machine_speaks_only_from_its_own_inner_address() -> None:
    liar = replace(record("b", 3), inner=inner_address("c"))
    assert compile_peers(OWN, peers_of(OWN, [liar]), "i", 0).peers[0].allowed_ips == (f"{inner_address('b')}/128",)


def test_a_machine_with_one_key_is_a_peer_in_slot_0_only() -> None:
    other = replace(record("b", 3), public_key=key(3))
    peers = peers_of(OWN, [other])
    assert [len(compile_peers(OWN, peers, "i", slot).peers) for slot in (0, 1)] == [1, 0]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(record("b", 3), public_key=""), "not a WireGuard key"),
        (replace(record("b", 3), public_key="x,y"), "not a WireGuard key"),
        (replace(record("b", 3), public_key=f"{key(3)},{key(3)}"), "two keys that differ"),
        (replace(record("b", 3), public_key=f"{key(3)},{key(4)},{key(5)}"), "two keys that differ"),
        (replace(record("b", 3), wireguard_port=0), "port 0"),
        (replace(record("b", 3), wireguard_port=65535), "port 65535"),
        (replace(record("b", 3), address=ip_address("2001:db8::1")), "not of IPv4"),
        (record("b", 1), "machine a has the same key"),
        (record("b", 2), "machine a has the same key"),
    ],
)
def test_a_bad_record_costs_its_own_machine_only(bad: Endpoint, words: str) -> None:
    peers = peers_of(OWN, [bad, record("c", 9)])
    assert list(peers.records) == ["c"]
    assert len(peers.problems) == 1
    assert words in peers.problems[0]
    assert "machine b" in peers.problems[0]


def test_a_key_belongs_to_the_first_by_name_in_any_order() -> None:
    some = [record("c", 5), record("b", 5)]
    assert peers_of(OWN, some) == peers_of(OWN, some[::-1])
    assert list(peers_of(OWN, some).records) == ["b"]


@pytest.mark.parametrize("port", [0, -1, 65535, 70000])
def test_a_port_without_one_after_it_is_refused(port: int) -> None:
    with pytest.raises(Invalid, match="WireGuard port"):
        record("a", 1, port=port)


def test_what_is_announced_is_heard() -> None:
    assert announced(OWN) == (key(1), key(2))
