"""One etcd member on this machine: kept running while it is wanted, and let run when the node process goes.

The member is a process of its own session that is found again by its record (`outliving`), so a restart or an upgrade
of the node interrupts no cluster. `run` is the one owner of it: it starts the member when it is wanted and not there,
again with growing delays when it ends, ends it when it is not wanted, and keeps its log small. Cancelling `run` leaves
the member running. Whether it is ready is asked of etcd itself (`/health`: it has a leader and commits). A member that
was removed from its cluster ends, saying so in its log alone, and would for ever: it is not started again.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp
import msgspec

from ...errors import Conflict, StoreError, Unavailable
from ...reconcile import Backoff
from ..command import EtcdConfig, argv, outdated
from . import outliving

STEADY = 60.0
LOOK = 30.0
PROBE = 2.0
LOG_LIMIT = 32 << 20
READY_STEP = 0.05
REMOVED = b"permanently removed from the cluster"  # etcdserver/server.go
KEPT_ENV = ("PATH", "HOME", "LANG", "TZ")


class EtcdState(StrEnum):
    """What the member is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    FAILED = "failed"
    STOPPING = "stopping"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdStatus:
    """How the member fares: `restarts` since it was last steady, why it ended last, when it is started again
    (time.monotonic)."""

    state: EtcdState
    pid: int | None = None
    restarts: int = 0
    reason: str = ""
    again: float | None = None


