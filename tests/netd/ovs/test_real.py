"""The compiled flows on a real Open vSwitch, with the kernel's datapath where there is one.

It takes them and says them again word by word, does with packets what the simulator does, and lets pass and refuses
real traffic between namespaces on two machines.
"""

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox, prepare_tenant
from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Network, Port, Qos, Rule, Tunnel
from hawser.netd.ovs.drivers.offload import sum_before_sending
from hawser.netd.ovs.meters import meters
from hawser.netd.ovs.packets import Packet, address_of, mac_text
from hawser.netd.ovs.pipeline import Pipeline, compile_flows
from hawser.netd.ovs.scope import Ofports
from hawser.netd.ovs.tables import Kind, Table, cookie_of, instance_hash
from tests.netd.machines import ask, ping, serving, shut, silent
from tests.netd.policy import worlds
from tests.netd.policy.worlds import IN, app, peer, policy
from tests.wait import until

from .real import BRIDGE, DATAPATH, Ovs, running
from .stage import GENEVE, TUNNEL, ZONES, Stage, fabric, four, numbers, six
from .test_properties import forged, honest

pytestmark = pytest.mark.root
INSTANCE = instance_hash("real")
OUTPUT = re.compile(r"^ +(?:output:(\d+)|(IN_PORT))\n(?! +>> skipping output to input port)", re.MULTILINE)
KEYWORDS = {
    (0x0800, 1): "icmp", (0x0800, 6): "tcp", (0x0800, 17): "udp", (0x0800, 132): "sctp",
    (0x86DD, 58): "icmp6", (0x86DD, 6): "tcp6", (0x86DD, 17): "udp6", (0x86DD, 132): "sctp6",
}  # fmt: skip

TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp"}


def words(packet: Packet, in_port: int) -> str:
    """A packet in the words of ofproto/trace."""
    fields = dict(packet.fields)
    kind, proto = fields.pop("dl_type"), fields.pop("nw_proto", None)
    said = [f"in_port={in_port}"]
    if proto is None:
        said.append("arp")
    else:
        said.append(KEYWORDS.get((kind, proto), f"{'ip' if kind == 0x0800 else 'ipv6'},nw_proto={proto}"))
    if not fields.pop("ip_dscp", 0) and not fields["vlan_tci"]:
        del fields["vlan_tci"]
    for name, number in fields.items():
        if name in ("dl_src", "dl_dst", "arp_sha", "arp_tha", "nd_sll", "nd_tll"):
            said.append(f"{name}={mac_text(number)}")
        elif name in ("nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "arp_spa", "arp_tpa", "nd_target"):
            said.append(f"{name}={address_of(number, packet)}")
        elif name in ("tp_src", "tp_dst"):
            said.append(f"{TRANSPORTS[proto or 0]}_{name[3:]}={number}")
        else:
            said.append(f"{name.replace('icmp', 'icmpv6') if kind == 0x86DD else name}={number}")
    return ",".join(said)


@pytest.fixture
def switch(rundir: Path) -> Iterator[Ovs]:
    """One machine's switch whose ports are its own."""
    netns.create(rundir / "m1", netns.lo_up)
    try:
        with running(rundir / "m1", rundir / "ovs") as ovs:
            ofports = numbers(fabric(), "m1")
            for number in (*ofports.ports.values(), *ofports.gateways.values()):
                name = f"p{number}"
                ovs.vsctl(
                    "add-port",
                    BRIDGE,
                    name,
                    "--",
                    "set",
                    "interface",
                    name,
                    "type=internal",
                    f"ofport_request={number}",
                )
            tunnel(ovs)
            yield ovs
    finally:
        netns.remove(rundir / "m1")


def tunnel(ovs: Ovs) -> None:
    for name, number in ((Tunnel.VXLAN, TUNNEL), (Tunnel.GENEVE, GENEVE)):
        flow = f"type={name}", "options:key=flow", "options:remote_ip=flow", f"ofport_request={number}"
        ovs.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, *flow)


