"""The shim: one small process a container, between its program and whoever asks about it.

A child of the zygote, in a session of its own, it outlives zygote and node. It holds the lock of the container's
directory for all its life, so a free lock says that nobody looks after the container. It starts the program
(launch.py), makes its cgroups meanwhile, copies its output into the log, reaps it, writes how it ended, removes the
cgroups, ends.
What it records (which processes it is, how they ended) is written into blocks reserved before the start: a full disk
refuses a start, and cannot lose a record.
"""

import _socket
import contextlib
import fcntl
import marshal
import os
import select
import signal
import time
from typing import Any

from ..logformat import Splitter
from . import cgroups, launch, procfs
from . import syscalls as sys_

Config = dict[str, Any]
BLOCK = 65536
LOG_MAX = 10 << 20
DRAIN = 1.0
RECORD = 512
RESERVED = ("state.new", "exit.new")


class Spare:
    """A process in a new PID namespace (`flags`) that waits to be told what program to become, and its pipes.

    Made before it is needed: the two forks of a start are behind it when the request comes. It waits in cgroups of its
    own below `branches` already, for moving a process waits for a grace period of RCU (10 ms on a machine at rest);
    where groups can be renamed (version 1) they become the container's.
    """

    def __init__(self, flags: int = sys_.CLONE_NEWPID, branches: tuple[str, ...] = ()) -> None:
        self.groups: list[str] = []
        self.streams = os.pipe(), os.pipe()
        self.failure, failed = os.pipe()
        self.sync, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.pid = sys_.clone(flags)
        if self.pid == 0:
            self.sync.close()
            _child(self.streams, theirs, failed)
        theirs.close()
        for fd in (failed, *(writable for _, writable in self.streams)):
            os.close(fd)
        shim = os.getpid()
        self.groups = [f"{branch}/{cgroups.spare_name(shim)}" for branch in branches]
        try:
            cgroups.create([(group, []) for group in self.groups])
            cgroups.add([(group, []) for group in self.groups], self.pid)
        except OSError:
            self.leave_groups()

    def leave_groups(self) -> None:
        """Remove the groups of its own."""
        for group in self.groups:
            cgroups.remove(group)
        self.groups = []

    def enter(self, groups: list[cgroups.Group]) -> None:
        """Be in these groups, with their limits."""
        wanted = {os.path.dirname(directory): directory for directory, _ in groups}
        try:
            for group in self.groups:
                os.rename(group, wanted[os.path.dirname(group)])
            moved = bool(self.groups)
        except (OSError, KeyError):
            moved = False
        cgroups.create(groups)
        if not moved:
            cgroups.add(groups, self.pid)
            self.leave_groups()

    def dismiss(self) -> None:
        """It is not needed."""
        self.sync.close()
        for fd in (self.failure, *(readable for readable, _ in self.streams)):
            os.close(fd)
        os.waitpid(self.pid, 0)
        self.leave_groups()


def main(config: Config, spare: Spare, reply: int, inherited: tuple[int, ...]) -> None:
    """The life of a shim; `inherited` is let go once the container's lock is held."""
    answer = _socket.socket(fileno=reply)
    os.chdir(config["dir"])
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        spare.dismiss()
        return _refuse(answer, OSError(11, "it is running already"), "lock")
    for fd in inherited:
        os.close(fd)
    sys_.prctl(sys_.PR_SET_CHILD_SUBREAPER, 1, "subreaper")
    try:
        if config["host"]:
            spare.dismiss()
            spare = Spare(0)
        program = Program(config, spare)
    except OSError as error:
        return _refuse(answer, error, config["step"])
    try:
        document = _record_start(config, program.pid)
    except OSError as error:
        program.destroy()
        return _refuse(answer, error, config["step"])
    with contextlib.suppress(OSError):
        answer.send(marshal.dumps({"state": document}))
    answer.close()
    program.attend()
    _bury(config, program.status)
    return None


