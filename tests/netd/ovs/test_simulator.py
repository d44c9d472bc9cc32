"""Table by table, what becomes of packets: who answers, who is asked, who routes, who gets it."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Port, Route, Router, Rule, Tunnel, link_local
from hawser.netd.ovs import packets
from hawser.netd.ovs.flow import Flow
from hawser.netd.ovs.packets import Packet
from hawser.netd.ovs.simulated import Ambiguous, Switch
from hawser.netd.ovs.simulator import Simulator
from hawser.netd.ovs.tables import Table
from tests.netd.policy import worlds
from tests.netd.policy.worlds import IN, OUT, app, peer, policy

from .stage import GENEVE, PLACES, TUNNEL, Stage, answer, fabric, four, places, six


@pytest.fixture
def stage() -> Stage:
    return Stage.of(fabric())


def to(stage: Stage, source: Port, target: object, proto: str = "tcp", **fields: int) -> Packet:
    """What a port's kernel sends to an address."""
    there = ip_address(str(target))
    own = four(source) if there.version == 4 else six(source)
    return packets.ip(source.mac, stage.hop(source, there), own, there, proto, **fields)


def test_arp_is_answered_where_it_is_asked(stage: Stage) -> None:
    web1, web2 = stage.port("web1"), stage.port("web2")
    (found,) = stage.send(web1, packets.arp(web1.mac, four(web1), four(web2)))
    assert (found.machine, found.port) == stage.at(web1)
    assert (
        found.packet.fields
        == packets.arp(web2.mac, four(web2), four(web1), op=2, eth_dst=web1.mac, tha=web1.mac).fields
    )
    gateway = stage.network(web1).gateway_mac
    (found,) = stage.send(web1, packets.arp(web1.mac, four(web1), "10.0.1.1"))
    assert packets.mac_text(found.packet["arp_sha"]) == gateway
    (found,) = stage.from_gateway(web1, packets.arp(gateway, "10.0.1.1", four(web2)))
    assert packets.mac_text(found.packet["arp_sha"]) == web2.mac


@pytest.mark.parametrize("target", ["10.0.1.77", "10.0.2.2", "10.0.1.2", "192.0.2.2"])
def test_nobodys_address_anothers_networks_and_its_own_are_not_answered(stage: Stage, target: str) -> None:
    web1 = stage.port("web1")
    assert stage.send(web1, packets.arp(web1.mac, four(web1), target)) == []
    assert stage.send(web1, packets.arp(web1.mac, "0.0.0.0", target)) == []


def test_a_solicitation_goes_to_the_owner_alone(stage: Stage) -> None:
    web1, web2 = stage.port("web1"), stage.port("web2")
    for target in (six(web2), link_local(web2.mac)):
        found = stage.send(web1, packets.solicitation(web1.mac, six(web1), target, sll=web1.mac))
        assert places(found) == [stage.at(web2)]
    back = packets.advertisement(web2.mac, web1.mac, six(web2), six(web1), six(web2), tll=web2.mac)
    assert places(stage.send(web2, back)) == [stage.at(web1)]
    asked = packets.solicitation(web1.mac, six(web1), "fd00:1::1", sll=web1.mac)
    assert places(stage.send(web1, asked)) == [stage.gateway(web1)]
    assert stage.send(web1, packets.solicitation(web1.mac, six(web1), "fd00:1::77", sll=web1.mac)) == []


def test_duplicate_address_detection_troubles_nobody(stage: Stage) -> None:
    web1, web2 = stage.port("web1"), stage.port("web2")
    own = packets.solicitation(web1.mac, "::", six(web1))
    assert stage.send(web1, own) == []
    switch = stage.cluster.machines["m1"].switch
    assert switch.path[-1].actions == f"output:{stage.number(web1)}"
    assert stage.send(web1, packets.solicitation(web1.mac, "::", six(web2))) == []
    assert switch.path[-1].match == f"reg2={stage.number(web1):#x}"  # counted as forged


