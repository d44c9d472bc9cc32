"""What passes on the wire between machines, and a stream of echo requests between two sandboxes."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hawser.netd.model import SEALED_PORT, VXLAN_PORT
from tests.netd.machines import within

ETH_P_ALL, UDP = 3, 17
WIREGUARD = (51820, 51821)


class Wire:
    """Every frame on the wire while the block runs."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def to(self, *ports: int) -> list[bytes]:
        """Frames with UDP to one of these ports."""
        return [frame for frame in self.frames if udp_port(frame) in ports]

    @property
    def clear(self) -> list[bytes]:
        """Frames of tunnels in the clear: VXLAN, whichever of its ports."""
        return self.to(VXLAN_PORT, SEALED_PORT)


def udp_port(frame: bytes) -> int | None:
    """The destination port of a frame with UDP over IPv4 or IPv6, without options."""
    kind, header = frame[12:14], frame[14:]
    if kind == b"\x08\0" and header[9] == UDP:
        header = header[(header[0] & 15) * 4 :]
    elif kind == b"\x86\xdd" and header[6] == UDP:
        header = header[40:]
    else:
        return None
    port: int = struct.unpack_from("!H", header, 2)[0]
    return port


@contextmanager
def captured() -> Iterator[Wire]:
    """What passes on the links here, on each of them; complete when the block ends."""
    found, over = Wire(), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        tap.settimeout(0.2)

        def take() -> None:
            while True:
                try:
                    found.frames.append(tap.recv(1 << 16))
                except TimeoutError:
                    if over.is_set():
                        return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join(30)
        dropped = struct.unpack("II", tap.getsockopt(263, 6, 8))[1]  # PACKET_STATISTICS
    assert dropped == 0, "the capture is not complete"


class Stream:
    """Echo requests from a sandbox to an address, one every `interval` seconds while the block runs."""

    def __init__(self, source: str, target: str, interval: float = 0.01) -> None:
        self._socket = within(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
        self._socket.settimeout(0.5)
        self._target, self._interval, self._over = target, interval, threading.Event()
        self.sent, self._answered = 0, set[int]()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._receive)]

    def __enter__(self) -> "Stream":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self._over.set()
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _send(self) -> None:
        while not self._over.wait(self._interval):
            number = self.sent + 1
            self._socket.sendto(struct.pack("!BBHHHI", 8, 0, 0, 0, number & 0xFFFF, number), (self._target, 0))
            self.sent = number

    def _receive(self) -> None:
        idle = False
        while not (idle and self._over.is_set()):
            try:
                self._answered.add(struct.unpack_from("!I", self._socket.recv(100), 8)[0])
                idle = False
            except TimeoutError:
                idle = True

    @property
    def answers(self) -> int:
        """So many answers so far."""
        return len(self._answered)

    @property
    def lost(self) -> list[int]:
        """The numbers without an answer, once stopped."""
        return sorted({*range(1, self.sent + 1)} - self._answered)
