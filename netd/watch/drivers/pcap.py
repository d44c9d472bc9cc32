"""Frames of one link into a pcap file: AF_PACKET (packet(7)), bounded in bytes, packets and time.

On a port's host end the kernel marks what it sends there as outgoing: that is the port's ingress. What the port sends
is seen before its rate holds it back, as it came: with segmentation offload a record may have 64 KiB and a checksum
that nobody has filled in. The socket waits in the namespace where it was made, so that only opening happens there.
"""

import select
import socket
import struct
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...drivers import netns
from ...errors import Denied, Invalid, NotFound
from ...model import Direction
from ..pcapfile import SNAP_MOST, Limits, header, record, tagged

ETH_P_ALL, OUTGOING = 3, 4
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40
BUFFER, LOOK = 8 << 20, 0.1  # bytes that may wait; seconds between two looks at `stop`
ALL = tuple(Direction)


class Sink(Protocol):
    """What a capture is written to."""

    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """`lost` frames came faster than they were written; `reason`: packets, bytes, seconds, stopped, or gone (the
    link)."""

    packets: int
    octets: int
    lost: int
    reason: str


def capture(
    ifname: str,
    file: Sink,
    *,
    space: Path | None = None,
    limits: Limits | None = None,
    directions: Collection[Direction] = ALL,
    stop: threading.Event | None = None,
) -> Captured:
    """Write the frames of a link, of the namespace kept at `space` or else the calling thread's, until a limit or
    `stop`.

    `directions` are the port's whose host end the link is. The file is a whole one at any moment after a flush. Blocks;
    never on the event loop's thread. NotFound, Denied, Invalid, NetError.
    """
    limits = limits or Limits()
    if not 0 < limits.snap <= SNAP_MOST or limits.seconds <= 0:
        raise Invalid(f"capture of {limits.snap} bytes a frame for {limits.seconds} s: give 1-{SNAP_MOST}, and a time")
    with _open(ifname) if space is None else netns.inside_here(space, lambda: _open(ifname)) as sock:
        return _Capture(sock, file, limits, frozenset(directions)).run(stop or threading.Event())


def _open(ifname: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise Denied(f"capture {ifname}: {error.strerror}; run as root") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((ifname, ETH_P_ALL))
    except OSError as error:
        sock.close()
        raise NotFound(f"capture {ifname}: {error.strerror}") from error
    return sock


class _Capture:
    def __init__(self, sock: socket.socket, file: Sink, limits: Limits, directions: frozenset[Direction]) -> None:
        self._sock, self._file, self._limits, self._directions = sock, file, limits, directions
        self._buffer = bytearray(limits.snap)
        self._packets = self._octets = 0

    def run(self, stop: threading.Event) -> Captured:
        start = header(self._limits.snap)
        self._file.write(start)
        self._octets = len(start)
        deadline = time.monotonic() + self._limits.seconds
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        reason = ""
        while not reason:
            left = deadline - time.monotonic()
            if left <= 0 or stop.is_set():
                reason = "stopped" if stop.is_set() else "seconds"
            elif poll.poll(min(left, LOOK) * 1000):
                reason = self._take()
        self._file.flush()
        _, lost = struct.unpack("=II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return Captured(packets=self._packets, octets=self._octets, lost=lost, reason=reason)

    def _take(self) -> str:
        """Write what waits, a hundred at most; why it is over, or nothing."""
        for _ in range(100):
            try:
                length, ancillary, _, peer = self._sock.recvmsg_into([self._buffer], 256, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError:
                return "gone"
            direction = Direction.INGRESS if peer[2] == OUTGOING else Direction.EGRESS
            if direction in self._directions and (reason := self._write(length, ancillary)):
                return reason
        return ""

    def _write(self, length: int, ancillary: list[tuple[int, int, bytes]]) -> str:
        frame, stamp = bytes(self._buffer[: min(length, len(self._buffer))]), time.time_ns()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack_from("=qq", data)
                stamp = seconds * 1_000_000_000 + nanoseconds
            elif level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, _, _, _, _, tag, protocol = struct.unpack_from("=IIIHHHH", data)
                if status & VLAN_VALID:
                    frame = tagged(frame, protocol if status & VLAN_TPID_VALID else 0, tag)[: self._limits.snap]
                    length += 4
        entry = record(stamp, frame, length)
        if self._octets + len(entry) > self._limits.octets:
            return "bytes"
        self._file.write(entry)
        self._octets += len(entry)
        self._packets += 1
        return "packets" if self._packets >= self._limits.packets else ""
