"""Captures as pcap files with nanoseconds (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html).

The numbers are little-endian, whatever the machine. The kernel takes a VLAN tag out of a frame and tells of it beside
(PACKET_AUXDATA, packet(7)): `tagged` puts it back.
"""

import struct
from dataclasses import dataclass

MAGIC, ETHERNET = 0xA1B23C4D, 1
HEADER, RECORD = struct.Struct("<IHHiIII"), struct.Struct("<IIII")
SNAP_MOST = 262_144
MACS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a capture ends: `octets` of the file, `packets`, `seconds`; `snap` bytes of a frame are kept at most."""

    octets: int = 64 << 20
    packets: int = 1_000_000
    seconds: float = 60.0
    snap: int = SNAP_MOST


def header(snap: int) -> bytes:
    """What a file begins with."""
    return HEADER.pack(MAGIC, 2, 4, 0, 0, snap, ETHERNET)


def record(time: int, frame: bytes, length: int) -> bytes:
    """One frame, or its beginning: `time` in nanoseconds since 1970, `length` the whole frame's."""
    return RECORD.pack(time // 1_000_000_000 & 0xFFFFFFFF, time % 1_000_000_000, len(frame), length) + frame


def tagged(frame: bytes, protocol: int, tag: int) -> bytes:
    """A frame with its VLAN tag (IEEE 802.1Q) where it was."""
    return frame[:MACS] + struct.pack("!HH", protocol or 0x8100, tag) + frame[MACS:]