class EtcdProcess:
    """The member in `directory` (the record of its process and its log are there). `open` it, then have `run` running
    for everything else."""

    def __init__(
        self,
        config: EtcdConfig,
        directory: Path,
        *,
        program: str = "etcd",
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.log = directory / "etcd.log"
        self._directory, self._record, self._program = directory, directory / "process", program
        self._backoff, self._jitter = backoff or Backoff(base=0.5, cap=30.0), jitter
        self._process: outliving.Process | None = None
        self._wanted, self._removed = False, False
        self._restarts, self._reason = 0, ""
        self._begun, self._due, self._said = 0.0, 0.0, 0
        self._wake, self._gone = asyncio.Event(), asyncio.Event()
        self._gone.set()

    def open(self) -> bool:
        """Look for the member that an earlier node process left running; True when there is one, which is wanted from
        now on. Call it before `run`."""
        self._process = outliving.adopt(self._record)
        if self._process is not None:
            self._wanted = True
            self._mark()
        return self._process is not None

    async def run(self) -> None:
        """Keep it as it is wanted, until cancelled; then let go of it."""
        try:
            while True:
                self._wake.clear()
                await self._once()
        finally:
            if self._process is not None:
                self._process.close()
                self._process = None

    async def start(self, timeout: float = 60.0) -> None:
        """Want it, and wait until it is ready. Unavailable says why it is not by then, and it is tried on. Conflict
        when it was removed from its cluster: only `destroy` makes it a new one."""
        self._wanted = True
        self._due = 0.0
        self._wake.set()
        await self.ready(timeout)

    async def stop(self, timeout: float = 10.0) -> None:
        """Want it no longer, and wait until it has ended: by SIGTERM, after `timeout` seconds by SIGKILL."""
        self._wanted = False
        self._wake.set()
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await self._gone.wait()
        except TimeoutError:
            if self._process is not None:
                self._process.signal(signal.SIGKILL)
            await self._gone.wait()

    async def restart(self, config: EtcdConfig, timeout: float = 60.0) -> None:
        """End it and start it with another configuration (its data stays). Unavailable as `start`."""
        await self.stop()
        self.config = config
        await self.start(timeout)

    async def destroy(self) -> None:
        """End it and delete its data: of a member that is removed from its cluster. It may be started again, as new."""
        await self.stop()
        self._removed = False
        await asyncio.to_thread(shutil.rmtree, self.config.data, True)
        self._record.unlink(missing_ok=True)

    async def ready(self, timeout: float) -> None:
        """Wait until it answers and its cluster commits. Unavailable says what it said last, Conflict as `start`."""
        try:
            async with asyncio.timeout(timeout):
                while not await self.healthy():
                    if self._removed:
                        raise Conflict(f"etcd member {self.config.name}: {self._reason}")
                    await asyncio.sleep(READY_STEP)
        except TimeoutError:
            running = "it runs, but does not answer or has no leader (a quorum of members must be up)"
            reason = running if self._process is not None else self._reason or "it does not run"
            raise Unavailable(
                f"etcd member {self.config.name} is not ready after {timeout:g} s: {reason}; its log is {self.log}"
            ) from None

    async def healthy(self) -> bool:
        """Whether it answers now, has a leader, and commits."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE)) as session,
                session.get(f"{self.config.client_urls[0]}/health", ssl=self._tls()) as answer,
            ):
                return b'"true"' in await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError):
            return False

    def status(self) -> EtcdStatus:
        """How it fares now."""
        if self._process is not None:
            state = EtcdState.RUNNING if self._wanted else EtcdState.STOPPING
        else:
            state = EtcdState.FAILED if self._wanted and self._reason else EtcdState.STOPPED
            state = EtcdState.REMOVED if self._removed else state
        again = self._due if state is EtcdState.FAILED else None
        pid = self._process.pid if self._process else None
        return EtcdStatus(state=state, pid=pid, restarts=self._restarts, reason=self._reason, again=again)

    def outdated(self) -> str | None:
        """Why it should be restarted: it runs with other options than it would be started with; else None."""
        return outdated(self._process.argv(), argv(self.config)) if self._process is not None else None

    async def _once(self) -> None:
        process = self._process
        if process is not None and not process.alive():
            self._ended(process)
        elif process is not None:
            await self._until_something(LOOK)
            await asyncio.to_thread(self._trim_log)
        elif not self._wanted or self._removed:
            await self._until_something(LOOK)
        elif time.monotonic() >= self._due:
            self._begin()
        else:
            await self._until_something(max(0.0, self._due - time.monotonic()))

    async def _until_something(self, seconds: float) -> None:
        """Wait for a wake, the process's end, or a time."""
        loop, process = asyncio.get_running_loop(), self._process
        if process is not None:
            loop.add_reader(process.fd, self._wake.set)
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            if process is not None:
                loop.remove_reader(process.fd)

    def _begin(self) -> None:
        try:
            self._process = self._spawn()
        except (OSError, StoreError) as error:
            self._failed(f"cannot start etcd: {error}")
            return
        self._mark()

    def _mark(self) -> None:
        """It runs from now on; what its log says from here on is its own."""
        self._begun = time.monotonic()
        self._gone.clear()
        with contextlib.suppress(OSError):
            self._said = self.log.stat().st_size

    def _spawn(self) -> outliving.Process:
        program = shutil.which(self._program)
        if program is None:
            raise Unavailable(f"there is no program {self._program}: install it (Debian: etcd-server)")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = {name: os.environ[name] for name in KEPT_ENV if name in os.environ}  # no ETCD_… of ours
        if os.uname().machine not in ("x86_64", "ppc64le", "s390x"):
            env["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # etcd 3.4 asks for it, and only knows amd64
        return outliving.spawn(argv(self.config, program), self._record, self.log, env)

    def _ended(self, process: outliving.Process) -> None:
        how = process.reap()
        process.close()
        self._process = None
        self._record.unlink(missing_ok=True)
        lines = tail(self.log, self._said)
        if any(REMOVED in line for line in lines):
            self._removed = True
            self._reason = "it was removed from its cluster: its data is of no use any more, add it anew"
        elif self._wanted:
            if time.monotonic() - self._begun >= STEADY:
                self._restarts = 0
            said = complaint(lines)
            self._failed(f"it {how}{f': {said}' if said else ''}")
        else:
            self._restarts, self._reason = 0, ""
        self._gone.set()

    def _failed(self, reason: str) -> None:
        self._reason = reason
        self._restarts += 1
        self._due = time.monotonic() + self._backoff.delay(self._restarts, self._jitter())

    def _trim_log(self) -> None:
        """Keep the last part of a long log: copied aside, and the file, to which etcd appends, emptied."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    def _tls(self) -> ssl.SSLContext | bool:
        tls = self.config.tls
        if tls is None:
            return True
        context = ssl.create_default_context(cafile=str(tls.ca))
        context.load_cert_chain(tls.certificate, tls.key)
        return context


class _Line(msgspec.Struct):
    level: str = ""
    msg: str = ""
    error: str = ""


def tail(log: Path, since: int, limit: int = 65_536) -> list[bytes]:
    """The last lines of a log after byte `since`, or of all of it when it became shorter; none when it cannot be
    read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit, since if since <= size else 0))
            return file.read(limit).splitlines()
    except OSError:
        return []


def complaint(lines: list[bytes]) -> str:
    """The last complaint among a member's log lines (JSON), as one line; empty when there is none."""
    for raw in reversed(lines):
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except msgspec.MsgspecError:
            continue
        if line.level in ("error", "fatal", "panic"):
            return ": ".join(part for part in (line.msg, line.error) if part)[:300]
    return ""