def test_a_switch_does_what_the_simulator_does(switch: Ovs) -> None:
    compared = outputs = 0

    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate]
    )
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        nonlocal compared, outputs
        policies = data.draw(st.lists(worlds.POLICIES, max_size=2, unique_by=lambda policy: policy.name))
        flooding = {name: {"multicast": data.draw(st.booleans())} for name in worlds.NETWORKS}
        stage = Stage.of(fabric(*policies, default=data.draw(worlds.DEFAULTS), networks=flooding))
        simulated = stage.cluster.machines["m1"].switch
        flows = compile_flows(stage.fabric, "m1", stage.ofports["m1"], zones=ZONES).values()
        switch.replace(flows)
        assert switch.dump() == set(flows)
        for _ in range(12):
            sender, packet = data.draw(st.one_of(forged(stage), honest(stage), honest(stage)))
            if sender.machine != "m1":
                continue
            number = stage.number(sender)
            expected = sorted(output.port for output in simulated.receive(packet, number))
            simulated.tracked.clear()
            text = words(packet, number)
            found = sorted(int(out or number) for out, _ in OUTPUT.findall(switch.trace(text)))
            assert found == expected, text
            compared, outputs = compared + 1, outputs + len(found)

    agree()
    assert compared > 100
    assert outputs > 20


@dataclass(slots=True)
class Cluster:
    """Two machines with an Open vSwitch each, a cable between them, tenants' gateways and containers."""

    fabric: Fabric
    directory: Path
    ovs: dict[str, Ovs]
    ofports: dict[str, Ofports]

    def box(self, name: str, tenant: str = "blue") -> Path:
        return self.directory / f"{tenant}-{name}"

    def port(self, name: str, tenant: str = "blue") -> Port:
        return next(port for port in self.fabric.ports.values() if port.sandbox == f"{tenant}-{name}")

    def program(self) -> None:
        for machine, ovs in self.ovs.items():
            ofports = self.ofports[machine]
            flows = compile_flows(self.fabric, machine, ofports, zones=ZONES, instance=INSTANCE)
            ovs.replace(flows.values())
            ovs.flush()


def inside(path: Path, ifname: str, mac: str, addresses: list[str]) -> None:
    def act() -> None:
        with Netlink() as here:
            here.do([netlink.set_link(ifname, mac=mac)])
            index = socket.if_nametoindex(ifname)
            here.do([netlink.add_address(index, ip_interface(address)) for address in addresses])
        sum_before_sending(ifname)

    netns.inside(path, act)


def cable(where: Path, name: str, to: Path, peer: str) -> None:
    """A veth pair whose ends are in two namespaces."""

    def act() -> None:
        with Netlink() as here, open(to) as target:
            here.do([netlink.new_veth(name, peer, peer_netns=target.fileno(), mtu=1400)])

    netns.inside(where, act)


def attach(cluster: Cluster, machine: Path, port: Port, network: Network, number: int) -> None:
    path = cluster.directory / port.sandbox
    netns.create(path, prepare_sandbox)
    cable(machine, f"c{number}", path, "eth0")
    inside(path, "eth0", port.mac, [str(address) for address in port.addresses])

    def routes() -> None:
        with Netlink() as here:
            index = socket.if_nametoindex("eth0")
            here.do([netlink.add_default(index, gateway) for gateway in network.gateways])

    netns.inside(path, routes)
    cluster.ovs[port.machine].vsctl(
        "add-port", BRIDGE, f"c{number}", "--", "set", "interface", f"c{number}", f"ofport_request={number}"
    )


def gateways(cluster: Cluster, name: str, tenant: str) -> None:
    """A tenant's kernel on a machine, with an address that is outside for its networks."""
    path = cluster.directory / f"{name}-{tenant}"
    netns.create(path, prepare_tenant)
    for key, number in cluster.ofports[name].gateways.items():
        network = cluster.fabric.networks[key]
        if network.tenant != tenant:
            continue
        cable(cluster.directory / name, f"g{number}", path, f"g{number}")
        pairs = zip(network.gateways, network.subnets, strict=True)
        inside(path, f"g{number}", network.gateway_mac, [f"{a}/{subnet.prefixlen}" for a, subnet in pairs])
        cluster.ovs[name].vsctl(
            "add-port", BRIDGE, f"g{number}", "--", "set", "interface", f"g{number}", f"ofport_request={number}"
        )

    def outside() -> None:
        with Netlink() as here:
            index = socket.if_nametoindex("lo")
            here.do([netlink.add_address(index, ip_interface(f"{worlds.OUTSIDE[0]}/32"))])
            here.do([netlink.add_address(index, ip_interface(f"{worlds.OUTSIDE[1]}/128"))])

    netns.inside(path, outside)


