"""Packets as a simulated switch sees them: fields by ovs-fields(7)'s names, as numbers.

A field that a packet does not have is not there; options of neighbour discovery that are missing are 0, as in a switch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from ..model import Address

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58, "icmpv6": 58, "sctp": 132}
BROADCAST = "ff:ff:ff:ff:ff:ff"
NEIGHBOUR_TTL = 255


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet; `tunnel` is (VNI, outer source, outer target) of one that comes through a tunnel, `about` the fields of
    the packet that an ICMP error speaks of."""

    fields: Mapping[str, int]
    tunnel: tuple[int, Address, Address] | None = None
    about: Mapping[str, int] | None = field(default=None)

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    @property
    def source(self) -> Address:
        """The address of IP that it comes from."""
        return self._address("src")

    @property
    def target(self) -> Address:
        """The address of IP that it goes to."""
        return self._address("dst")

    def _address(self, side: str) -> Address:
        return address_of(self.fields[f"nw_{side}" if self.fields["dl_type"] == IPV4 else f"ipv6_{side}"], self)


def address_of(number: int, packet: Packet) -> Address:
    """A number as an address of the packet's version of IP."""
    length = 4 if packet.fields["dl_type"] in (IPV4, ARP) else 16
    return ip_address(number.to_bytes(length, "big"))


def mac_number(text: str) -> int:
    """A MAC as a number."""
    return int(text.replace(":", ""), 16)


def mac_text(number: int) -> str:
    """A number as a MAC."""
    return number.to_bytes(6, "big").hex(":")


def arp(
    eth_src: str, source: Address | str, target: Address | str, *, op: int = 1, sha: str | None = None,
    eth_dst: str = BROADCAST, tha: str = "00:00:00:00:00:00",
) -> Packet:  # fmt: skip
    """An ARP request or answer (RFC 826)."""
    return Packet({
        "dl_src": mac_number(eth_src), "dl_dst": mac_number(eth_dst), "dl_type": ARP, "vlan_tci": 0, "arp_op": op,
        "arp_spa": int(ip_address(source)), "arp_tpa": int(ip_address(target)),
        "arp_sha": mac_number(sha or eth_src), "arp_tha": mac_number(tha),
    })  # fmt: skip


def ip(
    eth_src: str, eth_dst: str, source: Address | str, target: Address | str, proto: str = "tcp", *, sport: int = 40000,
    dport: int = 80, icmp_type: int = 0, icmp_code: int = 0, ttl: int = 64, vlan: int = 0, **more: int,
) -> Packet:  # fmt: skip
    """A packet of IPv4 or IPv6; `proto` by name, or another protocol's number as text."""
    one, other = ip_address(source), ip_address(target)
    names = ("nw_src", "nw_dst") if one.version == 4 else ("ipv6_src", "ipv6_dst")
    number = PROTOCOLS[proto] if proto in PROTOCOLS else int(proto)
    fields = {
        "dl_src": mac_number(eth_src), "dl_dst": mac_number(eth_dst), "dl_type": IPV4 if one.version == 4 else IPV6,
        "vlan_tci": vlan, names[0]: int(one), names[1]: int(other), "nw_proto": number, "nw_ttl": ttl, "ip_dscp": 0,
    }  # fmt: skip
    if number in (1, 58):
        fields |= {"icmp_type": icmp_type, "icmp_code": icmp_code}
    elif proto in PROTOCOLS:
        fields |= {"tp_src": sport, "tp_dst": dport}
    return Packet(fields | more)


def solicitation(
    eth_src: str, source: Address | str, target: Address | str, *, sll: str | None = None, eth_dst: str | None = None
) -> Packet:
    """A neighbour solicitation to the target's solicited-node group (RFC 4861 §4.3, RFC 4291 §2.7.1)."""
    low = int(ip_address(target)) & 0xFFFFFF
    group = ip_address(int(ip_address("ff02::1:ff00:0")) | low)
    mac = eth_dst or mac_text(0x3333FF000000 | low)
    return ip(
        eth_src, mac, source, group, "icmp6", icmp_type=135, ttl=NEIGHBOUR_TTL,
        nd_target=int(ip_address(target)), nd_sll=mac_number(sll) if sll else 0,
    )  # fmt: skip


def advertisement(
    eth_src: str, eth_dst: str, source: Address | str, target: Address | str, about: Address | str,
    *, tll: str | None = None,
) -> Packet:  # fmt: skip
    """A neighbour advertisement `about` an address (RFC 4861 §4.4)."""
    return ip(
        eth_src, eth_dst, source, target, "icmp6", icmp_type=136, ttl=NEIGHBOUR_TTL,
        nd_target=int(ip_address(about)), nd_tll=mac_number(tll) if tll else 0,
    )  # fmt: skip
