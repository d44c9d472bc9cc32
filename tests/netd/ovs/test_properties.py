"""Whatever the fabric and whatever the packet: nothing crosses tenants, and what passes is what the policies say.

Two tenants have the same subnets, names, addresses and MACs. The oracle is netd/policy/decide.py.
"""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawser.netd.model import Address, Network, Port, link_local
from hawser.netd.ovs import packets
from hawser.netd.ovs.packets import Packet
from hawser.netd.policy import match
from hawser.netd.policy.decide import Oracle
from tests.netd.policy import worlds

from .stage import MACHINES, Stage, answer, fabric, places

KINDS = {"icmp": [8, 13], "icmp6": [128, 139]}
OUTSIDE = worlds.OUTSIDE
FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """Two tenants with any policies, ports on any machines, some of which take no tunnels."""
    policies = draw(st.lists(worlds.POLICIES, max_size=3, unique_by=lambda policy: policy.name))
    red = draw(st.lists(worlds.POLICIES, max_size=2, unique_by=lambda policy: policy.name))
    made = fabric(
        *policies,
        *(replace(policy, tenant="red") for policy in red),
        places={name: draw(st.sampled_from(MACHINES)) for name, _, _ in worlds.PORTS},
        default=draw(worlds.DEFAULTS),
        defaults={name: draw(worlds.DEFAULTS) for name in worlds.NETWORKS if draw(st.booleans())},
        inner=draw(st.sets(st.sampled_from([1, 2, 3]))),
        endpoints=draw(st.sets(st.sampled_from([1, 2, 3]), min_size=2)),
        networks={
            name: {"multicast": draw(st.booleans()), "encrypted": draw(st.booleans())} for name in worlds.NETWORKS
        },
    )
    return Stage.of(made)


def reachable(stage: Stage, source: Port, target: Port) -> bool:
    """Whether there is a tunnel between two ports' machines that the target's network takes."""
    if source.machine == target.machine:
        return True
    ends = [stage.fabric.endpoints.get(port.machine) for port in (source, target)]
    encrypted = stage.network(target).encrypted
    return all(end is not None and (end.inner is not None or not encrypted) for end in ends)


@st.composite
def honest(draw: st.DrawFn, stage: Stage) -> tuple[Port, Packet]:
    """A packet that a port's own kernel would send, to another port's address or to the outside."""
    source = draw(st.sampled_from(sorted(stage.fabric.ports.values(), key=lambda port: port.key)))
    own = draw(st.sampled_from([address.ip for address in source.addresses]))
    hosts = [*(worlds.HOSTS4 if own.version == 4 else worlds.HOSTS6), "10.0.3.2" if own.version == 4 else "fd00:3::2"]
    target = ip_address(draw(st.sampled_from([host for host in hosts if host != str(own)])))
    icmp = "icmp" if own.version == 4 else "icmp6"
    proto = draw(st.sampled_from(["tcp", "udp", "sctp", icmp, "99"]))
    packet = packets.ip(
        source.mac, stage.hop(source, target), own, target, proto,
        dport=draw(st.sampled_from([1, 79, 80, 81, 443, 480, 65535])), icmp_type=draw(st.sampled_from(KINDS[icmp])),
    )  # fmt: skip
    return source, packet


def words(packet: Packet) -> match.Packet:
    """The packet in the policies' words."""
    number = packet["nw_proto"]
    named = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}.get(number, str(number))
    return match.Packet(
        source=packet.source, target=packet.target, proto=named, port=packet.fields.get("tp_dst"),
        icmp_type=packet.fields.get("icmp_type"),
    )  # fmt: skip


@FEW
@given(st.data())
def test_what_passes_is_what_the_policies_say_and_it_comes_to_its_owner(data: st.DataObject) -> None:
    stage = data.draw(stages())
    for _ in range(8):
        source, packet = data.draw(honest(stage))
        oracle = Oracle(stage.fabric, source.tenant)
        target = oracle.owners.get(packet.target)
        verdict = oracle.decide(words(packet))
        found = stage.send(source, packet)
        if target is not None and not reachable(stage, source, target):
            # what is routed goes to the gateway, whose kernel tells the sender that there is no such host
            assert places(found) in ([], [stage.gateway(source)])
        elif not verdict.allowed:
            assert found == [], verdict.reason
        elif target is None:
            assert places(found) == [stage.gateway(source)]
        else:
            assert places(found) == [stage.at(target)], verdict.reason
            assert found[0].packet["dl_dst"] == packets.mac_number(target.mac)
            _answered(stage, source, target, packet)


def _answered(stage: Stage, source: Port, target: Port, packet: Packet) -> None:
    """What a connection answers comes back, whatever policies say of the other direction."""
    if reachable(stage, target, source):
        back = answer(packet, target.mac, stage.hop(target, packet.source))
        assert places(stage.send(target, back)) == [stage.at(source)]


@FEW
@given(st.data())
def test_what_comes_from_outside_passes_ingress_policy(data: st.DataObject) -> None:
    stage = data.draw(stages())
    for _ in range(5):
        target, packet = data.draw(honest(stage))
        outside = ip_address(OUTSIDE[0 if packet.source.version == 4 else 1])
        gateway = stage.network(target).gateway_mac
        coming = _readdressed(packet, gateway, target.mac, outside, packet.source)
        verdict = Oracle(stage.fabric, target.tenant).decide(words(coming))
        found = stage.from_gateway(target, coming)
        assert places(found) == ([stage.at(target)] if verdict.allowed else []), verdict.reason
        if found:
            back = answer(coming, target.mac, gateway)
            assert places(stage.send(target, back)) == [stage.gateway(target)]


