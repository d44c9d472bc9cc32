"""A tenant's namespace with the world of `worlds`: bridges, sandboxes, an outside, packets that come through or not.

The test's own namespace is the tenant's. Bridged packets pass its forward hook (br_netfilter), as routed ones do.
"""

import itertools
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, ip_address, ip_interface
from pathlib import Path

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.nft import Nft
from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.fabric import Fabric
from hawser.netd.model import Address, Direction, Network, Port
from hawser.netd.policy import nft
from hawser.netd.policy.match import Packet, discovery
from tests.netd import machines

from . import worlds

TABLE = "policytest"
LIMIT = 5.0
FORWARD = """
chain forward { type filter hook forward priority filter; policy accept;
  ct state established,related accept
  jump policies
}
"""
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}
SYSCTLS = (
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
)
Counters = Mapping[nft.Counted, tuple[int, int]]


def link_local(port: Port) -> str:
    """The address an interface gives itself (RFC 4291 appendix A)."""
    octets = bytes.fromhex(port.mac.replace(":", ""))
    return f"fe80::ff:fe00:{octets[4]:x}{octets[5]:02x}"


class Stage:
    """Where packets are sent; `load` a fabric first."""

    def __init__(self, places: dict[Address, tuple[Path, str]]) -> None:
        self._places = places
        self._nft = Nft()
        self._tokens = itertools.count(1)
        self._ears = {address: machines.within(path, _ear(name)) for address, (path, name) in places.items()}

    def close(self) -> None:
        for ear in self._ears.values():
            ear.close()
        self._nft.run(f"table inet {TABLE}\ndelete table inet {TABLE}")
        self._nft.close()

    def load(self, fabric: Fabric) -> None:
        """Put a fabric's policies in force, at once."""
        load(self._nft, fabric)

    def counters(self) -> Counters:
        return nft.observed_counters(self._nft.table(TABLE) or [])

    def arrives(self, packet: Packet, ear: Address | None = None) -> bool:
        """Send a packet; whether it came, or else was dropped and counted. `ear` is where an address leads that is
        no single port's."""
        token = struct.pack("!II", 0x68617773, next(self._tokens))
        why = nft.DROP if ear is None else nft.SCATTERED
        _forget()
        before = _drops(self.counters(), why)
        path, name = self._places[packet.source]
        machines.within(path, lambda: _send(packet, token, name))
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            dropped = _drops(self.counters(), why) > before
            if self._heard(ear or packet.target, token):
                return True
            if dropped:
                return False
        raise AssertionError(f"{packet} neither came nor was dropped")

    def _heard(self, address: Address, token: bytes) -> bool:
        try:
            while True:
                data, where = self._ears[address].recvfrom(2048)
                if where[2] != socket.PACKET_OUTGOING and token in data:
                    return True
        except BlockingIOError:
            return False


def load(nftables: Nft, fabric: Fabric, tenant: str = "blue") -> None:
    """Make the table anew with a tenant's policies and ports."""
    elements = (element for port in fabric.ports.values() for element in nft.elements(fabric, port))
    adds = "".join(f"add element inet {TABLE} {name} {{ {element} }}\n" for name, element, _ in elements)
    text = f"table inet {TABLE} {{\n{nft.chains(fabric, tenant)}{FORWARD}}}\n"
    nftables.run(f"table inet {TABLE}\ndelete table inet {TABLE}\n{text}{adds}")


