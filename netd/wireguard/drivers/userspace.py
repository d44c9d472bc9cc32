"""WireGuard by `wireguard-go`: one process an interface, in a session of its own, which a restart of the node leaves
alone.

The process makes a TUN device that vanishes with it. It is found again by its socket, where it speaks the configuration
protocol (`uapi`); it ends by itself when its device or its socket is removed. What it says goes to its log file, errors
only. Its environment carries our mark: that is how a device is known that was made and not yet marked.
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from ...errors import Conflict, NetError, Unavailable
from .. import uapi
from ..state import State, Write

SOCKETS = Path("/var/run/wireguard")
MARK = "HAWSER_OWNER"
TIMEOUT, ANSWER, STEP = 5.0, 1.0, 0.005


class Userspace:
    """A Backend. One per interface, for its life: it reaps the process it began."""

    kind = "tun"

    def __init__(self, ifname: str, alias: str, log: Path) -> None:
        self._ifname = ifname
        self._alias = alias
        self._log = log
        self._socket = SOCKETS / f"{ifname}.sock"
        self._child: int | None = None
        self._ended: set[int] = set()  # begun here, gone or going, not yet reaped

    def create(self) -> None:
        """Start the process and wait until it answers. Unavailable without the program, NetError when it fails."""
        program = shutil.which("wireguard-go")
        if program is None:
            raise Unavailable("wireguard-go is not installed; install wireguard-go")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._child is not None:
            self._ended.add(self._child)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._child = os.posix_spawn(
            program,
            [program, "-f", self._ifname],
            {"PATH": os.environ.get("PATH", ""), "LOG_LEVEL": "error", MARK: self._alias},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
        deadline = time.monotonic() + TIMEOUT
        while self.read() is None:
            if self._reaped():
                raise NetError(f"wireguard-go {self._ifname} ended: {self._last_words()}")
            if time.monotonic() > deadline:
                self.removed()
                raise NetError(f"wireguard-go {self._ifname} does not answer; see {self._log}")
            time.sleep(STEP)

    def owns(self) -> bool:
        """Whether the process behind the socket is one of ours."""
        return self._owner() is not None

    def _owner(self) -> int | None:
        try:
            with self._connected() as sock:
                size = struct.calcsize("3i")
                pid = int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        return pid if f"{MARK}={self._alias}".encode() in environment else None

    def read(self) -> State | None:
        """What the interface is; None when nobody is behind it."""
        self._reaped()
        try:
            return uapi.answer(self._ask(uapi.GET))
        except (FileNotFoundError, ConnectionError):
            return None
        except OSError as error:
            raise self._failed(error) from error

    def write(self, what: Write) -> None:
        """Change it in one request."""
        try:
            code = uapi.error_of(self._ask(uapi.request(what)))
        except OSError as error:
            raise self._failed(error) from error
        if code == errno.EADDRINUSE:
            raise Conflict(f"{self._ifname}: UDP port {what.listen_port} is taken; choose another for WireGuard")
        if code:
            raise NetError(f"configure {self._ifname}: {os.strerror(code)} ({errno.errorcode.get(code, code)})")

    def _ask(self, text: str) -> str:
        with self._connected() as sock:
            sock.sendall(text.encode())
            answer = bytearray()
            while not answer.endswith(b"\n\n"):
                part = sock.recv(1 << 16)
                if not part:
                    break
                answer += part
            return answer.decode(errors="replace")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(ANSWER)
            sock.connect(str(self._socket))
            yield sock

    def removed(self) -> None:
        """See the process go, which ends by itself when its device is gone; end it when it does not."""
        deadline = time.monotonic() + TIMEOUT
        while (pid := self._owner()) is not None and time.monotonic() < deadline:
            time.sleep(STEP)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self._child is not None and not self._reaped() and time.monotonic() < deadline:
            time.sleep(STEP)
        if self._silent():
            self._socket.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)

    def _silent(self) -> bool:
        try:
            with self._connected():
                return False
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    def _reaped(self) -> bool:
        """Whether the process begun here last has ended; what has ended is reaped."""
        self._ended = {pid for pid in self._ended if not _gone(pid)}
        if self._child is None or not _gone(self._child):
            return False
        self._child = None
        return True

    def _failed(self, error: OSError) -> NetError:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
        return NetError(f"wireguard-go {self._ifname}: {reason}; end the process, it is started anew")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = [line for line in self._log.read_text(errors="replace").splitlines() if "│" not in line]
            words = [line.strip() for line in lines if line.strip() and not line.startswith(("┌", "└"))]
            if words:
                return words[-1]
        return "it said nothing"


def _gone(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
