"""Who listens to which multicast group: told to a router that asks, and to no other port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.model import link_local
from tests.wait import until

from .machines import within

pytestmark = pytest.mark.root
QUERY, REPORT = 130, 143
ROUTER_ALERT = bytes.fromhex("3a00050200000100")


def frame(kind: int, mac: str, group: bytes) -> bytes:
    """An MLD message (RFC 3810) as a port with this MAC sends it; a report names ff02::4242."""
    record = bytes.fromhex("04000000ff02000000000000000000000000") + bytes.fromhex("4242")
    body = bytes(4 + 16 + 4) if kind == QUERY else b"\0\0\0\1" + record
    source, target = link_local(mac).packed, group
    message = bytes([kind, 0, 0, 0]) + body
    pseudo = source + target + len(message).to_bytes(4, "big") + bytes(3) + b"\x3a"
    message = message[:2] + _checksum(pseudo + message) + message[4:]
    length = (len(message) + 8).to_bytes(2, "big")
    packet = b"\x60\0\0\0" + length + b"\0\1" + source + target + ROUTER_ALERT + message
    ethernet = b"\x33\x33" + group[-4:] + bytes.fromhex(mac.replace(":", "")) + b"\x86\xdd"
    return ethernet + packet


def _checksum(data: bytes) -> bytes:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


class Ear:
    """What has arrived at a socket so far."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self.frames: list[bytes] = []

    def heard(self, wanted: bytes) -> bool:
        with suppress(BlockingIOError):
            while True:
                self.frames.append(self._raw.recv(2000))
        return wanted in self.frames


@contextmanager
def listening(path: str) -> Iterator[Ear]:
    """Hear every IPv6 frame that comes to a sandbox."""

    def make() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
        raw.bind(("eth0", 0))
        raw.setblocking(False)
        return raw

    with within(path, make) as raw:
        yield Ear(raw)


def send(path: str, data: bytes) -> None:
    def act() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(data)

    within(path, act)


async def test_reports_pass_while_a_multicast_router_asks(net: NetAgent) -> None:
    await net.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24", "fd00::/64"]})
    paths, macs = [], []
    for name in "abc":
        paths.append(await net.make_sandbox(name))
        macs.append((await net.attach(name, tenant="t", network="n")).mac)
    report = frame(REPORT, macs[0], socket.inet_pton(socket.AF_INET6, "ff02::16"))
    query = frame(QUERY, macs[2], socket.inet_pton(socket.AF_INET6, "ff02::1"))
    with listening(paths[1]) as ear:
        send(paths[0], report)
        send(paths[2], query)
        until(lambda: ear.heard(query), what="the router's question")
        assert report not in ear.frames
        send(paths[0], report)
        until(lambda: ear.heard(report), what="the answer")
    assert await net.plan() == ()
