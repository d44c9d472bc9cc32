"""Tell the neighbours on a bridge that an address is another interface's now.

A container that spoke to the address before goes on sending to the old MAC for eight seconds or more, until its probes
have failed (arp(7), delay_first_probe_time and ucast_solicit). So whoever gives an address a MAC says so to the local
ports: a gratuitous ARP (RFC 5227 §3) and an unsolicited neighbour advertisement (RFC 4861 §7.2.6), sent on the bridge,
which floods them to the containers here and not into the tunnel.
"""

import socket
from collections.abc import Callable, Iterable

from ..model import Address

EVERYBODY = "ff:ff:ff:ff:ff:ff"
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ARP, IPV6 = b"\x08\x06", b"\x86\xdd"
OVERRIDE = 0x20000000


def frames(mac: str, addresses: Iterable[Address]) -> list[bytes]:
    """The frames that say that `mac` has `addresses`."""
    made = {4: _arp, 6: _advertisement}
    return [made[address.version](_octets(mac), address.packed) for address in addresses]


def send(inside: Callable[[Callable[[], None]], None], ifname: str, mac: str, addresses: Iterable[Address]) -> None:
    """Send them on a link of the namespace that `inside` runs in; a link that is not up hears nothing."""

    def act() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as raw:
            try:
                raw.bind((ifname, 0))
                for frame in frames(mac, addresses):
                    raw.send(frame)
            except OSError:
                return  # as if the network had lost it

    inside(act)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _arp(mac: bytes, address: bytes) -> bytes:
    head = _octets(EVERYBODY) + mac + ARP
    return head + bytes.fromhex("0001080006040001") + mac + address + bytes(6) + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    option = b"\x02\x01" + mac
    body = OVERRIDE.to_bytes(4, "big") + address + option
    packet = b"\x88\0" + bytes(2) + body
    pseudo = address + ALL_NODES + len(packet).to_bytes(4, "big") + bytes(3) + b"\x3a"
    packet = b"\x88\0" + _checksum(pseudo + packet) + body
    head = b"\x60\0\0\0" + len(packet).to_bytes(2, "big") + b"\x3a\xff" + address + ALL_NODES
    return bytes.fromhex("333300000001") + mac + IPV6 + head + packet


def _checksum(data: bytes) -> bytes:
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
