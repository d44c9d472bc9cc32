"""Encrypted networks over several machines, for real: nothing of them is ever on the wire in the clear."""

import asyncio
import json
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from hawser.netd import model, parse
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.nft import Nft
from hawser.netd.errors import Unavailable
from hawser.netd.model import SEALED_PORT, TUNNEL_PORTS, VXLAN_PORT, Network
from hawser.netd.switching import PORTS
from hawser.netd.wireguard.drivers.probe import Flavour, Found
from hawser.netd.wireguard.drivers.thread import OverlayThread
from hawser.netd.wireguard.specs import ifname_of, inner_address
from hawser.store import Store
from tests.netd.machines import ping, silent, udp4, within
from tests.netd.test_overlay import Machine, connected, ip
from tests.netd.test_overlay import until as soon

from .wire import WIREGUARD, Stream, captured

pytestmark = pytest.mark.root
QUICK = 8.0
NONE = Found(flavour=None, reason="the kernel has no WireGuard and wireguard-go is not installed; install wireguard-go")
Make = Callable[..., Machine]


@pytest.fixture
def make(store: Store, rundir: Path, flavour: Flavour, sockets: Path) -> Make:
    """A machine with WireGuard, or `without`; keys change every `period` seconds."""

    def one(number: int, *, without: bool = False, period: float = 3600.0) -> Machine:
        found = NONE if without else Found(flavour=flavour)

        def overlay(machine: str, instance: str, data: Path, run: Path) -> OverlayThread:
            return OverlayThread(machine, instance, data, run, period=period, look=lambda: found)

        return Machine(store, f"m{number}", number, rundir, data=rundir / f"m{number}.data", overlay=overlay)

    return one


@asynccontextmanager
async def network(*machines: Machine, **fields: object) -> AsyncIterator[None]:
    """The machines on one wire, and an encrypted network; its ports' ways are to be waited for."""
    async with connected([*machines]):
        spec = {"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24", "fd00::/64"]}
        await machines[0].net.create_network({**spec, "kind": "bridge", "encrypted": True, **fields})
        yield


async def until(condition: Callable[[], object], what: str, timeout: float = 60) -> None:
    """With the patience that an emulated machine needs."""
    await soon(condition, what, timeout)


async def reach(source: Machine, name: str, target: object) -> None:
    await until(lambda: ping(source.paths[name], target, timeout=0.3), f"a way from {name} to {target}")


def interfaces(machine: Machine) -> list[str]:
    """The WireGuard interfaces of a machine."""
    return [name for _, name in netns.inside(machine.path, socket.if_nameindex) if name.startswith("hww")]


