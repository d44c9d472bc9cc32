"""VLANs (IEEE 802.1Q): an underlay on one gives its own MTU; a container's tagged frames are nobody's."""

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.netd.drivers import netlink
from hawser.netd.drivers.netlink import Netlink
from hawser.store import Store
from tests.netd.machines import ping, udp4, within
from tests.netd.test_overlay import Machine, connected, ip, until

pytestmark = pytest.mark.root
ID, MTU = 100, 1400
TAGS = {"802.1Q": struct.pack("!HH", 0x8100, 5), "priority": struct.pack("!HH", 0x8100, 0xE000)}
TAGS["802.1ad"] = struct.pack("!HH", 0x88A8, 5)
TAGS["double"] = TAGS["802.1ad"] + TAGS["802.1Q"]


def has_vlans() -> bool:
    """Whether this kernel makes VLAN links; in the test's own namespace."""
    with Netlink() as here:
        here.do([netlink.new_bridge("probe0")])
        made = subprocess.run(["ip", "link", "add", "link", "probe0", "name", "v0", "type", "vlan", "id", "5"])
        here.do([netlink.delete_link("probe0")])
    return made.returncode == 0


@pytest.fixture
async def pair(store: Store, rundir: Path) -> AsyncIterator[list[Machine]]:
    """Two machines whose address for tunnels is on a VLAN with MTU 1400, and whose default route is not."""
    if not has_vlans():
        pytest.skip("this kernel has no 8021q; make test-vm has one that does")
    found = [Machine(store, name, number, rundir) for number, name in enumerate(("m1", "m2"), 1)]
    async with connected(found, prepare=on_a_vlan):
        yield found


def on_a_vlan(machine: Machine) -> None:
    """Move the machine's address from eth0 to a VLAN link; runs in its namespace."""
    steps = (
        f"ip addr del {machine.address}/24 dev eth0",
        f"ip link add link eth0 name eth0.{ID} mtu {MTU} up type vlan id {ID}",
        f"ip addr add {machine.address}/24 dev eth0.{ID}",
        f"ip addr add 198.51.100.{machine.address.packed[-1]}/24 dev eth0",
        "ip route add default via 198.51.100.254",
    )
    for step in steps:
        subprocess.run(step.split(), check=True)


async def test_an_underlay_on_a_vlan_gives_its_own_mtu(pair: list[Machine]) -> None:
    m1, m2 = pair
    await m1.network("t", "n", "10.0.0.0/24", "fd00::/64")
    a, b = await m1.box("a", "t", "n"), await m2.box("b", "t", "n")
    await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the tunnel over the VLAN", 30)
    assert {name: each.mtu for name, each in m1.net.fabric.endpoints.items()} == {"m1": MTU, "m2": MTU}
    await until(lambda: m1.net.attachments("a")[0].mtu == MTU - 50, "the network's MTU")
    await m1.net.reconcile()
    data = b"full packets " * 50_000
    assert await asyncio.to_thread(carried, m1.paths["a"], m2.paths["b"], ip(b), data) == data
    with tapped() as tap:
        fits = MTU - 50 - 28
        assert await asyncio.to_thread(whole, m1.paths["a"], m2.paths["b"], ip(b), bytes(fits))
        assert max(map(len, taken(tap))) == 14 + MTU, "the kernel shows the tag beside the frame"
        with pytest.raises(OSError, match="Message too long"):
            await asyncio.to_thread(whole, m1.paths["a"], m2.paths["b"], ip(b), bytes(fits + 1))
    assert ip(a) != ip(b)


def whole(source: str, target: str, host: str, data: bytes) -> bool:
    """Whether a datagram arrives that must not be cut in fragments. OSError when it is too long."""
    server = within(target, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client = within(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with server, client:
        server.bind(("", 5001))
        server.settimeout(5)
        client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        client.sendto(data, (host, 5001))
        return server.recv(1 << 16) == data


def tapped() -> socket.socket:
    """Every frame on the wire."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    tap.settimeout(0.2)
    return tap


def taken(tap: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    try:
        while len(found) < 100_000:
            found.append(tap.recv(1 << 16))
    except TimeoutError:
        return found
    return found


def carried(source: str, target: str, host: str, data: bytes) -> bytes:
    """What arrives of a TCP stream."""
    server = within(target, lambda: socket.create_server(("", 5000)))
    client = within(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    found = bytearray()
    with server, client:
        client.settimeout(20)
        client.connect((host, 5000))
        taker, _ = server.accept()
        with taker:
            taker.settimeout(20)
            for start in range(0, len(data), 1 << 16):
                client.sendall(data[start : start + (1 << 16)])
                while len(found) < min(start + (1 << 16), len(data)):
                    found += taker.recv(1 << 16)
    return bytes(found)


@pytest.mark.parametrize("kind", ["bridge", "ovs"])
async def test_a_container_s_tagged_frames_go_nowhere(store: Store, rundir: Path, kind: str) -> None:
    m1 = Machine(store, "m1", 1, rundir, kind)
    async with connected([m1]):
        await m1.network("t", "n", "10.0.0.0/24")
        a, b = await m1.box("a", "t", "n"), await m1.box("b", "t", "n")
        await until(lambda: ping(m1.paths["a"], ip(b), timeout=0.3), "the network")
        kinds = {"none": b"", **TAGS}
        heard = {name: await asyncio.to_thread(arrives, m1, a.mac, b.mac, tag) for name, tag in kinds.items()}
    assert heard == {"none": True, **dict.fromkeys(TAGS, False)}


def arrives(machine: Machine, source: str, target: str, tag: bytes) -> bool:
    """Whether a frame with this tag, from a to b, is seen at b in any form."""

    def tap() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sock.bind(("eth0", 3))
        return sock

    with within(machine.paths["b"], tap) as there, within(machine.paths["a"], tap) as here:
        there.settimeout(0.1)
        frame = bytes.fromhex((target + source).replace(":", "")) + tag + b"\x08\0"
        here.send(frame + udp4("10.0.0.2", "10.0.0.3", 9, b"tagged frame"))
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                if b"tagged frame" in there.recv(2000):
                    return True
            except TimeoutError:
                continue
        return False