def test_discovery_passes_where_everything_is_denied() -> None:
    stage = Stage.of(fabric(default=Default.DENY))
    web1, web2 = stage.port("web1"), stage.port("web2")
    asked = packets.solicitation(web1.mac, link_local(web1.mac), six(web2), sll=web1.mac)
    assert places(stage.send(web1, asked)) == [stage.at(web2)]
    back = packets.advertisement(web2.mac, web1.mac, six(web2), link_local(web1.mac), six(web2), tll=web2.mac)
    assert places(stage.send(web2, back)) == [stage.at(web1)]
    assert stage.send(web1, to(stage, web1, six(web2), "icmp6", icmp_type=128)) == []
    unicast = packets.ip(web1.mac, web2.mac, link_local(web1.mac), link_local(web2.mac), "udp")
    assert stage.send(web1, unicast) == []


def test_routed_on_the_machine_where_it_begins(stage: Stage) -> None:
    web1, db2 = stage.port("web1"), stage.port("db2")
    for target in (four(db2), six(db2)):
        (found,) = stage.send(web1, to(stage, web1, target))
        assert (found.machine, found.port) == stage.at(db2)
        assert packets.mac_text(found.packet["dl_dst"]) == db2.mac
        assert packets.mac_text(found.packet["dl_src"]) == stage.network(db2).gateway_mac
        assert found.packet["nw_ttl"] == 63


def test_a_packet_whose_time_is_over_goes_to_the_gateway_which_says_so(stage: Stage) -> None:
    web1, db2 = stage.port("web1"), stage.port("db2")
    assert places(stage.send(web1, to(stage, web1, four(db2), ttl=1))) == [stage.gateway(web1)]
    assert stage.send(web1, to(stage, web1, four(db2), ttl=0)) == []
    assert places(stage.send(web1, to(stage, web1, "10.0.1.1", ttl=1))) == [stage.gateway(web1)]


def test_networks_that_no_router_joins_and_internal_ones_stay_apart(stage: Stage) -> None:
    web1, safe1 = stage.port("web1"), stage.port("safe1")
    assert stage.send(web1, to(stage, web1, four(safe1))) == []
    assert stage.send(web1, to(stage, web1, "10.0.3.1")) == []
    assert stage.send(safe1, to(stage, safe1, four(web1))) == []
    assert stage.send(safe1, to(stage, safe1, worlds.OUTSIDE[0])) == []
    assert stage.send(safe1, to(stage, safe1, worlds.OUTSIDE[0], ttl=1)) == []
    assert places(stage.send(safe1, to(stage, safe1, "10.0.3.1"))) == [stage.gateway(safe1)]
    gateway = stage.network(safe1).gateway_mac
    for source, passes in (("10.0.3.1", True), (worlds.OUTSIDE[0], False), (str(four(web1)), False)):
        coming = packets.ip(gateway, safe1.mac, source, four(safe1))
        assert places(stage.from_gateway(safe1, coming)) == ([stage.at(safe1)] if passes else [])


def test_an_address_that_nobody_has_goes_to_the_gateway_and_not_around(stage: Stage) -> None:
    web1 = stage.port("web1")
    assert places(stage.send(web1, to(stage, web1, "10.0.2.77"))) == [stage.gateway(web1)]
    assert stage.send(web1, packets.ip(web1.mac, "02:00:00:00:00:99", four(web1), "10.0.1.77")) == []


def routed_by(web1: Port, subnet: str) -> Fabric:
    made = fabric()
    routes = (Route(subnet=ip_network(subnet), via=four(web1)),)
    made.routers["blue/r"] = Router(tenant="blue", name="r", networks=("front", "back"), routes=routes)
    return made


