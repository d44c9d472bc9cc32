"""Flows as text: written as a switch writes them, read as it says them."""

from ipaddress import ip_address, ip_network

import pytest

from hawser.netd.errors import Invalid
from hawser.netd.ovs.flow import Flow, format_flow, match, parse_flow
from hawser.netd.ovs.tables import Flag, Kind, cookie_of, instance_hash, lacks, raise_flags


def test_a_match_is_written_in_the_order_of_a_dump_whatever_the_order_it_is_given_in() -> None:
    said = match("icmp6", nd_target=ip_address("fd00::1"), icmp_type=135, in_port=1, reg1=5, nw_ttl=255)
    assert said == "icmp6,reg1=0x5,in_port=1,nw_ttl=255,icmp_type=135,nd_target=fd00::1"


def test_what_says_nothing_is_left_out() -> None:
    assert match("ip", nw_src=ip_network("0.0.0.0/0"), reg4=None) == "ip"
    assert match() == ""


def test_a_prefix_of_full_length_is_an_address_and_masks_are_hexadecimal() -> None:
    assert match("ip", nw_src=ip_network("10.0.0.1/32"), nw_dst=ip_network("10.0.0.0/8")) == (
        "ip,nw_src=10.0.0.1,nw_dst=10.0.0.0/8"
    )
    assert match("tcp", tp_dst=(80, 0xFFF8), reg4=lacks(Flag.TUNNEL)) == "tcp,reg4=0/0x10,tp_dst=0x50/0xfff8"


@pytest.mark.parametrize(
    "flow",
    [
        Flow(0, 100, "in_port=1,vlan_tci=0x0000/0x1fff", "meter:7,set_field:0x5->reg1,goto_table:10", 0xAB << 32 | 5),
        Flow(50, 1, "", "ct(table=52,zone=NXM_NX_REG5[0..15])"),
        Flow(58, 100, "reg5=0x3", "conjunction(1,1/2),conjunction(2,2/3)", 9),
        Flow(70, 0, "ipv6,ipv6_dst=fe80::/10", "drop", 1),
    ],
)
def test_a_flow_survives_its_own_line(flow: Flow) -> None:
    assert parse_flow(format_flow(flow)) == flow


def test_lines_of_a_dump() -> None:
    line = " cookie=0xab00000005, table=10, priority=100,ip,in_port=1,nw_src=10.0.0.1 actions=drop"
    assert parse_flow(line) == Flow(10, 100, "ip,in_port=1,nw_src=10.0.0.1", "drop", 0xAB00000005)
    counted = " cookie=0x1, duration=3.1s, table=0, n_packets=5, n_bytes=420, tcp,tp_dst=80 actions=output:1"
    assert parse_flow(counted) == Flow(0, 32768, "tcp,tp_dst=80", "output:1", 1)
    assert parse_flow(" priority=1 actions=NORMAL").table == 0


@pytest.mark.parametrize("line", ["", "OFPST_FLOW reply (OF1.4) (xid=0x2):", "table=x,actions=drop"])
def test_what_is_no_flow_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="not a flow"):
        parse_flow(line)


def test_a_cookie_tells_the_instance_and_the_object() -> None:
    one, other = instance_hash("one"), instance_hash("other")
    assert one != other
    cookie = cookie_of(one, Kind.PORT, "m1/a:eth0")
    assert cookie >> 32 == one
    assert cookie >> 29 & 7 == Kind.PORT
    assert cookie != cookie_of(one, Kind.PORT, "m1/b:eth0")
    assert cookie < 1 << 64


def test_flags_are_set_bit_by_bit() -> None:
    assert raise_flags(Flag.EGRESS | Flag.TRACK) == ["load:0x1->NXM_NX_REG4[0]", "load:0x1->NXM_NX_REG4[2]"]