@pytest.fixture
def cluster(rundir: Path) -> Iterator[Cluster]:
    made = fabric(default=Default.ALLOW, networks={"front": {"multicast": True}})
    built = Cluster(made, rundir, {}, {name: numbers(made, name) for name in ("m1", "m2")})
    with ExitStack() as stack:
        stack.callback(_remove_all, rundir)
        for name in ("m1", "m2"):
            netns.create(rundir / name, netns.lo_up)
        cable(rundir / "m1", "under", rundir / "m2", "under")
        for number, name in enumerate(("m1", "m2"), 1):
            ovs = built.ovs[name] = stack.enter_context(running(rundir / name, rundir / f"ovs{number}"))
            # the datapath in user space sends tunnels out by a bridge of its own
            ovs.vsctl("add-br", "under0", "--", "set", "bridge", "under0", f"datapath_type={DATAPATH}")
            ovs.vsctl("add-port", "under0", "under")
            netns.inside(rundir / name, lambda: _up("under"))
            inside(rundir / name, "under0", f"02:00:00:99:00:0{number}", [f"10.9.0.{number}/24"])
            tunnel(ovs)
            for tenant in ZONES:
                gateways(built, name, tenant)
            for port in made.at(name).values():
                attach(built, rundir / name, port, made.networks[port.on], built.ofports[name].ports[port.id])
        built.program()
        yield built


def _remove_all(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_file():
            netns.remove(path)


def _up(name: str) -> None:
    with Netlink() as here:
        here.do([netlink.set_link(name)])


def test_traffic(cluster: Cluster) -> None:
    """Everything that may pass does, on one machine and between two, on one network and routed, and nothing else."""
    web1, web2, db1, db2 = (cluster.box(name) for name in ("web1", "web2", "db1", "db2"))
    until(lambda: ping(web1, four(cluster.port("web2")), timeout=1), what="the tunnel")
    for box in (web1, db1):
        for name in ("web2", "db2", "web1", "db1"):
            for address in (four(cluster.port(name)), six(cluster.port(name))):
                assert ping(box, address), (box, address)
        for near in ("10.0.1.1", "fd00:1::1", "10.0.2.1", *worlds.OUTSIDE):
            assert ping(box, near), (box, near)
    for target in (web2, db2):
        name = target.name.removeprefix("blue-")
        # the other tenant has a server at the very same address
        with serving(target, 80) as seen, serving(cluster.box(name, "red"), 80) as others:
            assert ask(web1, four(cluster.port(name)), 80) == "10.0.1.2"
            assert others == []
            assert seen == ["10.0.1.2"]
    with serving(db2, 53, "::", udp=True):
        assert ask(web1, six(cluster.port("db2")), 53, udp=True) == "fd00:1::2"
    safe = cluster.port("safe1")
    assert silent(web1, four(safe))
    assert silent(cluster.box("safe1"), four(cluster.port("web1")))
    assert silent(cluster.box("safe1"), worlds.OUTSIDE[0])
    assert ping(cluster.box("safe1"), "10.0.3.1")
    _from_outside(cluster)
    _time_is_over(web1, str(four(cluster.port("db2"))))
    _broadcast(cluster)
    _forged(cluster)


def _from_outside(cluster: Cluster) -> None:
    with serving(cluster.box("web1"), 80):
        gateway = cluster.directory / "m1-blue"
        assert ask(gateway, four(cluster.port("web1")), 80) == "10.0.1.1"


def _time_is_over(box: Path, target: str) -> None:
    """The gateway says so."""

    def send() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(3)
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            client.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
            client.connect((target, 9))
            client.send(b"late")
            try:
                client.recv(10)
            except OSError as error:
                return error.errno or 0
            return 0

    assert netns.inside(box, send) == 113  # EHOSTUNREACH


def _broadcast(cluster: Cluster) -> None:
    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(3)
        made.bind(("0.0.0.0", 99))
        return made

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(b"all", ("10.0.1.255", 99))

    with netns.inside(cluster.box("web2"), listen) as near, netns.inside(cluster.box("web2", "red"), listen) as far:
        netns.inside(cluster.box("web1"), send)
        assert near.recv(10) == b"all"
        far.settimeout(0.2)
        with pytest.raises(TimeoutError):
            far.recv(10)


def _forged(cluster: Cluster) -> None:
    """A frame under another's address is counted and goes nowhere."""
    web1, web2 = cluster.port("web1"), cluster.port("web2")
    cookie = cookie_of(INSTANCE, Kind.PORT, web1.key)
    before = cluster.ovs["m1"].packets(cookie, Table.SPOOFED)

    def send() -> None:
        macs = bytes.fromhex(f"{web2.mac}{web1.mac}".replace(":", ""))
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, ip_address("10.0.1.99").packed, four(web2).packed
        )
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(macs + b"\x08\0" + header + struct.pack("!HHHH", 1, 2, 8, 0))

    netns.inside(cluster.box("web1"), send)
    until(lambda: cluster.ovs["m1"].packets(cookie, Table.SPOOFED) == before + 1, what="the count")


