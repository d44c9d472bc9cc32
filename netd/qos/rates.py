"""A rate as a token bucket: the numbers, and tbf's netlink attributes with them (tc-tbf(8), linux/pkt_sched.h).

The bucket holds what the rate lets pass in BURST_TIME, so that the rate is right over a tenth of a second; the queue
before it holds QUEUE_TIME more, enough for TCP to fill the rate and little enough that it soon hears of a loss. Packets
that are larger than the bucket (segmentation offload) are cut up by tbf itself; a frame that cannot be cut must fit,
which `least` is for.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

PARMS, RATE64, BURST = 1, 4, 6
ETHERNET, TICK, UINT32 = 1, 64, 0xFFFFFFFF  # TC_LINKLAYER_ETHERNET; nanoseconds of a scheduler's tick
BURST_TIME, QUEUE_TIME, QUEUE_LEAST = 0.01, 0.1, 30_000  # seconds, bytes
BURST_LEAST = 10_000  # a jumbo frame
POLICE_TIME, POLICE_LEAST = 0.1, 131_072  # a packet from segmentation offload has up to 64 KiB, and is taken whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """`speed` in bytes per second; `burst`, what may pass at once, and `limit`, what may wait too, in bytes."""

    speed: int
    burst: int
    limit: int


def bucket(rate: int, least: int = BURST_LEAST) -> Bucket:
    """The bucket of a rate in bit/s, at least 8; `least` bytes pass at once."""
    speed = max(rate // 8, 1)
    burst = max(int(speed * BURST_TIME), least)
    return Bucket(speed=speed, burst=burst, limit=burst + max(int(speed * QUEUE_TIME), QUEUE_LEAST))


def police_burst(rate: int) -> int:
    """Bytes that a policer of `rate` bit/s lets pass at once. It has no queue, so that TCP sees every excess as a loss,
    and lives on what is saved meanwhile."""
    return min(max(int(rate / 8 * POLICE_TIME), POLICE_LEAST), UINT32)


def tbf(wanted: Bucket) -> bytes:
    """A bucket as tbf's options (TCA_OPTIONS)."""
    ticks = min(wanted.burst * 1_000_000_000 // wanted.speed // TICK, UINT32)
    spec = struct.pack("=BBHhHI", 0, ETHERNET, 0, 0, 0, min(wanted.speed, UINT32))
    parameters = spec + bytes(12) + struct.pack("=III", min(wanted.limit, UINT32), ticks, 0)
    return (
        _attribute(PARMS, parameters)
        + _attribute(RATE64, struct.pack("=Q", wanted.speed))
        + _attribute(BURST, struct.pack("=I", min(wanted.burst, UINT32)))
    )


def observed_tbf(options: Mapping[int, bytes]) -> int:
    """The rate in bit/s that tbf's options stand for; 0 when the bucket is not the one that `bucket` makes of it."""
    if len(options.get(PARMS, b"")) < 36:
        return 0
    speed, limit = struct.unpack_from("=I", options[PARMS], 8)[0], struct.unpack_from("=I", options[PARMS], 24)[0]
    if RATE64 in options:  # only where 32 bits do not hold it
        speed = struct.unpack("=Q", options[RATE64][:8])[0]
    return speed * 8 if min(bucket(speed * 8).limit, UINT32) == limit else 0


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)