@pytest.mark.parametrize("subnet", ["172.16.0.0/12", "0.0.0.0/0"])
def test_a_static_route_leads_to_a_port_and_back(stage: Stage, subnet: str) -> None:
    routed = Stage.of(routed_by(stage.port("web1"), subnet))
    web1, web2, db2 = routed.port("web1"), routed.port("web2"), routed.port("db2")
    for source in (web2, db2):
        there = to(routed, source, "172.16.0.9")
        (found,) = routed.send(source, there)
        assert (found.machine, found.port) == routed.at(web1)
        assert packets.mac_text(found.packet["dl_dst"]) == web1.mac
        back = answer(there, web1.mac, routed.hop(web1, four(source)))
        assert places(routed.send(web1, back)) == [routed.at(source)]
    assert places(routed.send(db2, to(routed, db2, "172.16.0.9", ttl=1))) == [routed.gateway(db2)]
    forged = packets.ip(web1.mac, web2.mac, "10.0.1.77", four(web2))
    assert routed.send(web1, forged) == []
    assert places(routed.send(web2, to(routed, web2, four(db2)))) == [routed.at(db2)]  # a subnet is longer


def test_a_frame_to_a_ports_mac_with_anothers_address_is_not_delivered(stage: Stage) -> None:
    web1, web2, db2 = stage.port("web1"), stage.port("web2"), stage.port("db2")
    assert stage.send(web1, packets.ip(web1.mac, web2.mac, four(web1), four(db2))) == []
    together = Stage.of(fabric(places=dict.fromkeys(PLACES, "m1")))
    for mac in (packets.BROADCAST, "33:33:00:00:00:01"):
        assert together.send(web1, packets.ip(web1.mac, mac, four(web1), four(web2))) == []
        assert together.send(web1, packets.ip(web1.mac, mac, six(web1), six(web2))) == []
        shouted = packets.advertisement(web1.mac, mac, six(web1), six(web2), six(web1), tll=web1.mac)
        assert together.send(web1, shouted) == []


@pytest.mark.parametrize("default", Default)
def test_what_names_nobody_reaches_everybody_only_where_nothing_is_filtered(default: Default) -> None:
    stage = Stage.of(fabric(default=default, places=dict.fromkeys(PLACES, "m1")))
    web1, web2 = stage.port("web1"), stage.port("web2")
    wanted = [stage.at(web2)] if default is Default.ALLOW else []
    for mac, target in ((packets.BROADCAST, "255.255.255.255"), ("33:33:00:00:00:fb", "ff02::fb")):
        assert places(stage.send(web1, to(stage, web1, target, "udp", dl_dst=packets.mac_number(mac)))) == wanted
    near = packets.ip(web1.mac, web2.mac, link_local(web1.mac), link_local(web2.mac), "udp")
    assert places(stage.send(web1, near)) == wanted
    everybody = packets.advertisement(web1.mac, "33:33:00:00:00:01", six(web1), "ff02::1", six(web1), tll=web1.mac)
    assert places(stage.send(web1, everybody)) == [stage.at(web2)]


@pytest.mark.parametrize("multicast", [True, False])
def test_broadcast_and_multicast_stay_on_the_machine_unless_wanted(multicast: bool) -> None:
    stage = Stage.of(fabric(networks={"front": {"multicast": multicast}}))
    web1, web2 = stage.port("web1"), stage.port("web2")
    wanted = [stage.at(web2)] if multicast else []
    for mac, target in ((packets.BROADCAST, "10.0.1.255"), ("01:00:5e:00:00:fb", "224.0.0.251")):
        assert places(stage.send(web1, packets.ip(web1.mac, mac, four(web1), target, "udp"))) == wanted
    gateway = stage.network(web1).gateway_mac
    announced = packets.ip(
        gateway, "33:33:00:00:00:01", link_local(gateway), "ff02::1", "icmp6", icmp_type=134, ttl=255
    )
    assert places(stage.from_gateway(web1, announced)) == [stage.at(web1)]  # each machine's gateway for itself

    shouted = packets.ip(gateway, packets.BROADCAST, "10.0.1.1", "10.0.1.255", "udp")
    assert places(stage.from_gateway(web1, shouted)) == [stage.at(web1)]


