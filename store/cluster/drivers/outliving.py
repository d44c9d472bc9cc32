"""A process that outlives us, and that we find again.

It is started in a session of its own by a shell that first writes who it is to a file (boot, and its line of
/proc/PID/stat, whose start time tells it from a later process with the same id) and then becomes the program: so there
is no moment in which it runs and is not on record, whenever we die. It is held by a pidfd (pidfd_open(2)), which is
readable when it ends, whether it is our child or was adopted. Nothing here waits.
"""

import contextlib
import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RECORD_THEN_BECOME = (
    'umask 077; cat /proc/sys/kernel/random/boot_id /proc/$$/stat >"$1.new" && mv "$1.new" "$1" && shift && exec "$@"'
)


@dataclass(slots=True)
class Process:
    """A process that is held; `close` lets go of it and ends nothing."""

    pid: int
    started: int
    fd: int

    def alive(self) -> bool:
        """Whether it runs: a zombie does not."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return not poll.poll(0)

    def signal(self, number: int) -> None:
        """Send it a signal; nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def reap(self) -> str:
        """How it ended, in words; an adopted one's end is told to its parent only."""
        try:
            ended = os.waitid(os.P_PIDFD, self.fd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return "ended"
        if ended is None:
            return "runs"
        if ended.si_code == os.CLD_EXITED:
            return f"ended with code {ended.si_status}"
        return f"was killed by {signal.Signals(ended.si_status).name}"

    def argv(self) -> tuple[str, ...]:
        """Its command line now; empty when it has ended."""
        try:
            raw = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return ()
        return tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])

    def close(self) -> None:
        os.close(self.fd)


def spawn(argv: Sequence[str], record: Path, log: Path, env: Mapping[str, str]) -> Process:
    """Start a program, its output appended to `log`. OSError."""
    record.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", RECORD_THEN_BECOME, "sh", str(record), *argv],
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    )
    return Process(pid, _start_time(pid) or 0, os.pidfd_open(pid))


def adopt(record: Path) -> Process | None:
    """The process on record, when it still runs."""
    try:
        boot, _, stat = record.read_text().partition("\n")
        pid, started = int(stat.split(" ", 1)[0]), _start_field(stat)
    except (OSError, ValueError, IndexError):
        return None
    if boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
        return None
    try:
        process = Process(pid, started, os.pidfd_open(pid))
    except OSError:
        return None
    if _start_time(pid) == started and process.alive():
        return process
    process.close()
    return None


def _start_time(pid: int) -> int | None:
    try:
        return _start_field(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def _start_field(stat: str) -> int:
    """Field 22 of proc(5)'s stat: clock ticks since boot; the name before it may hold anything."""
    return int(stat.rpartition(")")[2].split()[19])
