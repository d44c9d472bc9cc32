"""The configuration protocol of wireguard-go, as text."""

from base64 import b64encode

import pytest

from hawser.netd.errors import NetError
from hawser.netd.wireguard.keys import public_of
from hawser.netd.wireguard.specs import PeerSpec
from hawser.netd.wireguard.state import Change, Write
from hawser.netd.wireguard.uapi import answer, error_of, request

pytestmark = pytest.mark.pure
HEX, OTHER = "01" * 32, "02" * 32
KEY, PEER = (b64encode(bytes.fromhex(text)).decode() for text in (HEX, OTHER))
SPEC = PeerSpec(public_key=PEER, endpoint="[2001:db8::1]:51820", allowed_ips=("fd68::1/128",))


def test_a_request_says_only_what_changes() -> None:
    assert request(Write()) == "set=1\n\n"
    assert request(Write(changes=(Change(public_key=PEER),))) == f"set=1\npublic_key={OTHER}\nremove=true\n\n"
    assert request(Write(private_key=KEY, listen_port=5, changes=(Change(public_key=PEER, spec=SPEC),))) == (
        f"set=1\nprivate_key={HEX}\nlisten_port=5\npublic_key={OTHER}\nendpoint=[2001:db8::1]:51820\n"
        "replace_allowed_ips=true\nallowed_ip=fd68::1/128\npersistent_keepalive_interval=25\n\n"
    )


def test_an_answer_is_a_state() -> None:
    state = answer(
        f"private_key={HEX}\nlisten_port=5\npublic_key={OTHER}\npreshared_key={'0' * 64}\nprotocol_version=1\n"
        "endpoint=[2001:db8::1]:51820\nlast_handshake_time_sec=7\nlast_handshake_time_nsec=500000000\ntx_bytes=3\n"
        "rx_bytes=4\npersistent_keepalive_interval=25\nallowed_ip=fd68::1/128\nerrno=0\n\n"
    )
    assert (state.public_key, state.listen_port) == (public_of(KEY), 5)
    found = state.peers[PEER]
    assert found.spec == SPEC
    assert (found.handshake, found.received, found.sent) == (7.5, 4, 3)


def test_an_interface_without_a_key_has_none() -> None:
    assert answer("listen_port=1\nerrno=0\n\n").public_key is None


@pytest.mark.parametrize("text", ["", "listen_port=1\n", "errno=-1\n\n", "garbage", "private_key=zz\nerrno=0\n\n"])
def test_another_answer_is_an_error(text: str) -> None:
    with pytest.raises(NetError, match="wireguard-go answers with"):
        answer(text)


def test_the_error_number_of_an_answer() -> None:
    assert (error_of("errno=0\n\n"), error_of("errno=-98\n\n")) == (0, 98)
    with pytest.raises(NetError, match="went away"):
        error_of("")