def test_link_local_addresses_are_nobodys_where_policies_apply() -> None:
    rule = Rule(direction=IN, proto="tcp", ports=((80, 80),))
    stage = Stage.of(fabric(policy("p", app("db"), rule), places=dict.fromkeys(PLACES, "m1")))
    web1, web2 = stage.port("web1"), stage.port("web2")
    near1, near2 = link_local(web1.mac), link_local(web2.mac)
    assert places(stage.send(web1, packets.ip(web1.mac, web2.mac, six(web1), six(web2)))) == [stage.at(web2)]
    for source, target in ((near1, six(web2)), (six(web1), near2), (near1, near2)):
        assert stage.send(web1, packets.ip(web1.mac, web2.mac, source, target)) == []
    gateway = stage.network(web1).gateway_mac
    for one, other in ((near1, "fd00:1::1"), (six(web1), str(link_local(gateway)))):
        assert stage.send(web1, packets.ip(web1.mac, gateway, one, other)) == []


def test_a_gateway_is_not_asked_from_another_machine(stage: Stage) -> None:
    web1, web2 = stage.port("web1"), stage.port("web2")
    asked = packets.solicitation(web1.mac, six(web1), "fd00:1::1", sll=web1.mac)
    vni, switch = stage.network(web1).vni, stage.cluster.machines["m2"].switch
    sent = replace(asked, tunnel=(vni, ip_address("10.9.0.1"), ip_address("10.9.0.2")))
    assert switch.receive(sent, TUNNEL) == []
    known = packets.solicitation(web1.mac, six(web1), six(web2), sll=web1.mac)
    sent = replace(known, tunnel=(vni, ip_address("10.9.0.1"), ip_address("10.9.0.2")))
    assert [output.port for output in switch.receive(sent, TUNNEL)] == [stage.number(web2)]


def test_a_network_leaves_by_its_own_kind_of_tunnel(stage: Stage) -> None:
    web1, db2 = stage.port("web1"), stage.port("db2")
    near, far = stage.network(web1), stage.network(db2)
    assert (near.tunnel, far.tunnel) == (Tunnel.VXLAN, Tunnel.GENEVE)
    switch = stage.cluster.machines["m1"].switch
    sent = switch.receive(to(stage, web1, four(db2)), stage.number(web1))
    assert [(output.port, output.tunnel and output.tunnel[0]) for output in sent] == [(GENEVE, far.vni)]


def test_an_encrypted_network_takes_no_tunnel_in_the_clear() -> None:
    stage = Stage.of(fabric(networks={"front": {"encrypted": True}}, inner=[1, 2]))
    web1, web2 = stage.port("web1"), stage.port("web2")
    packet = to(stage, web1, four(web2))
    assert places(stage.send(web1, packet)) == [stage.at(web2)]
    outer = ip_address("10.9.0.1"), ip_address("10.9.0.2")
    inner = ip_address("10.8.0.1"), ip_address("10.8.0.2")
    vni = stage.network(web1).vni
    for pair, passes in ((outer, False), (inner, True)):
        sent = replace(packet, tunnel=(vni, *pair))
        assert bool(stage.cluster.machines["m2"].switch.receive(sent, TUNNEL)) is passes


def test_tunnels_are_taken_from_known_machines_only(stage: Stage) -> None:
    web1, web2 = stage.port("web1"), stage.port("web2")
    packet, switch = to(stage, web1, four(web2)), stage.cluster.machines["m2"].switch
    vni, here = stage.network(web1).vni, ip_address("10.9.0.2")
    for source, key, passes in (("10.9.0.1", vni, True), ("10.9.0.66", vni, False), ("10.9.0.1", 4711, False)):
        sent = replace(packet, tunnel=(key, ip_address(source), here))
        assert bool(switch.receive(sent, TUNNEL)) is passes


