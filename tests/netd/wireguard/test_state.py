"""What is changed of an interface: only what differs."""

from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from hawser.netd.wireguard.specs import PeerSpec, WireguardSpec
from hawser.netd.wireguard.state import PeerState, State, difference, stays

pytestmark = pytest.mark.pure


def key(number: int) -> str:
    return b64encode(bytes([number]) * 32).decode()


def peer(number: int) -> PeerSpec:
    return PeerSpec(public_key=key(number), endpoint="192.0.2.2:51820", allowed_ips=(f"fd68::{number}/128",))


SPEC = WireguardSpec(
    ifname="hww0",
    listen_port=51820,
    address=IPv6Address("fd68::9"),
    mtu=1440,
    public_key=key(9),
    peers=(peer(1), peer(2)),
)
STATE = State(
    public_key=key(9), listen_port=51820, peers={key(number): PeerState(spec=peer(number)) for number in (1, 2)}
)


def test_what_is_as_it_should_be_is_not_written() -> None:
    assert not difference(STATE, SPEC, "private")


def test_a_peer_that_differs_is_the_only_one_written() -> None:
    moved = replace(peer(2), endpoint="192.0.2.7:1")
    what = difference(STATE, replace(SPEC, peers=(peer(1), moved)), "private")
    assert [(change.public_key, change.spec) for change in what.changes] == [(key(2), moved)]
    assert what.private_key is None
    assert what.listen_port is None


def test_who_is_gone_is_removed_before_anybody_is_added() -> None:
    new = replace(peer(3), allowed_ips=peer(2).allowed_ips)
    what = difference(STATE, replace(SPEC, peers=(peer(1), new)), "private")
    assert [(change.public_key, change.spec) for change in what.changes] == [(key(2), None), (key(3), new)]


def test_a_new_private_key_sets_every_peer_anew() -> None:
    what = difference(STATE, replace(SPEC, public_key=key(8)), "private")
    assert what.private_key == "private"
    assert [change.spec for change in what.changes] == [None, None, peer(1), peer(2)]
    assert "private_key" not in repr(what)


def test_a_session_stays_with_both_keys() -> None:
    assert stays(STATE, SPEC, key(1))
    assert not stays(STATE, SPEC, key(3))
    assert not stays(STATE, replace(SPEC, public_key=key(8)), key(1))
    assert not stays(None, SPEC, key(1))
