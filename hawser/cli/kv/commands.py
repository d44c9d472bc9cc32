"""Commands that verbs run: for each event of a watch, or while a lock is held.

What may run only while a lock is held must not outlive who holds it, so such a command is ended by the kernel when this
process dies, however it does. That is asked for by a few lines of Python that become the command (PR_SET_PDEATHSIG,
prctl(2)): between fork and exec no code may run in a process with gRPC's threads. Without a terminal a command has a
process group of its own, so that what it started is ended with it; with one it stays in the foreground, where the
terminal's signals reach it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any

from ...faults import Fault

NOT_FOUND, NOT_EXECUTABLE = 127, 126
GRACE = 10.0
BECOME = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(parent):
    sys.exit(143)
try:
    os.execvp(command[0], command)
except OSError as error:
    print(f"hawser: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    os._exit(126)
"""


def own_group() -> bool:
    """Whether commands have a process group of their own."""
    return not sys.stdin.isatty()


def check(program: str) -> None:
    """Fault when there is no such command, with the shell's codes."""
    if shutil.which(program) is None:
        if "/" in program and os.path.exists(program):
            raise Fault(f"{program} is not executable", "failed", NOT_EXECUTABLE)
        raise Fault(f"no command {program}", "failed", NOT_FOUND)


async def launch(
    command: Sequence[str], environment: Mapping[Any, Any], *, feed: bool = False, dies_too: bool = False
) -> Process:
    """Start a command; with `feed`, its standard input is a pipe; with `dies_too`, it is ended when this process dies.
    Fault with the shell's codes."""
    check(command[0])
    if dies_too:
        command = (sys.executable, "-IS", "-c", BECOME, str(os.getpid()), *command)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=PIPE if feed else None,
            process_group=0 if own_group() else None,
        )
    except OSError as error:
        raise Fault(f"cannot run {command[0]}: {error.strerror}", "failed", NOT_EXECUTABLE) from None


async def finish(process: Process, given: bytes | None = None) -> int:
    """Wait for a command, ended by whatever ends this; its exit code as a shell has it."""
    try:
        await process.communicate(given)
    except BaseException:
        await stop(process)
        raise
    return code_of(process)


def code_of(process: Process) -> int:
    """An exit code; 128 and the signal's number when one ended it."""
    code = process.returncode
    assert code is not None
    return code if code >= 0 else 128 - code


def send(process: Process, number: signal.Signals) -> None:
    """A signal to the command and what it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            if own_group():
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)


async def stop(process: Process, grace: float = GRACE) -> None:
    """SIGTERM, and SIGKILL when that does not help."""
    send(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(grace):
            await process.wait()
    except TimeoutError:
        send(process, signal.SIGKILL)
        await process.wait()
