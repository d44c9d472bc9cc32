"""Machines of the overlay's tests: a namespace each on one underlay, and a thread that is in it for life."""

import ctypes
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TypeVar

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.model import Endpoint
from hawser.netd.wireguard.drivers.overlay import EncryptedOverlay, Report
from hawser.netd.wireguard.drivers.probe import Flavour
from hawser.netd.wireguard.specs import inner_address
from tests.wait import until

T = TypeVar("T")
CLONE_NEWNET, MS_DETACH = 0x40000000, 2
ETH_P_ALL = 3
HOUR = 3600.0
UNDERLAY_MTU = 1500


class Machine:
    """One machine: `address` in the underlay; everything of it runs on its thread."""

    def __init__(self, name: str, base: Path, flavour: Flavour, *, period: float = 12 * HOUR, version: int = 4) -> None:
        self.name, self.instance = name, f"{name}{os.getpid()}"
        number = ord(name) - ord("a") + 1
        self.address = ip_address(f"192.0.2.{number}" if version == 4 else f"2001:db8::{number}")
        self.inner = inner_address(name)
        self.path = base / f"{name}.netns"
        self.base, self.flavour, self.period = base / name, flavour, period
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        netns.create(self.path, prepare_sandbox)
        self.do(self._enter)
        self.open()

    def _enter(self) -> None:
        with open(self.path) as there:
            assert ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) == 0

    def open(self) -> None:
        """Start, or start again: nothing is remembered but what is on disk and in the kernel."""
        self.overlay = self.do(
            lambda: EncryptedOverlay(
                self.name, self.instance, self.base, self.base, flavour=self.flavour, period=self.period
            )
        )

    def do(self, act: Callable[[], T]) -> T:
        return self._thread.submit(act).result()

    def step(self, records: Sequence[Endpoint], now: float) -> Report:
        return self.do(lambda: self.overlay.step(self.address, UNDERLAY_MTU, records, now))

    def socket(self, *args: int) -> socket.socket:
        return self.do(lambda: socket.socket(*args))

    def cable(self, other: "Machine") -> None:
        """Two machines on one cable."""

        def lay() -> None:
            with Netlink() as rtnetlink, open(other.path) as there:
                rtnetlink.do([netlink.new_veth("eth0", "eth0", peer_netns=there.fileno(), mtu=UNDERLAY_MTU)])

        self.do(lay)
        for machine in (self, other):
            machine.do(machine._configure)

    def _configure(self) -> None:
        with Netlink() as rtnetlink:
            length = 24 if self.address.version == 4 else 64
            rtnetlink.do([netlink.set_link("eth0")])
            index = socket.if_nametoindex("eth0")
            rtnetlink.do([netlink.add_address(index, ip_interface(f"{self.address}/{length}"))])

    def close(self) -> None:
        self.do(self.overlay.remove)
        self.do(self.overlay.close)
        assert [name for name in self.do(links) if name.startswith("hww")] == []
        self._thread.shutdown()
        netns.remove(self.path)


def links() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


class Cluster:
    """Machines and what they published; `turn` lets each of them step once, in order."""

    def __init__(self, *machines: Machine) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self.records: dict[str, Endpoint] = {}
        self.reports: dict[str, Report] = {}

    def turn(self, now: float | None = None) -> None:
        for name, machine in self.machines.items():
            report = machine.step([*self.records.values()], now or time.time())
            self.reports[name], self.records[name] = report, report.own

    def settle(self, now: Callable[[], float] = time.time, timeout: float = 30) -> None:
        """Turn until everybody has shaken hands with everybody."""

        def agreed() -> bool:
            self.turn(now())
            wanted = len(self.machines) - 1
            return all(sum(map(bool, one.handshakes.values())) == wanted for one in self.reports.values())

        until(agreed, timeout=timeout, what="a handshake of everybody with everybody")


class Pings:
    """Echo requests from one machine to another's inner address, one every `interval` seconds, until stopped."""

    def __init__(self, source: Machine, target: Machine, interval: float = 0.005) -> None:
        self._socket = source.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
        self._socket.settimeout(0.5)
        self._target, self._interval = str(target.inner), interval
        self._over = threading.Event()
        self.sent: dict[int, float] = {}
        self.answered: set[int] = set()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._receive)]

    def __enter__(self) -> "Pings":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _send(self) -> None:
        number = 0
        while not self._over.wait(self._interval):
            number += 1
            self.sent[number] = time.monotonic()
            try:
                self._socket.sendto(struct.pack("!BBHHHI", 128, 0, 0, 0, 0, number), (self._target, 0))
            except OSError:  # no route for a moment: lost as well
                continue

    def _receive(self) -> None:
        idle = False
        while not (idle and self._over.is_set()):
            try:
                data = self._socket.recv(100)
            except TimeoutError:
                idle = True
                continue
            idle = False
            self.answered.add(struct.unpack_from("!I", data, 8)[0])

    @property
    def lost(self) -> list[int]:
        """The numbers without an answer, once stopped."""
        return sorted(set(self.sent) - self.answered)


def answers(source: Machine, target: Machine, timeout: float = 2.0) -> bool:
    """Whether an echo request to the inner address is answered."""
    with source.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6) as client:
        client.settimeout(timeout)
        try:
            client.sendto(b"\x80\0\0\0\0\0\0\1hello", (str(target.inner), 0))
            return b"hello" in client.recv(100)
        except OSError:
            return False


@contextmanager
def captured(machine: Machine) -> Iterator[list[bytes]]:
    """Every frame of the underlay meanwhile; complete when the block ends."""
    tap = machine.do(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
    tap.bind(("eth0", 0))
    tap.settimeout(0.2)
    frames: list[bytes] = []
    yield frames
    try:
        while len(frames) < 10000:
            frames.append(tap.recv(2000))
    except TimeoutError:
        pass
    tap.close()