def carry(source: str, target: str, host: str, data: bytes) -> bytes:
    """A TCP stream between sandboxes; returns what arrived."""
    with within(target, lambda: socket.create_server(("", 5000))) as server:
        client = within(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        with client:
            client.settimeout(10)
            client.connect((host, 5000))
            taker, _ = server.accept()
            with taker:
                taker.settimeout(10)
                found = bytearray()
                for start in range(0, len(data), 1 << 16):
                    part = data[start : start + (1 << 16)]
                    client.sendall(part)
                    while len(found) < start + len(part):
                        found += taker.recv(1 << 16)
                return bytes(found)


async def test_an_encrypted_network_spans_machines_and_nothing_is_in_the_clear(make: Make) -> None:
    m1, m2, m3 = (make(number) for number in (1, 2, 3))
    async with network(m1, m2, m3):
        with captured() as wire:
            a, b, c = await m1.box("a", "t", "n"), await m2.box("b", "t", "n"), await m3.box("c", "t", "n")
            for source, name, target in ((m1, "a", b), (m2, "b", c), (m3, "c", a)):
                await reach(source, name, ip(target))
                await reach(source, name, ip(target, 6))
            assert m1.net.attachments("a")[0].mtu == 1500 - 60 - 70
            data = b"the quick brown fox " * 50_000
            assert await asyncio.to_thread(carry, m1.paths["a"], m2.paths["b"], ip(b), data) == data
        assert await m1.net.plan() == ()
        assert m1.net.statuses() == ()
    assert len(wire.to(*WIREGUARD)) > 500
    assert wire.clear == []
    assert not any(b"quick brown" in frame for frame in wire.frames)
    assert max(map(len, wire.to(*WIREGUARD))) == 14 + 1500, "full packets, and no fragments"


async def test_keys_change_under_traffic_without_a_lost_packet(make: Make, store: Store) -> None:
    m1, m2 = make(1, period=QUICK), make(2, period=QUICK)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        b = await m2.box("b", "t", "n")
        await reach(m1, "a", ip(b))
        keys = set[str]()

        def changed() -> bool:
            own = m2.net.fabric.endpoints.get("m1")
            keys.update({own.public_key or ""} if own else ())
            return len(keys) >= 4

        with captured() as wire, Stream(m1.paths["a"], ip(b)) as stream:
            await until(changed, "three changes of keys", 120)
    assert stream.sent > 500
    assert stream.lost == []
    assert wire.clear == []


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
async def test_a_killed_wireguard_go_is_started_again_and_nothing_leaves_meanwhile(make: Make, sockets: Path) -> None:
    """Even where the kernel would route what goes to the encrypted overlay's addresses to the wire."""
    m1, m2 = make(1), make(2)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        b = await m2.box("b", "t", "n")
        await reach(m1, "a", ip(b))
        for machine in (m1, m2):
            netns.inside(machine.path, lambda machine=machine: astray(machine))  # type: ignore[misc]
        with captured() as wire, Stream(m1.paths["a"], ip(b)) as stream:
            await until(lambda: stream.answers > 20, "answers")
            before = interfaces(m1)
            for process in processes(sockets, m1):
                os.kill(process, signal.SIGKILL)
            await until(lambda: interfaces(m1) == before and len(before) == 2, "new processes")
            mark = stream.answers
            await until(lambda: stream.answers > mark + 50, "answers again")
        assert 0 < len(stream.lost) < stream.sent
    assert wire.clear == []


def astray(machine: Machine) -> None:
    """Have a machine send what has no better way to the wire, and all on the wire take it."""
    with Netlink() as here:
        index = socket.if_nametoindex("eth0")
        here.do([netlink.add_address(index, ip_interface(f"2001:db8::{machine.address.packed[-1]}/64"))])
        other = model.link_local("02:00:00:00:00:09")
        here.do([netlink.add_neighbour(index, other, "02:00:00:00:00:09"), netlink.add_default(index, other)])


def processes(sockets: Path, machine: Machine) -> list[int]:
    """The machine's wireguard-go processes."""
    found = []
    for slot in (0, 1):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(sockets / f"{ifname_of(f'{machine.name}0000000'[:8], slot)}.sock"))
            found.append(int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]))
    return found


async def test_the_rules_hold_what_the_routes_would_let_go(make: Make) -> None:
    """Without WireGuard's interfaces at all, and with a route to the wire, tunnels of the network are not on it."""
    m1, m2 = make(1), make(2)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        b = await m2.box("b", "t", "n")
        await reach(m1, "a", ip(b))
        await m1.pause()
        netns.inside(m1.path, lambda: astray(m1))

        def gone() -> None:
            names = [name for _, name in socket.if_nameindex() if name.startswith("hww")]
            with Netlink() as here:
                here.do([netlink.delete_link(name) for name in names])

        def unrule() -> None:
            nft = Nft()
            for line in nft.run("list tables").splitlines():
                nft.run(f"delete {line}")
            nft.close()

        await asyncio.to_thread(netns.inside, m1.path, gone)
        with captured() as wire:
            assert await asyncio.to_thread(silent, m1.paths["a"], ip(b))
        assert wire.clear == []
        await asyncio.to_thread(netns.inside, m1.path, unrule)
        await until(lambda: leaks(m1.paths["a"], ip(b)), "a leak: it is the rules that hold it")
        await m1.resume()
        await reach(m1, "a", ip(b))