def _readdressed(packet: Packet, mac: str, to: str, source: Address, target: Address) -> Packet:
    names = ("nw_src", "nw_dst") if packet.source.version == 4 else ("ipv6_src", "ipv6_dst")
    addresses = {names[0]: int(source), names[1]: int(target)}
    macs = {"dl_src": packets.mac_number(mac), "dl_dst": packets.mac_number(to)}
    return Packet({**packet.fields, **macs, **addresses})


@st.composite
def forged(draw: st.DrawFn, stage: Stage) -> tuple[Port, Packet]:
    """A packet of any kind, with any port's, gateway's or nobody's MACs and addresses."""
    ports = sorted(stage.fabric.ports.values(), key=lambda port: port.key)
    sender = draw(st.sampled_from(ports))
    macs = [port.mac for port in ports] + [n.gateway_mac for n in stage.fabric.networks.values()]
    macs += [packets.BROADCAST, "01:00:5e:00:00:fb", "33:33:00:00:00:01", "02:00:00:00:00:99"]
    own = st.sampled_from([sender.mac] * 4 + macs)
    one, other = draw(own), draw(st.sampled_from(macs))
    version = draw(st.sampled_from([4, 6]))
    mine = [address.ip for address in sender.addresses if address.version == version]
    every = [a.ip for port in ports for a in port.addresses if a.version == version]
    every += [gateway for n in stage.fabric.networks.values() for gateway in n.gateways if gateway.version == version]
    texts = {4: ["0.0.0.0", "255.255.255.255", "10.0.1.255", "224.0.0.251", "192.0.2.2", "10.0.1.77"],
             6: ["::", "ff02::1", "ff02::2", "2001:db8:1::2", "fd00:1::77"]}  # fmt: skip
    every += [ip_address(text) for text in texts[version]]
    if version == 6:
        every += [link_local(port.mac) for port in ports]
    source, target = draw(st.sampled_from(mine * 8 + every)), draw(st.sampled_from(every))
    kind = draw(st.sampled_from(["arp", "ns", "na", "ip", "ip", "ip"]))
    if kind == "arp" and version == 4:
        op = draw(st.sampled_from([1, 1, 2, 3]))
        return sender, packets.arp(one, source, target, op=op, sha=draw(own), eth_dst=other)
    if kind == "ns" and version == 6:
        return sender, packets.solicitation(
            one, source, target, sll=draw(own), eth_dst=draw(st.sampled_from([None, other]))
        )
    if kind == "na" and version == 6:
        return sender, packets.advertisement(one, other, source, target, draw(st.sampled_from(every)), tll=draw(own))
    proto = draw(st.sampled_from(["tcp", "udp", "icmp" if version == 4 else "icmp6"]))
    return sender, packets.ip(
        one, other, source, target, proto, sport=draw(st.sampled_from([67, 547, 40000])),
        dport=draw(st.sampled_from([68, 546, 80])), icmp_type=draw(st.sampled_from([8, 128, 133, 134, 135, 137])),
        ttl=draw(st.sampled_from([0, 1, 2, 64, 255])), vlan=draw(st.sampled_from([0, 0, 0, 0x1005])),
    )  # fmt: skip


@settings(FEW, max_examples=150)
@given(st.data())
def test_no_packet_crosses_tenants_and_none_goes_under_anothers_name(data: st.DataObject) -> None:
    stage = data.draw(stages())
    for _ in range(12):
        sender, packet = data.draw(forged(stage))
        found = stage.send(sender, packet)
        network = stage.network(sender)
        for delivery in found:
            got = stage.owner(delivery)
            assert (got.tenant if isinstance(got, Port) else got.partition("/")[0]) == sender.tenant
            on = got.on if isinstance(got, Port) else got
            assert on in stage.fabric.joined(sender.on)
            assert delivery.packet["vlan_tci"] == 0
        if found:
            _named_rightly(sender, packet)
            _known_is_not_flooded(stage, network, packet, found_places=places(found))


def _named_rightly(sender: Port, packet: Packet) -> None:
    own = {int(address.ip) for address in sender.addresses} | {int(link_local(sender.mac))}
    fields, mac = packet.fields, packets.mac_number(sender.mac)
    assert fields["dl_src"] == mac
    if fields["dl_type"] == packets.ARP:
        assert fields["arp_sha"] == mac
        assert fields["arp_spa"] in own | {0}
        return
    if "nd_tll" in fields:
        assert fields["nd_target"] in own
        assert fields["nd_tll"] in (mac, 0)
    if "nd_sll" in fields:
        assert fields["nd_sll"] in (mac, 0)
    assert int(packet.source) in own
    assert fields.get("icmp_type") != 134 or fields["nw_proto"] == 1
    assert (fields.get("tp_src"), fields.get("tp_dst"), fields["nw_proto"]) not in ((67, 68, 17), (547, 546, 17))


def _known_is_not_flooded(stage: Stage, network: Network, packet: Packet, found_places: list[tuple[str, int]]) -> None:
    """Only what names everybody reaches more than one."""
    if (
        packet["dl_type"] == packets.ARP
        or "nd_sll" in packet.fields
        or not match.scattered(packet.target, stage.fabric.networks.values())
    ):
        assert len(found_places) == 1
    elif len(found_places) > 1 and not network.multicast:
        assert {machine for machine, _ in found_places} <= {found_places[0][0]}
