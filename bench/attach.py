"""Attaching a container to a network: ours (store, claims, plan, marks) beside the bare calls for the same result.

Each runs in a fresh process in network and mount namespaces of its own, up to 500 attachments, the two taking turns for
three rounds; a round begins when the kernel has taken down the namespaces of the one before (it does so by and by).
The bare calls are what any program must ask of the kernel: a namespace kept by a bind mount with its loopback up, a
veth pair into it on a bridge, up, an IPv4 and an IPv6 address, default routes, and one published port (an element in
each of two maps); messages are made beforehand, nothing is stored, named, checked or undone.
"""

import asyncio
import ctypes
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_address, ip_interface
from pathlib import Path

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.nft import Nft
from hawser.netd.model import Publish
from hawser.store import SqliteStore

from .row import Row

COUNT, PART, ROUNDS = 500, 50, 3
NAME = "bare netlink and nft calls"
BARE = """table inet bare {
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump translate; }
  chain translate { dnat ip to meta l4proto . th dport map @any4; dnat ip6 to meta l4proto . th dport map @any6; }
  chain postrouting { type nat hook postrouting priority srcnat; ip saddr 10.99.0.0/16 oifname != bare0 masquerade; }
}"""


def rows() -> list[Row]:
    """The cost of an attachment at 1-50 and at 450-500, beside the bare calls, and how flat it is."""
    rounds: dict[str, list[list[float]]] = {"bare": [], "ours": []}
    before = _namespaces()
    for _ in range(ROUNDS):
        for which, times in rounds.items():
            times.append(_times(which))
            _settle(before)
    first, last = (
        {which: _p50([second for times in of for second in times[part]]) for which, of in rounds.items()}
        for part in (slice(PART), slice(-PART, None))
    )
    return [
        _cost(f"attach, p50 of 1-{PART}", first),
        _cost(f"attach, p50 of {COUNT - PART}-{COUNT}", last),
        _growth(last["ours"] / first["ours"], last["bare"] / first["bare"]),
    ]


def _times(which: str) -> list[float]:
    """Seconds of each attachment of one side."""
    command = [sys.executable, "-m", "bench.attach", which]
    answer = subprocess.run(command, input=f"{COUNT}\n", stdout=subprocess.PIPE, text=True, check=True)
    times: list[float] = json.loads(answer.stdout)
    return times


def _namespaces() -> int:
    """How many network namespaces the kernel has, roughly: it counts by the slab."""
    for line in Path("/proc/slabinfo").read_text().splitlines():
        if line.startswith("net_namespace "):
            return int(line.split()[1])
    return 0


def _settle(before: int) -> None:
    deadline = time.monotonic() + 10
    while _namespaces() > before + PART and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)


def _p50(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _cost(what: str, p50: dict[str, float]) -> Row:
    ours, bare = p50["ours"], p50["bare"]
    return Row(
        what=what, ours=ours, peer=bare, peer_name=NAME, unit="ms", need="<= 3x the bare calls", ok=ours <= 3 * bare
    )


def _growth(ours: float, bare: float) -> Row:
    return Row(
        what=f"attach, growth of p50 from 1 to {COUNT}",
        ours=ours,
        peer=bare,
        peer_name=NAME,
        unit="x",
        need="<= 1.3, or <= 1.15x the bare calls' growth",
        ok=ours <= max(1.3, 1.15 * bare),
        note="the kernel's part grows: each new end's IPv6 multicast goes to every port of the bridge, and sysctl and "
        "peer look-ups walk all namespaces; without IPv6 the bare calls stay flat",
    )


class Bare:
    """The peer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._netlink = Netlink()
        self._nft = Nft()
        self._nft.run(BARE)
        self._netlink.do([netlink.new_bridge("bare0")])
        self._bridge = socket.if_nametoindex("bare0")
        for address in ("10.99.0.1/16", "fd99::1/64"):
            self._netlink.do([netlink.add_address(self._bridge, ip_interface(address))])

    def attach(self, number: int) -> float:
        """Seconds for one attachment; the messages are made before."""
        path = self._directory / f"bare{number}"
        name, four, six = f"b{number}", f"10.99.{1 + number // 250}.{1 + number % 250}", f"fd99::{number + 2:x}"
        inside = [
            netlink.set_link("eth0"),
            netlink.add_address(2, ip_interface(f"{four}/16")),
            netlink.add_address(2, ip_interface(f"{six}/64")),
            netlink.add_default(2, ip_address("10.99.0.1")),
            netlink.add_default(2, ip_address("fd99::1")),
        ]
        elements = (
            f"add element inet bare any4 {{ tcp . {30000 + number} : {four} . 80 }}\n"
            f"add element inet bare any6 {{ tcp . {30000 + number} : {six} . 80 }}\n"
        )

        def configure() -> None:
            with Netlink() as there:
                there.do(inside)

        started = time.perf_counter()
        netns.create(path, netns.lo_up)
        with open(path) as target:
            veth = netlink.new_veth(name, "eth0", peer_netns=target.fileno(), master=self._bridge)
            self._netlink.do([veth])
        netns.inside(path, configure)
        self._nft.run(elements)
        return time.perf_counter() - started


async def ours(directory: Path) -> None:
    """Answer each number on stdin with the seconds of that many attachments."""
    store = await SqliteStore.open(directory / "store")
    agent = NetAgent(store, "bench", directory)
    await agent.open()
    await agent.create_network({"tenant": "t", "name": "n", "subnets": ["10.98.0.0/16", "fd98::/64"]})
    number = 0
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started = time.perf_counter()
            await agent.make_sandbox(f"s{number}")
            publish = [Publish(host_port=20000 + number, port=80)]
            await agent.attach(f"s{number}", tenant="t", network="n", publish=publish)
            times.append(time.perf_counter() - started)
            number += 1
        print(json.dumps(times), flush=True)
    await agent.close()
    await store.close()


def bare(directory: Path) -> None:
    """The same for the bare calls."""
    peer = Bare(directory)
    number = 0
    for line in sys.stdin:
        print(json.dumps([peer.attach(number + one) for one in range(int(line))]), flush=True)
        number += int(line)


def main(which: str) -> None:
    """One side, apart from the machine; the namespaces go with the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000 | 0x40000000) or libc.mount(b"none", b"/", None, 16384 | 1 << 18, None):
        raise OSError(ctypes.get_errno(), "attach needs root: cannot make namespaces")
    netns.lo_up()
    with tempfile.TemporaryDirectory(prefix="hw-bench-") as name:
        directory = Path(name)
        if which == "ours":
            asyncio.run(ours(directory))
        else:
            bare(directory)
        for path in [*directory.glob("bare*"), *directory.glob("netns/*"), *directory.glob("tenants/*")]:
            netns.remove(path)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