def leaks(source: str, target: str) -> bool:
    """Whether an echo request is on the wire in the clear."""
    with captured() as wire:
        silent(source, target)
    return wire.clear != []


async def test_without_wireguard_a_network_that_demands_it_is_refused(make: Make) -> None:
    m1, m2 = make(1), make(2, without=True)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        await m2.net.make_sandbox("b")
        words = (
            f"network t/n demands encryption: {NONE.reason}, or agree to go without: hawser net set -t t n --insecure"
        )
        with pytest.raises(Unavailable) as refused:
            await m2.net.attach("b", tenant="t", network="n")
        assert str(refused.value) == words
        assert m2.net.attachments("b") == ()
        assert m2.net.statuses() == (), "a machine that has nothing to do with the network lacks nothing"
        await m2.net.create_network({"tenant": "t", "name": "plain", "subnets": ["10.1.0.0/24"]})
        assert await m2.net.attach("b", tenant="t", network="plain")


async def test_a_network_may_agree_to_go_without_and_takes_it_back(make: Make) -> None:
    """In the clear go only the tunnels to machines that cannot do else, and only as long as the network agrees."""
    m1, m2, m3 = make(1), make(2), make(3, without=True)
    async with network(m1, m2, m3, insecure=True):
        await m1.box("a", "t", "n")
        b, c = await m2.box("b", "t", "n"), await m3.box("c", "t", "n")
        await reach(m1, "a", ip(c))
        await reach(m1, "a", ip(b))
        await until(lambda: announced(m1, "m2") and announced(m2, "m1"), "their keys, at both")
        await reach(m1, "a", ip(b))
        await until(lambda: sealed(m1.paths["a"], ip(b)), "encryption between machines that have WireGuard")
        with captured() as wire:
            for _ in range(5):
                assert await asyncio.to_thread(ping, m1.paths["a"], ip(c))
        assert len(wire.to(VXLAN_PORT)) >= 10
        assert wire.to(SEALED_PORT) == []
        agreed = m1.net.fabric.networks["t/n"]
        await m1.net.objects.put(replace(agreed, insecure=False))
        await until(lambda: silent(m1.paths["a"], ip(c)), "the end of the consent")
        told = "network t/n: machine m3 has no WireGuard; its ports are not reached"
        await until(lambda: told in [status.reason for status in m1.net.statuses()], "what is wrong")
        await until(lambda: any("demands encryption" in status.reason for status in m3.net.statuses()), "and there")
        await until(lambda: not tunnels(m3), "no tunnel there")
        with captured() as wire:
            assert await asyncio.to_thread(silent, m1.paths["a"], ip(c))
            assert await asyncio.to_thread(silent, m3.paths["c"], ip(b))
            assert await asyncio.to_thread(ping, m1.paths["a"], ip(b))
        assert wire.clear == []


def sealed(source: str, target: str) -> bool:
    """Whether echo requests pass, and none of it is on the wire in the clear."""
    with captured() as wire:
        passed = [ping(source, target) for _ in range(5)]
    return all(passed) and len(wire.to(*WIREGUARD)) >= 10 and wire.clear == []


def tunnels(machine: Machine, tenant: str = "t") -> list[str]:
    """The VXLAN devices of a tenant on a machine."""
    path = machine.net.tenant_path(tenant)
    assert path is not None
    return [name for _, name in netns.inside(path, socket.if_nameindex) if name.startswith("hwx")]


async def test_nothing_is_sent_to_a_peer_without_a_key(make: Make, store: Store) -> None:
    """A machine whose record has no key is not spoken to, as long as that is so."""
    m1, m2 = make(1), make(2)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        b = await m2.box("b", "t", "n")
        await reach(m1, "a", ip(b))
        await m2.pause()
        record = m1.net.fabric.endpoints["m2"]
        bare = model.Endpoint(machine="m2", address=record.address, mtu=record.mtu)
        await store.put(f"{model.ENDPOINTS}m2", encoded(bare))
        await until(lambda: silent(m1.paths["a"], ip(b)), "the loss of its key")
        with captured() as wire:
            assert await asyncio.to_thread(silent, m1.paths["a"], ip(b))
        assert wire.clear == []
        await m2.resume()
        await reach(m1, "a", ip(b))


