"""A command by the launcher with its output caught: `exec` as the node sees it."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .. import requests
from ..model import ContainerSpec, ExecResult
from .launcher import Launcher

OUTPUT_MAX = 1 << 20
LINGER = 0.5


class Capture:
    """The reading end of a pipe, read on the loop; keeps the first MiB, throws the rest away."""

    def __init__(self) -> None:
        self._readable, self.writable = os.pipe()
        os.set_blocking(self._readable, False)
        self.data = bytearray()
        self.cut = False
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._readable, self._read)

    def _read(self) -> None:
        try:
            block = os.read(self._readable, 65536)
        except BlockingIOError:
            return
        room = OUTPUT_MAX - len(self.data)
        self.cut = self.cut or len(block) > room
        self.data += block[:room]
        if not block:
            self._loop.remove_reader(self._readable)
            self.ended.set()

    def sent(self) -> None:
        """The writing end is somebody else's now."""
        os.close(self.writable)
        self.writable = -1

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._readable)
        os.close(self._readable)
        if self.writable >= 0:
            os.close(self.writable)


async def run_command(
    launcher: Launcher, spec: ContainerSpec, request: Mapping[str, Any], target: Sequence[int]
) -> ExecResult:
    """Send the request and wait for its end; a caller that goes away takes the command with it."""
    out, err = Capture(), Capture()
    try:
        channel = await launcher.request(requests.encode(spec, request), [out.writable, err.writable, *target])
        out.sent()
        err.sent()
        try:
            answer = await channel.receive()
        finally:
            channel.close()
        if answer is None:  # killed with the container's cgroup
            answer = {"code": 137, "late": False}
        if "errno" in answer:
            raise requests.fault(spec, answer)
        # what the command left running may hold the pipes for ever
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await out.ended.wait()
                await err.ended.wait()
    finally:
        out.close()
        err.close()
    return ExecResult(
        code=answer["code"],
        stdout=bytes(out.data),
        stderr=bytes(err.data),
        cut=out.cut or err.cut,
        timed_out=bool(answer["late"]),
    )
