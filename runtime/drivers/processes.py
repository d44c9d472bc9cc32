"""The two processes of a run that a node holds, each by a pidfd: the shim, which it watches, and the program."""

import contextlib
import os
import signal
from pathlib import Path

from . import procfs
from .records import Running


class Processes:
    """`shim` and `program` are pidfds; `program` is -1 when it has ended already and its shim writes how."""

    def __init__(self, shim: int, program: int, pid: int) -> None:
        self.shim = shim
        self.program = program
        self._pid = pid

    def send(self, number: int) -> None:
        """Signal the program; nothing when it is just ending. OSError, ValueError for no signal."""
        if self.program >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.program, number)

    def hears(self, number: int) -> bool:
        """Whether the program has a disposition of its own for a signal (it handles it, holds it back, ignores it)."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return True
        masks = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
        own = int(masks["SigCgt"], 16) | int(masks["SigBlk"], 16) | int(masks["SigIgn"], 16)
        return bool(own >> (number - 1) & 1)

    def close(self) -> None:
        """Hold them no more."""
        for fd in (self.shim, self.program):
            if fd >= 0:
                os.close(fd)
        self.shim = self.program = -1


def hold(running: Running) -> Processes | None:
    """The processes of a run; None when its shim is gone."""
    shim = procfs.hold(running.shim, running.shim_start)
    if shim is None:
        return None
    program = procfs.hold(running.pid, running.pid_start)
    return Processes(shim, -1 if program is None else program, running.pid)
