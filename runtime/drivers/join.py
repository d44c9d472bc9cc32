"""`exec`: a command in a running container, under the same restrictions as its first process.

Three processes. The keeper stays outside: it holds the deadline, which covers everything, and the caller's socket. The
one that enters has made itself untouchable (not dumpable); it joins the cgroups, then every namespace of the container
by a pidfd of its PID 1, the user namespace last. Whatever it opens in there may block. It makes the command's process
as a child of the keeper, for a PID namespace holds for children; that confines itself as PID 1 did. When time is up or
nobody listens any more, the keeper kills both, with the command's process group.
"""

import _socket
import contextlib
import marshal
import os
import select
import signal
import time
from typing import Any

from . import cgroups, launch, shim
from . import syscalls as sys_

Config = dict[str, Any]
NAMESPACES = (
    sys_.CLONE_NEWNS
    | sys_.CLONE_NEWPID
    | sys_.CLONE_NEWUTS
    | sys_.CLONE_NEWIPC
    | sys_.CLONE_NEWNET
    | sys_.CLONE_NEWCGROUP
)
TIMED_OUT = 124
GRACE = 1.0
LONGEST = (1 << 31) - 1  # ms, of poll(2)


class _Over(Exception):
    """There is nothing more to wait for; `late`: because of the time."""

    def __init__(self, late: bool) -> None:
        self.late = late


def main(config: Config, fds: list[int], inherited: tuple[int, ...]) -> None:
    """`fds` are the reply socket, the command's stdout and stderr, and (in a container) the pidfd of PID 1."""
    reply, out, err, *target = fds
    for fd in inherited:
        os.close(fd)
    answer = _socket.socket(fileno=reply)
    try:
        ended = _keep(config, reply, out, err, target)
    except OSError as error:
        message = shim.refusal(error, config["step"])
    else:
        message = marshal.dumps(ended) if ended else b""
    if message:
        with contextlib.suppress(OSError):
            answer.send(message)


def _keep(config: Config, reply: int, out: int, err: int, target: list[int]) -> dict[str, Any] | None:
    """How the command ended; None when it was killed before it began. OSError when it could not begin."""
    config["step"] = "launch"
    sys_.prctl(sys_.PR_SET_DUMPABLE, 0, "dumpable")
    (report, reporting), (told, telling), (going, go) = os.pipe(), os.pipe(), os.pipe()
    enterer, command = os.fork(), 0
    if enterer == 0:
        os.close(go)
        _enter(config, (out, err), target, (reporting, telling, going))
    for fd in (reporting, telling, going, out, err, *target):
        os.close(fd)
    ended = late = False
    try:
        _await(told, reply, config["deadline"])
        command = int.from_bytes(os.read(told, 4), "little")
        if command:
            with contextlib.suppress(BrokenPipeError):
                os.write(go, b"g")
        _await(report, reply, config["deadline"])
        if text := os.read(report, 4096):
            number, config["step"], words, what = text.decode(errors="replace").split("\0")
            raise OSError(int(number), words, what)
        if not command:
            return None
        _await(os.pidfd_open(command), reply, config["deadline"])
        ended = True
    except _Over as over:
        late = over.late
    finally:
        status = _end(enterer, command, kill=not ended)
    if late or status is None:
        return {"code": TIMED_OUT if late else 137, "late": late}
    code = os.waitstatus_to_exitcode(status)
    return {"code": code if code >= 0 else 128 - code, "late": False}


def _await(fd: int, reply: int, deadline: float | None) -> None:
    """Until `fd` can be read. _Over when time is up, or the caller is gone."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(reply, 0)
    left = None if deadline is None else min(max(0, int((deadline - time.monotonic()) * 1000)), LONGEST)
    events = poll.poll(left)
    if all(ready != fd for ready, _ in events):
        raise _Over(late=not events)


def _end(enterer: int, command: int, *, kill: bool) -> int | None:
    """No process is left of either; how the command ended, if it did (what the kernel holds does not, for now)."""
    for pid in filter(None, (enterer, command)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if kill and command:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command, signal.SIGKILL)
    _reap(enterer)
    return _reap(command) if command else None


def _reap(pid: int) -> int | None:
    child = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.poll(GRACE * 1000)
    os.close(child)
    gone, status = os.waitpid(pid, os.WNOHANG)
    return status if gone else None


def _enter(config: Config, outputs: tuple[int, int], target: list[int], pipes: tuple[int, int, int]) -> None:
    """Join the container and make the command's process; never returns."""
    failed, telling, going = pipes
    try:
        sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL, "PDEATHSIG")
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        config["step"] = "namespaces"
        cgroups.add(config["cgroups"], 0)
        sys_.new_session_keyring()
        if target:
            sys_.setns(target[0], NAMESPACES, "join the container")
            os.chdir("/")
        who = launch.identity(config)
        if target:
            launch.give_output(who, config["uid_base"])
            config["step"] = "namespaces"
            sys_.setns(target[0], sys_.CLONE_NEWUSER, "join the container's users")
        pid = sys_.clone(sys_.CLONE_PARENT)
        if pid:
            os.write(telling, pid.to_bytes(4, "little"))
        else:
            sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL, "PDEATHSIG")
            if not os.read(going, 1):
                os._exit(127)  # the keeper is gone, and did not know of this process
            os.setsid()
            (launch.confine if target else launch.become)(config, who)
    except OSError as error:
        shim.report_failure(config, failed, error)
    except BaseException as error:
        shim.report_failure(config, failed, OSError(0, f"{type(error).__name__}: {error}", ""))
    finally:
        os._exit(127)