def test_a_published_port_does_not_bypass_policy() -> None:
    rule = Rule(direction=IN, peers=(peer("192.0.2.0/24"),), proto="tcp", ports=((80, 80),))
    stage = Stage.of(fabric(policy("p", app("web"), rule)))
    web1 = stage.port("web1")
    gateway = stage.network(web1).gateway_mac
    for source, number, passes in (("192.0.2.2", 80, True), ("192.0.2.2", 81, False), ("198.51.100.1", 80, False)):
        coming = packets.ip(gateway, web1.mac, source, four(web1), dport=number)
        assert places(stage.from_gateway(web1, coming)) == ([stage.at(web1)] if passes else [])


def test_what_a_gateway_sends_to_another_machine_is_asked_there() -> None:
    stage = Stage.of(fabric(policy("p", app("web"), Rule(direction=IN, proto="tcp", ports=((80, 80),)))))
    web1, web2 = stage.port("web1"), stage.port("web2")
    gateway = stage.network(web1).gateway_mac
    for number, passes in ((80, True), (81, False)):
        coming = packets.ip(gateway, web2.mac, worlds.OUTSIDE[0], four(web2), dport=number)
        assert places(stage.from_gateway(web1, coming)) == ([stage.at(web2)] if passes else [])


def test_a_ports_own_packets_that_the_gateway_sends_back_are_asked_for_egress() -> None:
    rule = Rule(direction=OUT, peers=(peer("192.0.2.0/24"),))
    stage = Stage.of(fabric(policy("p", app("web"), rule)))
    web1, db1 = stage.port("web1"), stage.port("db1")
    translated = packets.ip(stage.network(db1).gateway_mac, db1.mac, four(web1), four(db1))
    assert stage.from_gateway(db1, translated) == []


def test_errors_about_a_connection_come_back_and_others_do_not() -> None:
    stage = Stage.of(fabric(policy("p", app("web"), directions=(IN,))))
    web1, db1 = stage.port("web1"), stage.port("db1")
    sent = to(stage, web1, four(db1))
    assert places(stage.send(web1, sent)) == [stage.at(db1)]
    error = to(stage, db1, four(web1), "icmp", icmp_type=3)
    assert places(stage.send(db1, replace(error, about=sent.fields))) == [stage.at(web1)]
    other = to(stage, web1, four(db1), sport=9)
    assert stage.send(db1, replace(error, about=other.fields)) == []