def encoded(endpoint: model.Endpoint) -> bytes:
    return json.dumps(parse.encode_endpoint(endpoint)).encode()


async def test_a_restart_of_the_node_leaves_traffic_flowing(make: Make, store: Store) -> None:
    m1, m2 = make(1), make(2)
    async with network(m1, m2):
        await m1.box("a", "t", "n")
        b = await m2.box("b", "t", "n")
        await reach(m1, "a", ip(b))
        told = m2.net.fabric.endpoints["m1"]
        with captured() as wire, Stream(m1.paths["a"], ip(b)) as stream:
            await until(lambda: stream.answers > 20, "answers")
            await m1.pause()
            mark = stream.answers
            await until(lambda: stream.answers > mark + 50, "answers without the node")
            await m1.resume()
            mark = stream.answers
            await until(lambda: stream.answers > mark + 100, "answers with the next one")
        assert stream.lost == []
        assert wire.clear == []
        assert m2.net.fabric.endpoints["m1"] == told


async def test_a_machine_that_is_gone_is_no_peer_any_more(make: Make, store: Store, flavour: Flavour) -> None:
    m1, m2, m3 = (make(number) for number in (1, 2, 3))
    async with network(m1, m2, m3):
        await m1.box("a", "t", "n")
        b, c = await m2.box("b", "t", "n"), await m3.box("c", "t", "n")
        await reach(m1, "a", ip(b))
        await reach(m1, "a", ip(c))
        await m3.pause()
        with Stream(m1.paths["a"], ip(b)) as stream:
            await until(lambda: stream.answers > 20, "answers")
            await store.delete(f"{model.ENDPOINTS}m3")  # as its lease's end does
            await until(lambda: peers(m1) == {"m2"}, "a peer less")
            assert await asyncio.to_thread(silent, m1.paths["a"], ip(c))
        assert stream.lost == []
        await m3.resume()
        await reach(m1, "a", ip(c))


def peers(machine: Machine) -> set[str]:
    """The machines that have a way through WireGuard's interfaces."""

    def look() -> set[str]:
        with Netlink() as here:
            found = {route.subnet.network_address for route in here.routes() if route.subnet.version == 6}
        return {name for name in ("m1", "m2", "m3") if name != machine.name and inner_address(name) in found}

    return netns.inside(machine.path, look)


async def test_the_overlay_is_there_with_the_first_encrypted_network_and_goes_with_the_last(
    make: Make, rundir: Path
) -> None:
    m1, m2 = make(1), make(2)
    async with connected([m1, m2]):
        await m1.net.create_network({"tenant": "t", "name": "plain"})
        await asyncio.sleep(1.5)
        assert interfaces(m1) == interfaces(m2) == []
        await m1.net.create_network({"tenant": "t", "name": "n", "encrypted": True})
        for one, other in ((m1, "m2"), (m2, "m1")):
            await until(partial(announced, one, other), "keys, before any port")
        key = rundir / "m1.data" / "wireguard.key"
        assert key.stat().st_mode & 0o777 == 0o600
        await m1.net.remove_network("t", "n")
        await until(lambda: interfaces(m1) == interfaces(m2) == [], "the end of the overlay")
        await until(lambda: not announced(m1, "m2"), "and of its keys' announcement")
        assert key.exists()
    assert not key.exists(), "they go with the node"


def announced(machine: Machine, other: str) -> bool:
    """Whether a machine knows the keys of another."""
    endpoint = machine.net.fabric.endpoints.get(other)
    return endpoint is not None and endpoint.public_key is not None


