"""The node's side of the zygote: starts it, sends it requests, hears the answers.

Every request has its own socket for the answers, whose other end the forked shim or joiner holds: an answer needs no
matching, and an end without an answer says that the process died. A dead zygote is started again by the next request.
"""

import array
import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import Unavailable
from .zygote import RECEIVE

ROOT = str(Path(__file__).absolute().parents[3])  # where the import namespace lies
READY = 15.0
SO_SNDBUFFORCE = 32  # as SO_SNDBUF, and not bound by net.core.wmem_max (socket(7)); a message must fit whole
CODE = """import sys
sys.path.append(sys.argv[1])
from hawser.runtime.drivers.zygote import serve
serve({control}, {lock}, {branches}, {homes})"""


class Channel:
    """The answers to one request, in order. Owned by the loop it was made on."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)

    async def receive(self) -> dict[str, Any] | None:
        """The next answer; None when the other side is gone."""
        loop = asyncio.get_running_loop()
        try:
            data = await loop.sock_recv(self._ours, 65536)
        except ConnectionError:
            return None
        return marshal.loads(data) if data else None

    def hand_over(self, then: Callable[[dict[str, Any] | None], object]) -> None:
        """The caller goes away: give the next answer to `then`, on the loop, and close."""
        loop = asyncio.get_running_loop()

        def answered() -> None:
            loop.remove_reader(self._ours)
            try:
                data = self._ours.recv(65536)
            except OSError:
                data = b""
            self.close()
            then(marshal.loads(data) if data else None)

        loop.add_reader(self._ours, answered)

    def close(self) -> None:
        """No answer is wanted any more."""
        self._ours.close()
        self.theirs.close()


class Launcher:
    """One zygote, whose lock is `run`/zygote.lock; `branches` are the cgroups that containers' groups are made in,
    `homes` the ones it lives in itself, with its children."""

    def __init__(self, run: Path, branches: Sequence[str] = (), homes: Sequence[str] = ()) -> None:
        self.run = run
        self.branches = tuple(branches)
        self.homes = tuple(homes)
        self._child: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The zygote's process id."""
        return self._child.pid if self._child else None

    def alive(self) -> bool:
        """Whether the zygote runs."""
        return self._child is not None and self._child.poll() is None

    async def start(self) -> None:
        """Start the zygote unless it runs. Unavailable when it does not come up."""
        async with self._starting:
            if self.alive():
                return
            self._shut()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 * RECEIVE)
            lock = os.open(self.run / "zygote.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._spawn(theirs.fileno(), lock)
                self._door = ours
                async with asyncio.timeout(READY):
                    ready = await asyncio.get_running_loop().sock_recv(ours, 16)
            except TimeoutError:
                ready = b""
            finally:
                theirs.close()
                os.close(lock)
            if ready != b"ready":
                await self.stop()
                raise Unavailable(f"the launcher did not come up within {READY:g} s; see {self.run}/launcher.log")

    def _spawn(self, control: int, lock: int) -> None:
        code = CODE.format(control=control, lock=lock, branches=self.branches, homes=self.homes)
        command = [sys.executable, "-I", "-S", "-c", code, ROOT]
        with open(self.run / "launcher.log", "wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={},
                pass_fds=(control, lock),
                start_new_session=True,
            )

    async def died(self) -> None:
        """Returns when the zygote is gone."""
        if self._child is None or self._child.poll() is not None:
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        pidfd = os.pidfd_open(self._child.pid)
        loop.add_reader(pidfd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    async def request(self, message: bytes, fds: Sequence[int] = ()) -> Channel:
        """Send a request with descriptors; the first answer is on the channel. Unavailable without a zygote."""
        for _ in range(2):
            await self.start()
            channel = Channel()
            try:
                if await self._send(message, [channel.theirs.fileno(), *fds]):
                    channel.theirs.close()
                    return channel
            except BaseException:
                channel.close()
                raise
            channel.close()
            self._shut()
        raise Unavailable("the launcher dies at every request; see launcher.log in the node's run directory")

    async def _send(self, data: bytes, fds: list[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        deadline = asyncio.get_running_loop().time() + READY
        while asyncio.get_running_loop().time() < deadline:
            if self._door is None:
                return False
            try:
                self._door.sendmsg([data], ancillary)
                return True
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except (ConnectionError, BrokenPipeError):
                return False
            except OSError as error:
                raise Unavailable(f"the launcher cannot be asked: {error.strerror}; try again") from error
        raise Unavailable("the launcher is busy; try again")

    async def stop(self) -> None:
        """End the zygote; shims and containers go on."""
        if self._door:
            self._door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self.died()
        self._shut()

    def _shut(self) -> None:
        if self._door:
            self._door.close()
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            self._child.wait()
        self._child = self._door = None