ELSE = "02:00:00:00:00:99"
W1, W1M, LL1 = "10.0.1.2", "02:00:00:00:01:02", "fe80::ff:fe00:102"
W2, W2M = "10.0.1.3", "02:00:00:00:01:03"
FORGED = {
    "the MAC": packets.ip(ELSE, W2M, W1, W2),
    "the IPv4 source": packets.ip(W1M, W2M, "10.0.1.77", W2),
    "the IPv6 source": packets.ip(W1M, W2M, "fd00:1::77", "fd00:1::3"),
    "a link-local source": packets.ip(W1M, W2M, "fe80::1", "fd00:1::3"),
    "no source": packets.ip(W1M, W2M, "::", "fd00:1::3", "icmp6", icmp_type=128),
    "the MAC of an ARP frame": packets.arp(ELSE, W1, W2, sha=W1M),
    "ARP's sender MAC": packets.arp(W1M, W1, W2, sha=ELSE),
    "ARP's sender address": packets.arp(W1M, "10.0.1.77", W2),
    "an ARP answer": packets.arp(W1M, W2, "10.0.1.77", op=2),
    "ARP of another kind": packets.arp(W1M, W1, W2, op=3),
    "a solicitation's MAC": packets.solicitation(W1M, LL1, "fd00:1::3", sll=ELSE),
    "an advertisement's MAC": packets.advertisement(W1M, W2M, LL1, "fd00:1::3", "fd00:1::2", tll=ELSE),
    "an advertised address": packets.advertisement(W1M, W2M, LL1, "fd00:1::3", "fd00:1::77", tll=W1M),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_is_forged_is_counted_and_goes_nowhere(stage: Stage, what: str) -> None:
    web1 = stage.port("web1")
    assert stage.send(web1, FORGED[what]) == []
    last = stage.cluster.machines["m1"].switch.path[-1]
    assert (last.table, last.match) == (Table.SPOOFED, f"reg2={stage.number(web1):#x}")


FORBIDDEN = {
    "a VLAN tag": packets.ip(W1M, W2M, W1, W2, vlan=0x1005),
    "an answer of DHCP": packets.ip(W1M, W2M, W1, W2, "udp", sport=67, dport=68),
    "an answer of DHCPv6": packets.ip(W1M, W2M, "fd00:1::2", "fd00:1::3", "udp", sport=547, dport=546),
    "a router advertisement": packets.ip(W1M, W2M, LL1, "fd00:1::3", "icmp6", icmp_type=134, ttl=255),
    "a redirect": packets.ip(W1M, W2M, LL1, "fd00:1::3", "icmp6", icmp_type=137, ttl=255),
    "discovery from afar": packets.solicitation(W1M, LL1, "fd00:1::3", sll=W1M),
}
FORBIDDEN["discovery from afar"] = Packet({**FORBIDDEN["discovery from afar"].fields, "nw_ttl": 254})


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_no_container_may_send(stage: Stage, what: str) -> None:
    assert stage.send(stage.port("web1"), FORBIDDEN[what]) == []


# the simulated switch itself


def switch_of(*lines: tuple[int, int, str, str]) -> Switch:
    return Switch(Flow(*line) for line in lines)


def out(switch: Switch, packet: Packet, in_port: int = 1) -> list[int]:
    return [output.port for output in switch.receive(packet, in_port)]


PACKET = packets.ip("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2")


def test_the_highest_priority_decides_and_the_port_it_came_from_is_left_out() -> None:
    switch = switch_of((0, 1, "ip", "output:2"), (0, 5, "tcp,tp_dst=0x50/0xfff8", "output:1,output:3,output:4"))
    assert out(switch, PACKET) == [3, 4]
    assert out(switch, replace(PACKET, fields={**PACKET.fields, "tp_dst": 88})) == [2]


def test_flows_that_contradict_each_other_are_a_defect() -> None:
    switch = switch_of((0, 1, "ip", "output:2"), (0, 1, "tcp", "output:3"))
    with pytest.raises(Ambiguous):
        switch.receive(PACKET, 1)


def test_a_conjunction_needs_all_its_parts() -> None:
    parts = (0, 9, "ip,nw_src=10.0.0.0/24", "conjunction(7,1/2)"), (0, 9, "tcp,tp_dst=80", "conjunction(7,2/2)")
    allowed = (0, 10, "conj_id=7", "output:5")
    assert out(switch_of(*parts, allowed, (0, 1, "", "output:6")), PACKET) == [5]
    assert out(switch_of(parts[0], allowed, (0, 1, "", "output:6")), PACKET) == [6]


def test_a_loop_is_found() -> None:
    with pytest.raises(AssertionError, match="does not come to an end"):
        switch_of((0, 1, "", "resubmit(,0)")).receive(PACKET, 1)
    cluster = Simulator()
    for name, number in (("m1", 1), ("m2", 2)):
        there = ip_address(f"10.9.0.{3 - number}")
        flows: Iterable[Flow] = [
            Flow(0, 1, "", f"set_field:0x1->tun_id,set_field:{there}->tun_dst,resubmit(,1)"),
            Flow(1, 1, "", "output:9"),
        ]
        cluster.add(name, flows, {Tunnel.VXLAN: 9}, fabric().endpoints[name])
    assert cluster.send("m1", 1, PACKET) == []  # what came through a tunnel does not go back into it
