"""Queues that slow a link down, packed directly as in `rtnl`.

A limited rate alone is tbf's token bucket (tc-tbf(8)), which almost every kernel has; a delay needs netem
(tc-netem(8)), which then limits the rate as well. Layouts: linux/pkt_sched.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Mapping

from hawser.netd.qos import rates

from ..errors import LabError, Unavailable
from ..faults import Impairment
from .rtnl import ACK, CREATE, EXCL, Batch, Rtnl, attribute, refused

NEWQDISC, DELQDISC = 36, 37
ROOT, HANDLE = 0xFFFFFFFF, 1 << 16
TCA_KIND, TCA_OPTIONS = 1, 2
NETEM_RATE, NETEM_RATE64, NETEM_LATENCY64 = 6, 8, 10
BURST_LEAST = 5_000  # bytes
NETEM_PACKETS = 10_000


class Queues(Batch):
    """Requests about the queues of links of one namespace."""

    def drop(self, index: int, name: str) -> None:
        """Give a link back the queue it was born with; ENOENT when it has that one."""
        self._add(DELQDISC, ACK, struct.pack("=BxxxiIII", 0, index, 0, ROOT, 0), f"delete the queue of {name}")

    def slow(self, index: int, name: str, how: Impairment) -> None:
        """Give a link a queue."""
        kind, options = ("netem", _netem(how)) if how.delay else ("tbf", _tbf(how.rate or 0))
        body = struct.pack("=BxxxiIII", 0, index, HANDLE, ROOT, 0)
        body += attribute(TCA_KIND, kind.encode() + b"\0") + attribute(TCA_OPTIONS, options)
        self._add(NEWQDISC, ACK | CREATE | EXCL, body, f"add a {kind} queue to {name}")


def _tbf(rate: int) -> bytes:
    return rates.tbf(rates.bucket(rate, BURST_LEAST))


def _netem(how: Impairment) -> bytes:
    nanoseconds = round(how.delay * 1e9)
    options = struct.pack("=IIIIII", min(nanoseconds // rates.TICK, rates.UINT32), NETEM_PACKETS, 0, 0, 0, 0)
    options += attribute(NETEM_LATENCY64, struct.pack("=q", nanoseconds))
    if how.rate is not None:
        speed = how.rate // 8
        options += attribute(NETEM_RATE64, struct.pack("=Q", speed))
        options += attribute(NETEM_RATE, struct.pack("=IiIi", min(speed, rates.UINT32), 0, 0, 0))
    return options


def shape(wanted: Mapping[str, Impairment], others: Iterable[str] = ()) -> None:
    """Give links of the calling thread's namespace these queues, and `others` the usual one; gone links are skipped.

    Unavailable when the kernel lacks the queue, LabError.
    """
    batch = Queues()
    for name in sorted({*wanted, *others}):
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            continue
        batch.drop(index, name)
        if name in wanted:
            batch.slow(index, name, wanted[name])
    with Rtnl() as rtnl:
        for what, code in rtnl.ask(batch):
            if code and not (code == errno.ENOENT and what.startswith("delete")):
                raise _failed(what, code)


def _failed(what: str, code: int) -> LabError:
    if code not in (errno.ENOENT, errno.EOPNOTSUPP):
        return refused(what, code)
    lacking = what.split()[2]
    advice = "; a limited rate and loss work without it" if lacking == "netem" else ""
    return Unavailable(f"{what}: {os.strerror(code)}: this kernel lacks {lacking}{advice}")