class Program:
    """The program of a container and its output. Raises OSError, with nothing left, when it cannot run."""

    def __init__(self, config: Config, spare: Spare) -> None:
        self.config = config
        self.status = 0
        self.pid = spare.pid
        self.outputs: dict[int, Splitter] = {}
        for (readable, _), name in zip(spare.streams, ("stdout", "stderr"), strict=True):
            os.set_blocking(readable, False)
            self.outputs[readable] = Splitter(name)
        try:
            config["step"] = "record"
            reserve()
            self.log = Log()
            self._prepare(spare)
            self._confirm(spare.failure)
        except OSError:
            self.destroy()
            spare.leave_groups()
            raise

    def destroy(self) -> None:
        """Kill it and what it started, remove its groups."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for directory, _ in self.config["cgroups"]:
            cgroups.kill(directory)
            cgroups.remove(directory)

    def _prepare(self, spare: Spare) -> None:
        """Say what to become; then what the child cannot do itself: its cgroups, then its user map."""
        sync = spare.sync
        told = marshal.dumps(self.config)
        sync.sendall(len(told).to_bytes(4, "little") + told)
        self.config["step"] = "cgroup"
        spare.enter(self.config["cgroups"])
        self.config["step"] = "launch"
        if sync.recv(1):
            sync.send(b"g")
        if not self.config["host"] and sync.recv(1):
            line = f"0 {self.config['uid_base']} {self.config['uid_range']}"
            for name in ("uid_map", "gid_map"):
                cgroups.write(f"/proc/{self.pid}/{name}", line)
            sync.send(b"g")
        sync.close()

    def _confirm(self, failure: int) -> None:
        """Returns when the program runs: exec closed the pipe."""
        report = os.read(failure, 4096)
        os.close(failure)
        if report:
            number, step, text, what = report.decode(errors="replace").split("\0")
            self.config["step"] = step
            raise OSError(int(number), text, what)

    def attend(self) -> None:
        """Copy output and reap until the program has ended and its output is read."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        woken, wake = os.pipe()
        for fd in (woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (woken, *self.outputs):
            poll.register(fd, select.POLLIN)
        running, deadline = True, 0.0
        while running or (self.outputs and time.monotonic() < deadline):
            if running and self._reap():
                running, deadline = False, time.monotonic() + DRAIN
                self._kill_rest()
            for fd, _ in poll.poll(None if running else 50 if self.outputs else 0):
                if fd == woken:
                    os.read(woken, BLOCK)
                elif not self._copy(fd):
                    poll.unregister(fd)
                    os.close(fd)
        for splitter in self.outputs.values():
            self.log.write(splitter.end(stamp()))

    def _kill_rest(self) -> None:
        """What the program left behind goes with it; in a container the end of its PID 1 has done that."""
        for directory, _ in self.config["cgroups"]:
            cgroups.kill(directory)
        self._reap()

    def _reap(self) -> bool:
        ended = False
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.pid:
                    self.status, ended = status, True
        return ended

    def _copy(self, fd: int) -> bool:
        splitter = self.outputs[fd]
        try:
            data = os.read(fd, BLOCK)
        except BlockingIOError:
            return True
        self.log.write(splitter.feed(data, stamp()) if data else splitter.end(stamp()))
        if not data:
            del self.outputs[fd]
        return bool(data)


class Log:
    """The log file `log`, of at most 10 MiB; then it becomes `log.1` in place of the one before."""

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, records: bytes) -> None:
        """Append; on a full disk the records are lost, the program goes on."""
        if not records:
            return
        with contextlib.suppress(OSError):
            if self._size + len(records) > LOG_MAX:
                os.rename("log", "log.1")
                os.close(self._fd)
                self._open()
            self._size += os.write(self._fd, records)


def stamp() -> str:
    """Now, in RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def _child(streams: tuple[tuple[int, int], ...], sync: _socket.socket, failed: int) -> None:
    config: Config = {"step": "launch"}
    try:
        for target, (readable, writable) in zip((1, 2), streams, strict=True):
            os.close(readable)
            os.dup2(writable, target)
        told = _told(sync)
        if told:
            config |= marshal.loads(told)
            (launch.on_host if config["host"] else launch.contained)(config, sync.fileno())
    except OSError as error:
        report_failure(config, failed, error)
    except BaseException as error:
        report_failure(config, failed, OSError(0, f"{type(error).__name__}: {error}", ""))
    finally:
        os._exit(127)


def _told(sync: _socket.socket) -> bytes:
    size = int.from_bytes(sync.recv(4), "little")
    data = b""
    while len(data) < size and (block := sync.recv(size - len(data))):
        data += block
    return data


def report_failure(config: Config, pipe: int, error: OSError) -> None:
    """Number, step, words and what it is about, over the pipe that exec would have closed."""
    text = "\0".join((str(error.errno or 0), config["step"], error.strerror or str(error), str(error.filename or "")))
    os.write(pipe, text.encode(errors="replace")[:4000])


def refusal(error: OSError, step: str) -> bytes:
    """The answer to a request that failed."""
    words = str(error.filename or "")
    return marshal.dumps({"errno": error.errno or 0, "step": step, "text": error.strerror or str(error), "what": words})


def _refuse(answer: _socket.socket, error: OSError, step: str) -> None:
    with contextlib.suppress(OSError):
        answer.send(refusal(error, step))


def reserve(place: str = ".") -> None:
    """Blocks for the two records of a run, so that a full disk cannot lose them. OSError when it is full already."""
    for name in RESERVED:
        fd = os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, RECORD)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None
        finally:
            os.close(fd)


def _record_start(config: Config, pid: int) -> str:
    """Write state.json; the end of an earlier run is over with this."""
    config["step"] = "record"
    shim = os.getpid()
    document = (
        f'{{"boot":"{config["boot"]}","shim":{shim},"shim_start":{procfs.start_time(shim)},"pid":{pid},'
        f'"pid_start":{procfs.start_time(pid)},"started":{time.time()}}}'
    )
    with contextlib.suppress(FileNotFoundError):
        os.unlink("exit.json")
    _save("state", document)
    return document


def _save(name: str, text: str) -> None:
    """Make `name`.json of the blocks of `name`.new."""
    fd = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
    os.rename(f"{name}.new", f"{name}.json")


def _bury(config: Config, status: int) -> None:
    """The record of the end, then the groups."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 128 + number if number else os.WEXITSTATUS(status)
    oom = any(cgroups.oom_kills(directory) for directory, _ in config["cgroups"])
    record = f'{{"code":{code},"signal":{number},"oom":{"true" if oom else "false"},"finished":{time.time()}}}'
    with contextlib.suppress(OSError):
        _save("exit", record)
    for directory, _ in config["cgroups"]:
        cgroups.remove(directory)
