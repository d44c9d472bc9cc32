"""What netd takes from outside, and the one line it says about what it does not take."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd import parse
from hawser.netd.errors import Invalid
from hawser.netd.model import Network, Publish, derived, interface, mac_of
from hawser.netd.model import Port as PortModel

labels = st.from_regex(parse.LABEL, fullmatch=True)


def network(**spec: Any) -> Network:
    return parse.parse_network({"tenant": "t", "name": "n", **spec})


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"colour": 1}, "unknown field 'colour'; known: default, encrypted"),
        ({"name": "a" * 64}, "name 'aaaa"),
        ({"name": "A"}, "1-63 of a-z"),
        ({"name": None}, "name None"),
        ({"tenant": "-a"}, "tenant '-a'"),
        ({"kind": "vlan"}, "kind 'vlan': known kinds: bridge"),
        ({"kind": ["bridge"]}, "known kinds"),
        ({"internal": "no"}, "internal 'no': give true or false"),
        ({"mtu": 100}, "mtu 100: give 576-65535"),
        ({"mtu": True}, "mtu True"),
        ({"mtu": "1500"}, "mtu '1500'"),
        ({"mtu": 1000}, "IPv6 needs 1280"),
        ({"subnets": [5]}, "subnet 5"),
        ({"subnets": ["10.0.0.1/24"]}, "has host bits set"),
        ({"subnets": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ({"subnets": ["10.0.0.0/31"]}, "no room"),
        ({"subnets": ["127.0.0.0/24"]}, "a meaning of its own"),
        ({"subnets": ["fe80::/64"]}, "a meaning of its own"),
        ({"subnets": ["224.0.0.0/24"]}, "a meaning of its own"),
        ({"subnets": ["0.0.0.0/0"]}, "a meaning of its own"),
        ({"subnets": ["10.0.0.0/8", "10.1.0.0/16"]}, "overlap; give at most one of each version"),
        ({"subnets": ["10.0.0.0/24", "10.0.1.0/24"]}, "are both IPv4"),
        ({"subnets": ["10.0.0.0/24"], "gateways": ["10.0.1.1"]}, "in none of the subnets"),
        ({"subnets": ["10.0.0.0/24"], "gateways": ["10.0.0.0"]}, "first or last"),
        ({"subnets": ["10.0.0.0/24"], "gateways": ["10.0.0.255"]}, "first or last"),
        ({"subnets": ["10.0.0.0/24"], "gateways": ["10.0.0.1", "10.0.0.2"]}, "give one"),
        ({"gateways": ["fe80::1%eth0"]}, "gateway 'fe80::1%eth0'"),
        ({"subnets": ["fd00::/64"], "gateways": ["fd00::1%x"]}, "give it as text"),
        ({"subnets": ["::ffff:10.0.0.0/112"]}, "a meaning of its own"),
    ],
)
def test_a_bad_network_is_refused_with_the_reason(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        network(**spec)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        parse.parse_network({"tenant": "T", "name": "", "mtu": 1, "x": 0, "subnets": ["no"]})
    for word in ("tenant", "name", "mtu", "'x'", "'no'"):
        assert word in str(caught.value)


def test_the_gateway_is_the_first_address_unless_given() -> None:
    assert [str(g) for g in network(subnets=["10.0.0.0/24", "fd00::/64"]).gateways] == ["10.0.0.1", "fd00::1"]
    assert [str(g) for g in network(subnets=["10.0.0.0/24"], gateways=["10.0.0.9"]).gateways] == ["10.0.0.9"]


@given(
    st.builds(
        dict,
        tenant=labels,
        name=labels,
        internal=st.booleans(),
        mtu=st.none() | st.integers(1280, 65535),
        subnets=st.sampled_from([[], ["10.1.0.0/16"], ["fd00::/64"], ["fd00::/64", "10.2.0.0/30"]]),
    )
)
@settings(max_examples=50)
def test_a_network_written_is_the_network_read(spec: dict[str, Any]) -> None:
    parsed = parse.parse_network(spec)
    assert parse.parse_network(parse.encode_network(parsed)) == parsed


publishes = st.builds(
    Publish,
    host_port=st.integers(1, 65535),
    port=st.integers(1, 65535),
    proto=st.sampled_from(["tcp", "udp"]),
    host_ip=st.sampled_from([None, ip_address("10.0.0.1"), ip_address("fd00::1")]),
)


@given(publishes)
@settings(max_examples=50)
def test_a_published_port_written_is_the_one_read(publish: Publish) -> None:
    assert parse.parse_publish(str(publish)) == publish


@given(st.lists(publishes, max_size=3), labels)
@settings(max_examples=50)
def test_a_port_written_is_the_port_read(publish: list[Publish], name: str) -> None:
    net = network(subnets=["10.1.0.0/16", "fd00::/64"])
    port = PortModel(
        machine="m",
        sandbox=name,
        ifname="eth0",
        tenant="t",
        network="n",
        netns="/run/x",
        mac=mac_of("i", name),
        addresses=tuple(interface(s.network_address + 9, s) for s in net.subnets),
        publish=tuple(publish),
    )
    assert parse.parse_port(parse.encode_port(port)) == port


@pytest.mark.parametrize("plain", [{}, {"sandbox": 1}, {"sandbox": "a", "ifname": "eth0"}])
def test_a_broken_port_record_is_invalid(plain: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        parse.parse_port(plain)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("80", "give [HOST_IP:]HOST_PORT:PORT"),
        ("0:80", "port 0 is not in 1-65535"),
        ("80:65536", "port 65536"),
        ("80:80/sctp", "use tcp or udp"),
        ("fd00::1:80:80", "give [HOST_IP:]"),
        ("300.0.0.1:80:80", "300.0.0.1"),
        ("-1:80", "give"),
        ("", "give"),
        ("[fe80::1%x]:80:80", "no scope id"),
        ("[::1%1]:8085:80", "no scope id"),
        ("[fe80::1%x }\nflush ruleset\n#]:80:80", "no scope id"),
        ("[fe80::1]:80:80", "leads to more than this host"),
        ("[ff02::1]:80:80", "leads to more than this host"),
        ("224.0.0.1:80:80", "leads to more than this host"),
    ],
)
def test_a_bad_published_port_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse.parse_publish(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0", "0:0::0"])
def test_every_address_of_the_host_may_be_written_out(host: str) -> None:
    every = parse.parse_publish("80:81/tcp")
    assert parse.parse_publish(f"[{host}]:80:81") == every
    assert parse.check_publish(Publish(host_port=80, port=81, host_ip=ip_address(host))) == every


def test_an_address_has_one_form() -> None:
    assert str(parse.parse_address("::ffff:10.0.0.5")) == "10.0.0.5"
    assert parse.parse_publish("[::ffff:127.0.0.1]:80:80") == parse.parse_publish("127.0.0.1:80:80")
    assert network(subnets=["10.0.0.0/24"], gateways=["::ffff:10.0.0.9"]).gateways == (ip_address("10.0.0.9"),)
    for text in ("fd00::2%x", "::ffff:10.0.0.5%1", "fd00::2%x }\nflush ruleset", 7, None):
        with pytest.raises(ValueError, match=r"no scope id|give it as text"):
            parse.parse_address(text)


def test_a_port_record_with_a_scope_id_is_invalid() -> None:
    plain = {
        "machine": "m",
        "sandbox": "a",
        "ifname": "eth0",
        "tenant": "t",
        "network": "n",
        "netns": "/run/x",
        "mac": "02:00:00:00:00:01",
        "addresses": ["fd00::2%x/64"],
        "publish": [],
    }
    with pytest.raises(Invalid, match="without a scope id"):
        parse.parse_port(plain)


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", "..", "lo", "a:b", "ä" * 8, "a%d"])
def test_an_interface_name_the_kernel_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        parse.check_ifname(name)


@given(labels, labels)
@settings(max_examples=50)
def test_kernel_names_fit_and_differ(one: str, other: str) -> None:
    names = {derived("hwb", "i", one), derived("hwb", "i", other)}
    assert all(len(name.encode()) == 15 for name in names)
    assert len(names) == (1 if one == other else 2)
    assert int(mac_of("i", one)[:2], 16) & 3 == 2, "locally administered, unicast"
