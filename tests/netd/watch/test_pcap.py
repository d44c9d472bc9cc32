"""Captures are whole pcap files of what passed a port, and end where they should."""

import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hawser.netd.drivers import netlink, netns
from hawser.netd.errors import Invalid, NetError, NotFound
from hawser.netd.model import Direction
from hawser.netd.watch.drivers.pcap import Captured, capture
from hawser.netd.watch.pcapfile import Limits, tagged
from tests.netd.machines import ping
from tests.netd.yard import Yard, say, yard
from tests.wait import until

pytestmark = pytest.mark.root


@pytest.fixture
def place(rundir: Path) -> Iterator[Yard]:
    with yard(rundir) as found:
        assert ping(found.sandbox(1), "10.9.0.2")
        yield found


class Run:
    """A capture under way on a thread."""

    def __init__(self, place: Yard, **options: Any) -> None:
        self.file, self.stop = io.BytesIO(), threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._place, self._options = place, options

    def _go(self) -> Captured:
        return capture("h1", self.file, space=self._place.tenant, stop=self.stop, **self._options)

    @contextmanager
    def going(self) -> Iterator[None]:
        """Until it has begun; ended at the end."""
        self._future = self._thread.submit(self._go)
        until(lambda: self.file.tell() >= 24 or self._future.done(), what="a capture")
        yield

    def end(self) -> Captured:
        try:
            return self._future.result(10)
        finally:
            self._thread.shutdown()

    def finish(self, needle: bytes) -> Captured:
        """Stop when a frame is in the file."""
        until(lambda: needle in self.file.getvalue(), what="the frame")
        self.stop.set()
        return self.end()


def records(data: bytes) -> list[tuple[int, bytes, int]]:
    """Time in nanoseconds, frame and length of each, as the format has it."""
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 1)
    found, offset = [], 24
    while offset < len(data):
        seconds, nanoseconds, kept, length = struct.unpack_from("<IIII", data, offset)
        assert nanoseconds < 1_000_000_000
        found.append((seconds * 10**9 + nanoseconds, data[offset + 16 : offset + 16 + kept], length))
        offset += 16 + kept
    assert offset == len(data)
    return found


def test_both_directions_with_their_time(place: Yard) -> None:
    run, begin = Run(place), time.time_ns()
    with run.going():
        say(place.sandbox(1), "10.9.0.2", b"from the port")
        say(place.sandbox(2), "10.9.0.1", b"to the port")
        found = run.finish(b"to the port")
    entries = records(run.file.getvalue())
    payloads = [frame[42:] for _, frame, _ in entries]
    assert payloads.index(b"from the port") < payloads.index(b"to the port")
    assert all(begin <= stamp <= time.time_ns() for stamp, _, _ in entries)
    assert (found.packets, found.octets, found.lost) == (len(entries), len(run.file.getvalue()), 0)
    assert found.reason == "stopped"


@pytest.mark.parametrize("direction", Direction)
def test_one_direction(place: Yard, direction: Direction) -> None:
    run = Run(place, directions=[direction])
    wanted = b"from the port" if direction is Direction.EGRESS else b"to the port"
    with run.going():
        for _ in range(2):
            say(place.sandbox(1), "10.9.0.2", b"from the port")
            say(place.sandbox(2), "10.9.0.1", b"to the port")
        run.finish(wanted)
    payloads = {frame[42:] for _, frame, _ in records(run.file.getvalue())}
    assert payloads & {b"from the port", b"to the port"} == {wanted}


def test_a_frame_is_cut_to_the_snap_length_and_its_length_kept(place: Yard) -> None:
    run = Run(place, limits=Limits(snap=60), directions=[Direction.EGRESS])
    with run.going():
        say(place.sandbox(1), "10.9.0.2", b"x" * 1000)
        run.finish(b"xxxx")
    assert (60, 1042) in [(len(frame), length) for _, frame, length in records(run.file.getvalue())]


@pytest.mark.parametrize(("limits", "reason"), [
    (Limits(packets=3), "packets"),
    (Limits(octets=24 + 3 * 58 + 57), "bytes"),
    (Limits(seconds=0.2), "seconds"),
], ids=str)  # fmt: skip
def test_a_capture_is_bounded(place: Yard, limits: Limits, reason: str) -> None:
    run = Run(place, limits=limits, directions=[Direction.EGRESS])
    with run.going():
        for _ in range(20):
            say(place.sandbox(1), "10.9.0.2", b"")
        found = run.end()
    assert found.reason == reason
    assert found.packets == len(records(run.file.getvalue()))
    assert found.packets >= 20 if reason == "seconds" else 0 < found.packets <= 3
    assert found.octets == len(run.file.getvalue()) <= limits.octets


def test_a_link_that_goes_ends_it(place: Yard) -> None:
    run = Run(place)
    with run.going():
        place.place.netlink.do([netlink.delete_link("h1")])
        assert run.end().reason == "gone"


def test_what_cannot_be_captured_is_refused(place: Yard) -> None:
    with pytest.raises(NotFound, match="capture h9: No such device"):
        capture("h9", io.BytesIO(), space=place.tenant)
    with pytest.raises(Invalid, match="capture of 0 bytes"):
        capture("h1", io.BytesIO(), space=place.tenant, limits=Limits(snap=0))
    with pytest.raises(NetError, match="No such file"):
        capture("h1", io.BytesIO(), space=place.tenant.with_name("gone"))


def test_a_vlan_tag_is_where_it_was(place: Yard) -> None:
    frame = bytes.fromhex("020000000002 020000000001 8100 0007 0800") + b"tagged" + bytes(40)
    assert tagged(frame[:12] + frame[16:], 0, 7) == frame
    run = Run(place, directions=[Direction.EGRESS])
    with run.going():
        netns.inside_here(place.sandbox(1), lambda: _send(frame))
        run.finish(b"tagged")
    assert frame in [found for _, found, _ in records(run.file.getvalue())]


def _send(frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        raw.send(frame)
