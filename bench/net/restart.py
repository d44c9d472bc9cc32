"""A node that restarts under traffic: the agent lets go and another takes over, while 1,000 datagrams a second pass.

Over a bridge on one machine, between two machines over VXLAN, and through Open vSwitch; each way a stream of its own.
Sender and receiver are processes; what was sent and did not arrive is lost.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hawser.netd.drivers import netns
from hawser.netd.errors import NetError
from hawser.store import SqliteStore

from ..row import Row
from . import apart
from .machine import Machine, wire

RESTARTS, RATE, PORT = 5, 1000, 7008
CASES = {"bridge": "one machine, bridge", "vxlan": "two machines, bridge", "ovs": "one machine, ovs"}


def rows() -> list[Row]:
    """Datagrams lost in each case."""
    return [_row(case) for case in CASES]


def _row(case: str) -> Row:
    answer = apart.run("bench.net.restart", case)
    what = f"node restart under traffic, {CASES[case]}: lost"
    if isinstance(answer, str):
        return Row(what=what, ours=0, unit="datagrams", need="0 lost", ok=False, note=answer)
    sent, lost = sum(sent for sent, _ in answer), sum(sent - heard for sent, heard in answer)
    note = f"of {sent:,} in both directions at {RATE:,}/s each, over {RESTARTS} restarts"
    return Row(what=what, ours=lost, unit="datagrams", need="0 lost", ok=lost == 0 and sent > 0, note=note)


async def measure(directory: Path, words: Sequence[str]) -> Any:
    """(sent, received) of the stream each way."""
    store = await SqliteStore.open(directory / "store")
    names = [("m1", "192.0.2.1"), ("m2", "192.0.2.2")] if words[0] == "vxlan" else [("m1", None)]
    machines = [Machine(store, name, directory, address) for name, address in names]
    if len(machines) > 1:
        wire(machines[0].path, machines[1].path, 0)
    for machine in machines:
        await machine.start()
    try:
        return await _restarts(machines, "ovs" if words[0] == "ovs" else "bridge")
    except NetError as error:
        return str(error)
    finally:
        if words[0] == "ovs":
            await machines[0].net.teardown()
        for machine in machines:
            await machine.stop()


async def _restarts(machines: list[Machine], kind: str) -> list[tuple[int, int]]:
    spec = {"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24"], "kind": kind}
    await machines[0].net.create_network(spec)
    (near, one), (far, other) = await machines[0].box("a"), await machines[-1].box("b")
    first, second = str(one.addresses[0].ip), str(other.addresses[0].ip)
    await _answers(near, far, second)
    streams = [Stream(near, far, second), Stream(far, near, first)]
    await asyncio.sleep(0.5)
    for _ in range(RESTARTS):
        for machine in machines:
            await machine.restart()
        await asyncio.sleep(0.5)
    return [await asyncio.to_thread(stream.end) for stream in streams]


async def _answers(near: Path, far: Path, address: str) -> None:
    """Wait until datagrams arrive at all."""
    with netns.inside(far, lambda: _bound(address)) as there, netns.inside(near, _unbound) as here:
        there.setblocking(False)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            here.sendto(b"?", (address, PORT))
            await asyncio.sleep(0.1)
            try:
                there.recv(10)
            except BlockingIOError:
                continue
            return
    raise RuntimeError("no datagram arrives")


def _unbound() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _bound(address: str) -> socket.socket:
    found = _unbound()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    found.bind((address, PORT))
    return found


class Stream:
    """Datagrams from one namespace to an address of another, until told to end."""

    def __init__(self, near: Path, far: Path, address: str) -> None:
        with netns.inside(far, lambda: _bound(address)) as there, netns.inside(near, _unbound) as here:
            here.connect((address, PORT))
            self._receiver, self._sender = _process("receive", there), _process("send", here)

    def end(self) -> tuple[int, int]:
        """How many were sent, how many arrived."""
        sent = int(self._sender.communicate("\n", timeout=30)[0])
        time.sleep(0.5)  # the last are on their way
        return sent, int(self._receiver.communicate("\n", timeout=30)[0])


def _process(what: str, end: socket.socket) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.net.stream", what, str(end.fileno()), str(RATE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    os.set_inheritable(end.fileno(), True)
    return subprocess.Popen(command, pass_fds=[end.fileno()], text=True, **pipes)  # type: ignore[call-overload,no-any-return]


if __name__ == "__main__":
    apart.main(measure)
