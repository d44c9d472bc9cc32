"""What a port asks for becomes a spec, or nothing; what makes no sense is refused."""

from ipaddress import ip_interface

import pytest

from hawser.netd.errors import Invalid, NetError
from hawser.netd.model import Direction, Port, Qos
from hawser.netd.qos import rates, rules
from hawser.netd.qos.specs import MirrorSpec, QosSpec, check_rings, compile_port, qos_key

TO_H2 = MirrorSpec(direction=Direction.INGRESS, to="h2")


def port(qos: Qos) -> Port:
    return Port(
        machine="m1",
        sandbox="c1",
        ifname="eth0",
        tenant="blue",
        network="web",
        netns="/run/c1",
        mac="02:00:00:00:00:01",
        addresses=(ip_interface("10.0.0.2/24"),),
        qos=qos,
    )


def test_a_port_without_wishes_needs_nothing() -> None:
    assert compile_port("h1", port(Qos())) is None
    assert qos_key(port(Qos())) == "qos:c1:eth0"


def test_rates_are_whole_bytes() -> None:
    assert compile_port("h1", port(Qos(ingress=10_000_007, egress=5, dscp=0))) == QosSpec(
        tenant="blue", ifname="h1", ingress=10_000_000, egress=8000, dscp=0
    )


def test_mirrors_are_sorted_and_said_once() -> None:
    egress = MirrorSpec(direction=Direction.EGRESS, to="h3")
    spec = compile_port("h1", port(Qos()), [TO_H2, egress, TO_H2])
    assert spec is not None
    assert spec.mirrors == (egress, TO_H2)


def test_a_port_is_not_mirrored_to_itself() -> None:
    with pytest.raises(Invalid, match="port c1:eth0 is mirrored to itself"):
        compile_port("h2", port(Qos()), [TO_H2])


def test_a_dscp_has_six_bits() -> None:
    with pytest.raises(Invalid, match="dscp 64: give 0-63"):
        compile_port("h1", port(Qos(dscp=64)))


def _mirrored(ifname: str, *to: str, direction: Direction = Direction.INGRESS) -> QosSpec:
    mirrors = tuple(MirrorSpec(direction=direction, to=name) for name in to)
    return QosSpec(tenant="blue", ifname=ifname, mirrors=mirrors)


def test_copies_do_not_go_round() -> None:
    ring = {"qos:a:eth0": _mirrored("h1", "h2"), "qos:b:eth0": _mirrored("h2", "h3", "h1")}
    with pytest.raises(Invalid, match="mirrors of port a:eth0 lead back to it"):
        check_rings(ring)
    check_rings({"qos:a:eth0": _mirrored("h1", "h2"), "qos:b:eth0": _mirrored("h2", "h3")})
    back = _mirrored("h2", "h1", direction=Direction.EGRESS)
    check_rings({"qos:a:eth0": _mirrored("h1", "h2"), "qos:b:eth0": back})


@pytest.mark.parametrize("name", ['h1"; flush ruleset; "', "h 1", "h1\n", "", "hé"])
def test_a_name_never_becomes_a_command(name: str) -> None:
    with pytest.raises(NetError, match="not done"):
        rules.create("i", "qos:a:eth0", QosSpec(tenant="blue", ifname=name, dscp=1), None)
    with pytest.raises(NetError, match="not done"):
        rules.create("i", "qos:a:eth0", _mirrored("h1", name, direction=Direction.EGRESS), None)


def test_the_key_of_any_port_comes_back_from_its_comment() -> None:
    key = f'qos:{"s" * 63}:x"; drop #é'
    text = rules.create("i", key, QosSpec(tenant="blue", ifname="hwp0123456789ab"), None)
    comment = text.split('comment "')[1].split('"')[0]
    assert len(comment) < 128
    chain = text.split("add chain netdev hawser_i ")[1].split()[0]
    entry = {"rule": {"chain": chain, "comment": comment, "expr": [{"return": None}]}}
    assert rules.observed([entry], "blue", {}) == {key: QosSpec(tenant="blue", ifname="hwp0123456789ab")}


def test_a_bucket_lets_a_jumbo_frame_pass_at_any_rate() -> None:
    assert rates.bucket(8000) == rates.Bucket(speed=1000, burst=10_000, limit=40_000)
    assert rates.bucket(10**8) == rates.Bucket(speed=12_500_000, burst=125_000, limit=1_375_000)
    assert rates.bucket(10**12).speed == 125 * 10**9
    assert rates.police_burst(8000) == 131_072
