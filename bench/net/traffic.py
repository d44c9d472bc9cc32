"""Two containers on one machine, on two, and through Open vSwitch: TCP throughput (iperf3) and round trips.

Ours and what one would make by hand stand side by side, in namespaces of their own, and take short turns; a ratio is
the median of the ratios pair by pair. They run before what else the machine does (nice -15). By hand: a bridge with
veths and no rules; the same with a kernel VXLAN whose forwarding is static; and an Open vSwitch of its own with two
flows, port to port, on the same kind of datapath, with as many ports, since the one in user space asks each of them
for packets in turn. Ours has its rules: port security, policies, connection tracking.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.errors import NetError
from hawser.netd.ovs.drivers.instance import Instance
from hawser.netd.ovs.drivers.offload import sum_before_sending
from hawser.netd.ovs.drivers.openflow import OpenFlow
from hawser.netd.ovs.drivers.ovsdb import Ovsdb
from hawser.netd.ovs.rows import BridgeRow, PortRow
from hawser.store import SqliteStore

from ..row import Row
from . import apart, echo
from .machine import Machine, by_hand, hand_box, hand_tunnel, wire

TURNS, SLICES, SLICE = 40, 100, 0.15
MACS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
HAND = ("10.1.0.2/24", "10.1.0.3/24")
# what iperf3 sends in a turn
MEGABYTES = {"bridge": 500, "vxlan": 250, "ovs": 25}
CASES = {
    "bridge": ("one machine, bridge", "hand-made bridge with veths"),
    "vxlan": ("two machines, bridge", "hand-made kernel VXLAN, static forwarding"),
    "ovs": ("one machine, ovs", "two flows by hand on the same datapath"),
}
Pair = tuple[Path, Path, str]


def rows() -> list[Row]:
    """Throughput and round trips of each case."""
    return [row for case in CASES for row in _rows(case)]


def _rows(case: str) -> list[Row]:
    answer = apart.run("bench.net.traffic", case)
    where, peer = CASES[case]
    if isinstance(answer, str):
        return [Row(what=f"TCP, {where}", ours=0, unit="", need=">= 0.95", ok=False, peer_name=peer, note=answer)]
    return [
        _row(f"TCP throughput, {where}", "Gbit/s", peer, *answer["tcp"]),
        _row(f"TCP round trips, {where}", "/s", peer, *answer["trips"]),
    ]


def _row(what: str, unit: str, peer: str, ours: list[float], theirs: list[float]) -> Row:
    ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    ratio = median(ratios)
    return Row(
        what=what,
        ours=median(ours),
        unit=unit,
        need=">= 0.95 of the peer",
        ok=ratio >= 0.95,
        peer=median(theirs),
        peer_name=peer,
        note=f"{len(ratios)} pairs: ratio {ratio:.3f}, {ratios[0]:.2f}-{ratios[-1]:.2f}; "
        f"ours {min(ours):.4g}-{max(ours):.4g}, peer {min(theirs):.4g}-{max(theirs):.4g}",
    )


async def measure(directory: Path, words: list[str]) -> Any:
    """One case: both sides made, then measured in turn."""
    case = words[0]
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    store = await SqliteStore.open(directory / "store")
    make = {"bridge": _bridge, "vxlan": _vxlan, "ovs": _ovs}[case]
    try:
        ours, theirs, end = await make(directory, store)
    except NetError as error:
        return str(error)
    try:
        tcp = _turns(TURNS, [partial(_iperf, *side, MEGABYTES[case]) for side in (ours, theirs)])
        return {"tcp": tcp, "trips": _trips(ours, theirs)}
    finally:
        await end()


async def _bridge(directory: Path, store: SqliteStore) -> tuple[Pair, Pair, Callable[[], Any]]:
    machine = await _one(directory, store, "bridge")
    ours = await _boxes(machine, machine)
    hand = by_hand(directory, "p1")
    near, far = (hand_box(directory, hand, f"h{n}", HAND[n], MACS[n], 1500) for n in (0, 1))
    return ours, (near, far, _ip(HAND[1])), machine.stop


async def _vxlan(directory: Path, store: SqliteStore) -> tuple[Pair, Pair, Callable[[], Any]]:
    addresses = "192.0.2.1", "192.0.2.2"
    machines = [Machine(store, f"m{n}", directory, address) for n, address in enumerate(addresses, 1)]
    wire(machines[0].path, machines[1].path, 0)
    for machine in machines:
        await machine.start()
    await machines[0].net.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24", "fd00::/64"]})
    ours = await _boxes(*machines)
    hands = [by_hand(directory, f"p{n}") for n in (1, 2)]
    wire(hands[0], hands[1], 1)
    boxes = [hand_box(directory, hands[n], f"h{n}", HAND[n], MACS[n], 1450) for n in (0, 1)]
    for n in (0, 1):
        hand_tunnel(hands[n], addresses[n], addresses[1 - n], [MACS[1 - n]], 1450)

    async def end() -> None:
        for machine in machines:
            await machine.stop()

    return ours, (boxes[0], boxes[1], _ip(HAND[1])), end


async def _ovs(directory: Path, store: SqliteStore) -> tuple[Pair, Pair, Callable[[], Any]]:
    machine = await _one(directory, store, "ovs")
    ours = await _boxes(machine, machine)
    hand = directory / "p1.ns"
    netns.create(hand, netns.lo_up)
    near, far = (hand_box(directory, hand, f"h{n}", HAND[n], MACS[n], 1500, bridged=False) for n in (0, 1))

    async def launch(start: Callable[[], None]) -> None:
        netns.inside(hand, start)

    instance = Instance(directory / "hand", directory / "hand", system=None, launch=launch)
    paths = await instance.ensure()
    await instance.programmed()
    ovsdb = Ovsdb(paths.db, "hand")
    bridges = {name: BridgeRow(name=name, datapath=paths.datapath) for name in ("brh", "bru")}
    ports = {f"h{n}": PortRow(bridge="brh", ifname=f"h{n}") for n in (0, 1)}
    ports |= {name: PortRow(bridge=bridge, ifname=name) for name, bridge in (("gate0", "brh"), ("up0", "bru"))}
    netns.inside(hand, _idle)
    await ovsdb.settled(await ovsdb.apply({**bridges, **ports}))
    numbers = await ovsdb.ofports()
    one, other = numbers["h0"], numbers["h1"]
    await OpenFlow(paths).replace("brh", [f"in_port={a},actions=output:{b}" for a, b in ((one, other), (other, one))])
    if paths.datapath == "netdev":
        for box in (near, far):
            netns.inside(box, lambda: sum_before_sending("eth0"))

    async def end() -> None:
        await ovsdb.close()
        await instance.stop()
        await machine.net.teardown()
        await machine.stop()

    return ours, (near, far, _ip(HAND[1])), end


def _idle() -> None:
    """Ports that only stand there, as a gateway and a way out do."""
    with Netlink() as there:
        there.do([netlink.new_veth(name, f"{name}x") for name in ("gate0", "up0")])


async def _one(directory: Path, store: SqliteStore, kind: str) -> Machine:
    machine = Machine(store, "m1", directory)
    await machine.start()
    spec = {"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24", "fd00::/64"], "kind": kind}
    try:
        await machine.net.create_network(spec)
    except NetError:
        await machine.stop()
        raise
    return machine


async def _boxes(one: Machine, other: Machine) -> Pair:
    (near, _), (far, attachment) = await one.box("a"), await other.box("b")
    return near, far, str(attachment.addresses[0].ip)


def _ip(text: str) -> str:
    return text.partition("/")[0]


def _turns(turns: int, sides: Sequence[Callable[[], float]]) -> list[list[float]]:
    """Both in turn, whoever is first changing; the first turn does not count."""
    found: list[list[float]] = [[], []]
    for turn in range(-1, turns):
        for side in (0, 1) if turn % 2 else (1, 0):
            value = sides[side]()
            if turn >= 0:
                found[side].append(value)
    return found


def _trips(*sides: Pair) -> list[list[float]]:
    """Round trips a second."""
    lines = [echo.Line(*side) for side in sides]
    try:
        return _turns(SLICES, [partial(line.rate, SLICE) for line in lines])
    finally:
        for line in lines:
            line.close()


def _iperf(near: Path, far: Path, address: str, megabytes: int) -> float:
    """Gbit/s from the first to the second, of so much."""
    command = ["iperf3", "-s", "-1", "-A", "0"]
    server = netns.inside(far, lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        for _ in range(200):
            words = ["iperf3", "-c", address, "-n", f"{megabytes}M", "-A", "1", "-J"]
            process = netns.inside(near, lambda: subprocess.Popen(words, stdout=subprocess.PIPE, text=True))  # noqa: B023
            answer = json.loads(process.communicate(timeout=60)[0])
            if "error" not in answer:
                return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9
            time.sleep(0.05)  # the server is not listening yet
        raise RuntimeError(f"iperf3: {answer['error']}")
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    apart.main(measure)
