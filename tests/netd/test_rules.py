"""The words that go to nftables: what they are made of, and what is read back."""

from ipaddress import IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd import host_rules, rules
from hawser.netd.errors import NetError
from hawser.netd.model import Port, Publish, interface
from hawser.netd.transit import transit

EVIL = [
    "fe80::1%x }\nflush ruleset\n#",
    "tcp . 80 }",
    "tcp; flush ruleset",
    "a, b",
    "$x",
    '"x"',
    "tcp . 80\n",
    "tcp  .  80",
    "@set",
    "",
    "é",
]


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_plain_word_never_becomes_a_command(text: str, place: int) -> None:
    parts = ["any4", "tcp . 80", "10.0.0.1 . 80"]
    parts[place] = text
    element = (parts[0], parts[1], parts[2])
    for make in (rules.add, rules.remove):
        with pytest.raises(NetError, match="more than names, numbers and addresses"):
            make("i", [element])
    with pytest.raises(NetError):
        rules.create("i", host_rules.CHAINS, [element])


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
@settings(max_examples=100)
def test_no_text_makes_a_second_command(text: str) -> None:
    try:
        commands = rules.add("i", [("any4", text, None)])
    except NetError:
        return
    assert commands == f"add element inet hawser_i any4 {{ {text} }}\n"
    assert not set(text) & set("{}\n;,#%$@\"'")


def test_a_port_object_that_nobody_checked_stops_at_the_last_guard() -> None:
    subnet = ip_network("fd00::/64")
    port = Port(
        machine="m",
        sandbox="a",
        ifname="eth0",
        tenant="t",
        network="n",
        netns="/run/a",
        mac="02:00:00:00:00:01",
        addresses=(interface(subnet.network_address + 2, subnet),),
        publish=(Publish(host_port=80, port=80, host_ip=IPv6Address("fe80::1%x }\nflush ruleset\n#")),),
    )
    with pytest.raises(NetError, match="not done"):
        rules.add("i", host_rules.of_port(port, transit(0)))


def test_elements_are_read_back_as_they_were_written() -> None:
    prefix = {"prefix": {"addr": "10.0.0.0", "len": 24}}
    listed: list[dict[str, Any]] = [
        {"chain": {"name": "version_abc"}},
        {"set": {"name": "subnets4", "elem": [prefix, {"range": ["10.1.0.0", "10.1.0.9"]}]}},
        {"map": {"name": "any4", "elem": [[{"concat": ["tcp", 80]}, {"concat": ["10.0.0.2", 8080]}]]}},
    ]
    assert rules.observed(listed) == (
        "abc",
        [
            ("subnets4", "10.0.0.0/24", None),
            ("subnets4", "10.1.0.0-10.1.0.9", None),
            ("any4", "tcp . 80", "10.0.0.2 . 8080"),
        ],
    )