def _forget() -> None:
    """Empty the connection tracking here, so that the next packet is a connection's first: delete without saying which
    (include/uapi/linux/netfilter/nfnetlink_conntrack.h)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.bind((0, 0))
        netfilter.send(struct.pack("=IHHIIBBH", 20, (1 << 8) | 2, 1 | 4, 1, 0, socket.AF_UNSPEC, 0, 0))
        assert struct.unpack_from("=i", netfilter.recv(4096), 16) == (0,)


def _drops(counters: Counters, why: int) -> int:
    return sum(packets for (_, _, index), (packets, _) in counters.items() if index == why)


def passed(counters: Counters, policy: str | None, direction: Direction | None, rule: int | None) -> int:
    """The packets a rule has counted."""
    return (
        0 if policy is None or direction is None or rule is None else counters.get((policy, direction, rule), (0, 0))[0]
    )


def _ear(name: str) -> Callable[[], socket.socket]:
    def listen() -> socket.socket:
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(3))
        ear.bind((name, 3))
        return ear

    return listen


def _send(packet: Packet, token: bytes, ifname: str) -> None:
    """Send from here: the kernel makes the IP header and looks for the neighbour."""
    old = isinstance(packet.source, IPv4Address)
    number = NUMBERS.get(packet.proto) or int(packet.proto)
    family = socket.AF_INET if old else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW, number) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode())
        if not old:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255 if discovery(packet) else 64)
        raw.bind((str(packet.source), 0))
        raw.sendto(_payload(packet, token), (str(packet.target), 0))


def _payload(packet: Packet, token: bytes) -> bytes:
    own = 1024 + int.from_bytes(token[-2:], "big") % 60000
    if packet.icmp_type is not None:
        head = struct.pack("!BBHHH", packet.icmp_type, 0, 0, own, 1)
        return _summed(head + token, 2, packet, pseudo=packet.source.version == 6)
    if packet.proto == "tcp":
        data = struct.pack("!HHIIBBHHH", own, packet.port or 0, 1, 0, 0x50, 0x02, 1024, 0, 0) + token
        return _summed(data, 16, packet)
    if packet.proto == "udp":
        return _summed(struct.pack("!HHHH", own, packet.port or 0, 8 + len(token), 0) + token, 6, packet)
    return struct.pack("!HHII", own, packet.port or 0, 0, 0) + token


def _summed(data: bytes, offset: int, packet: Packet, *, pseudo: bool = True) -> bytes:
    """The Internet checksum (RFC 1071) at its place, over the pseudo header too (RFC 9293 §3.1, RFC 8200 §8.1)."""
    head = packet.source.packed + packet.target.packed + struct.pack("!II", len(data), NUMBERS[packet.proto])
    whole = (head if pseudo else b"") + data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(whole) // 2}H", whole))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    return b"".join((data[:offset], total.to_bytes(2, "big"), data[offset + 2 :]))


@contextmanager
def staged(directory: Path) -> Iterator[Stage]:
    """The world's networks and ports, in the kernel; nothing is left of them."""
    fabric = worlds.world()
    places: dict[Address, tuple[Path, str]] = {}
    with ExitStack() as stack:
        outside = stack.enter_context(machines.outside(directory))
        for network in fabric.networks.values():
            stack.callback(_unbridge, network)
            _bridge(network)
            for subnet in network.subnets:
                machines.route_back(outside, subnet, machines.NODE4 if subnet.version == 4 else machines.NODE6)
            for port in fabric.on(network.key).values():
                path = directory / port.sandbox
                netns.create(path, prepare_sandbox)
                stack.callback(netns.remove, path)
                _plug(network, port, path)
                places |= {address.ip: (path, port.ifname) for address in port.addresses}
        places |= dict.fromkeys(map(ip_address, worlds.OUTSIDE), (outside, "world0"))
        for name in SYSCTLS:
            netns.sysctl(name, "1")
        stage = Stage(places)
        stack.callback(stage.close)
        yield stage


def _bridge(network: Network) -> None:
    with Netlink() as here:
        here.do([netlink.new_bridge(f"br-{network.name}", mac=network.gateway_mac)])
        index = socket.if_nametoindex(f"br-{network.name}")
        for gateway, subnet in zip(network.gateways, network.subnets, strict=True):
            here.do([netlink.add_address(index, ip_interface(f"{gateway}/{subnet.prefixlen}"))])


def _unbridge(network: Network) -> None:
    with Netlink() as here:
        here.do([netlink.delete_link(f"br-{network.name}")], missing_ok=True)


def _plug(network: Network, port: Port, path: Path) -> None:
    master = socket.if_nametoindex(f"br-{network.name}")
    inside = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as here:
            name = f"v-{port.sandbox}"
            here.do([netlink.new_veth(name, port.ifname, peer_netns=inside, master=master, peer_mac=port.mac)])
    finally:
        os.close(inside)

    def configure() -> None:
        with Netlink() as inner:
            index = socket.if_nametoindex(port.ifname)
            inner.do([netlink.set_link(port.ifname)])
            inner.do([netlink.add_address(index, address) for address in port.addresses])
            inner.do([netlink.add_default(index, gateway) for gateway in network.gateways])

    netns.inside(path, configure)