async def test_who_is_on_the_wire_cannot_put_frames_into_an_encrypted_network(make: Make) -> None:
    """In a network of its own kind a forged tunnel's frame arrives: the very same is not taken by the encrypted one."""
    m1, m2 = make(1), make(2)
    async with network(m1, m2):
        await m2.net.create_network({"tenant": "p", "name": "n", "subnets": ["10.0.0.0/24"], "kind": "bridge"})
        await m2.box("b", "t", "n")
        await m2.box("p", "p", "n")
        netns.inside(m2.path, lambda: astray(m2))
        stranger()
        sealed, plain = (m2.net.fabric.networks[key] for key in ("t/n", "p/n"))
        await until(lambda: tunnels(m2), "its tunnel")
        assert await asyncio.to_thread(forged, m2, "p", plain, "192.0.2.2", VXLAN_PORT), "the frame is good"
        for port in (VXLAN_PORT, SEALED_PORT):
            for target in ("192.0.2.2", "2001:db8::2", str(inner_address("m2"))):
                assert not await asyncio.to_thread(forged, m2, "b", sealed, target, port)


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
async def test_a_tenant_cannot_put_frames_into_anothers_network(make: Make) -> None:
    """What a stranger on the wire could, where tunnels are in the clear, a container cannot."""
    m1, m2 = make(1), make(2)
    async with connected([m1, m2]):
        for tenant in ("red", "blue"):
            spec = {"tenant": tenant, "name": "n", "subnets": ["10.0.0.0/24"], "kind": "bridge"}
            await m1.net.create_network(spec)
        await m1.box("r", "red", "n")
        await m2.box("b", "blue", "n")
        await until(lambda: tunnels(m2, "blue"), "its tunnel")
        stranger()
        blue = m2.net.fabric.networks["blue/n"]
        assert await asyncio.to_thread(forged, m2, "b", blue, "192.0.2.2", VXLAN_PORT), "the frame is good"
        assert not await asyncio.to_thread(forged, m2, "b", blue, "192.0.2.2", VXLAN_PORT, m1.paths["r"])
    assert {*PORTS.values()} < {*TUNNEL_PORTS}


def stranger() -> None:
    """This namespace, where the wire is, becomes a host on it, with a route to inner addresses by way of m2."""
    with Netlink() as here:
        index = socket.if_nametoindex("wire0")
        for one in ("192.0.2.9/24", "2001:db8::9/64"):
            here.do([netlink.add_address(index, ip_interface(one))])
        here.do([netlink.add_default(index, ip_address("2001:db8::2"))])


def forged(target: Machine, box: str, into: Network, host: str, port: int, source: str | None = None) -> bool:
    """Whether a datagram arrives in a sandbox that a stranger, or a program in a sandbox, wraps as a tunnel would."""
    with within(target.paths[box], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("", 7))
        server.settimeout(0.3)
        mac = next(each.mac for each in target.net.attachments(box))
        address = next(each for each in target.net.attachments(box)[0].addresses if each.version == 4).ip
        inner = bytes.fromhex(mac.replace(":", "") + into.gateway_mac.replace(":", "")) + b"\x08\0"
        inner += udp4("10.0.0.1", str(address), 7, b"forged")
        header = struct.pack("!II", 0x08000000, into.vni << 8)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with within(source, lambda: socket.socket(family, socket.SOCK_DGRAM)) as client:
            client.sendto(header + inner, (host, port))
        try:
            return server.recv(100) == b"forged"
        except TimeoutError:
            return False


@pytest.mark.parametrize("kind", ["ovs"])
async def test_networks_of_kind_ovs_are_encrypted_too(make: Make, kind: str) -> None:
    m1, m2 = make(1), make(2)
    async with network(m1, m2, kind=kind):
        with captured() as wire:
            await m1.box("a", "t", "n")
            b = await m2.box("b", "t", "n")
            await reach(m1, "a", ip(b))
            await reach(m1, "a", ip(b, 6))
        assert m1.net.statuses() == ()
    assert wire.to(*WIREGUARD)
    assert wire.to(*PORTS.values()) == []
    assert wire.clear == []