def test_policies_connections_and_changes(cluster: Cluster) -> None:
    """Rules hold on both machines, answers pass, and a port that comes and goes changes only its flows."""
    fabric, web1, web2 = cluster.fabric, cluster.box("web1"), cluster.box("web2")
    allow = Rule(direction=IN, peers=(peer(app("web", "front")),), proto="tcp", ports=((80, 85),))
    fabric.policies["blue/db"] = policy("db", app("db"), allow)
    cluster.program()
    for name in ("db1", "db2"):
        box, target = cluster.box(name), four(cluster.port(name))
        with serving(box, 80), serving(box, 86):
            assert ask(web1, target, 80) == "10.0.1.2"
            assert ask(web2, target, 80) == "10.0.1.3"
            assert shut(web1, target, 86)
        assert silent(web1, target)
        assert ping(box, four(cluster.port("web1")))  # its own connections, both ways
        assert ping(box, worlds.OUTSIDE[0])
        assert ping(box, worlds.OUTSIDE[1])
    rule = cookie_of(INSTANCE, Kind.RULE, "blue/db/0")
    assert cluster.ovs["m1"].packets(rule, Table.INGRESS) >= 2
    _limited(cluster)
    _relabelled(cluster)


def _limited(cluster: Cluster) -> None:
    """A meter for what a port sends, and its DSCP."""
    port = replace(cluster.port("web1"), qos=Qos(egress=8_000_000, dscp=46))
    cluster.fabric.put_port(port)
    lines = meters(cluster.fabric, "m1", cluster.ofports["m1"])
    assert list(lines) == [cluster.ofports["m1"].ports[port.id]]
    cluster.ovs["m1"].meter(*lines.values())
    cluster.program()
    with serving(cluster.box("db1"), 80):
        assert ask(cluster.box("web1"), four(cluster.port("db1")), 80) == "10.0.1.2"


def _relabelled(cluster: Cluster) -> None:
    machine = {}
    for name, ovs in cluster.ovs.items():
        ofports = cluster.ofports[name]
        machine[name] = Pipeline(cluster.fabric, name, ofports, zones=ZONES, instance=INSTANCE)
        assert set(machine[name].flows.values()) == ovs.dump()
    before = cluster.port("web2")
    after = replace(before, labels={"app": "other"})
    cluster.fabric.put_port(after)
    for name, ovs in cluster.ovs.items():
        added, removed = machine[name].change(before, after)
        assert len(added) + len(removed) < 10
        ovs.change(added, removed)
        assert ovs.dump() == set(machine[name].flows.values())
        ovs.flush()
    with serving(cluster.box("db1"), 80):
        assert shut(cluster.box("web2"), four(cluster.port("db1")), 80)
        assert ask(cluster.box("web1"), four(cluster.port("db1")), 80) == "10.0.1.2"
