"""`exec`: a command in a running container, under the same restrictions as its first process.

The joiner makes itself untouchable (not dumpable) before it enters anything, joins the cgroups, then every namespace of
the container by a pidfd of its PID 1, the user namespace last; then it forks, for a PID namespace holds for children.
The child confines itself as PID 1 did. The joiner waits, kills the command's process group when time is up or when
nobody listens any more, and says how it ended.
"""

import _socket
import contextlib
import marshal
import os
import select
import signal
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


def main(config: Config, fds: list[int], inherited: tuple[int, ...]) -> None:
    """`fds` are the reply socket, the command's stdout and stderr, and (in a container) the pidfd of PID 1."""
    reply, out, err, *target = fds
    for fd in inherited:
        os.close(fd)
    answer = _socket.socket(fileno=reply)
    try:
        pid = _start(config, out, err, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            answer.send(shim.refusal(error, config["step"]))
        return
    os.close(out)
    os.close(err)
    code, late = _watch(pid, reply, config["timeout"])
    with contextlib.suppress(OSError):
        answer.send(marshal.dumps({"code": code, "late": late}))


def _start(config: Config, out: int, err: int, target: list[int]) -> int:
    config["step"] = "namespaces"
    sys_.prctl(sys_.PR_SET_DUMPABLE, 0, "dumpable")
    os.dup2(out, 1)
    os.dup2(err, 2)
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
    failure, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(config, who, failed, contained=bool(target))
    os.close(failed)
    report = os.read(failure, 4096)
    os.close(failure)
    if report:
        os.waitpid(pid, 0)
        number, config["step"], text, what = report.decode(errors="replace").split("\0")
        raise OSError(int(number), text, what)
    return pid


def _child(config: Config, who: launch.Identity, failed: int, *, contained: bool) -> None:
    try:
        os.setsid()
        (launch.confine if contained else launch.become)(config, who)
    except OSError as error:
        shim.report_failure(config, failed, error)
    finally:
        os._exit(127)


def _watch(pid: int, reply: int, timeout: float | None) -> tuple[int, bool]:
    """Exit code, and whether it was killed for being late."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (1, 2):
        os.dup2(null, fd)
    child = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(reply, 0)
    events = poll.poll(None if timeout is None else int(timeout * 1000))
    late = not events
    if all(fd != child for fd, _ in events):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if late:
        return TIMED_OUT, True
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status), False
