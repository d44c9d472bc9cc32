"""Questions of containers asked of the machine's resolvers, as they are: nothing is taken apart, nothing is kept.

Each question goes out on a socket of its own, with a random port (the kernel's) and a random id, connected, so that
only the resolver asked can answer; an answer must repeat the question. One resolver after the other is tried. At most
`limit` questions are under way; one more is refused at once. Callbacks on the loop, no tasks.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ..resolvconf import Upstream, parse_resolv_conf
from ..wire import HEADER, Rcode, read_name

Reply = Callable[[bytes | None], None]
Resolvers = Callable[[], Sequence[Upstream]]
ROUNDS = 2
TRIES_MAX = 3


class ResolvConf:
    """The resolvers of a resolv.conf, read again when the file changed."""

    def __init__(self, path: Path = Path("/etc/resolv.conf")) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._found: tuple[Upstream, ...] = ()

    def __call__(self) -> tuple[Upstream, ...]:
        """Address and port of each; none when there is no file."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._found = parse_resolv_conf(self._path.read_text(errors="replace"))
                self._stamp = stamp
        except OSError:
            return ()
        return self._found


class Forwarder:
    """`timeout` (seconds) is for one try."""

    def __init__(self, resolvers: Resolvers, *, timeout: float = 1.5, limit: int = 256) -> None:
        self._timeout = timeout
        self._resolvers = resolvers
        self._limit = limit
        self._open: set[_Exchange] = set()

    def ask(self, data: bytes, *, tcp: bool, skip: frozenset[str], reply: Reply) -> None:
        """Ask; `reply` gets the answer with the client's id, or None. `skip`: addresses that are ourselves."""
        upstreams = [upstream for upstream in self._resolvers() if upstream[0] not in skip]
        if not upstreams or len(self._open) >= self._limit:
            reply(None)
            return
        exchange = _Exchange(data, tcp, (upstreams * ROUNDS)[:TRIES_MAX], self._timeout, reply, self._open.discard)
        self._open.add(exchange)
        exchange.next()

    def outstanding(self) -> int:
        """How many questions are under way."""
        return len(self._open)

    def close(self) -> None:
        """Forget every question; their clients hear nothing."""
        for exchange in list(self._open):
            exchange.drop()
        self._open.clear()


class _Exchange:
    """One question on its way round the resolvers."""

    def __init__(
        self,
        data: bytes,
        tcp: bool,
        upstreams: Sequence[Upstream],
        timeout: float,
        reply: Reply,
        done: "Callable[[_Exchange], None]",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._data, self._tcp, self._timeout, self._reply, self._done = data, tcp, timeout, reply, done
        self._left = list(upstreams)
        self._last: bytes | None = None
        self._sock: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = self._got = b""

    def next(self) -> None:
        """Ask the next resolver, or give up."""
        while self._left:
            self.drop()
            try:
                self._start(self._left.pop(0))
                return
            except OSError:
                continue
        self._finish(self._last)

    def drop(self) -> None:
        """Let go of the socket."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
        self._timer = self._sock = None

    def _start(self, upstream: Upstream) -> None:
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        where = socket.getaddrinfo(*upstream, type=kind, flags=socket.AI_NUMERICHOST)[0]
        self._sock = sock = socket.socket(where[0], kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._timer = self._loop.call_later(self._timeout, self.next)
        self._sent = secrets.token_bytes(2) + self._data[2:]
        self._got = b""
        with contextlib.suppress(BlockingIOError):
            sock.connect(where[4])
        if self._tcp:
            self._loop.add_writer(sock, self._write, len(self._data).to_bytes(2, "big") + self._sent)
        else:
            sock.send(self._sent)
            self._loop.add_reader(sock, self._read)

    def _write(self, data: bytes) -> None:
        assert self._sock is not None
        try:
            count = self._sock.send(data)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        self._loop.remove_writer(self._sock)
        if data[count:]:
            self._loop.add_writer(self._sock, self._write, data[count:])
        else:
            self._loop.add_reader(self._sock, self._read)

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(65537)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if not self._tcp:
            self._take(data)
            return
        self._got += data
        length = int.from_bytes(self._got[:2], "big")
        if len(self._got) >= 2 + length and len(self._got) > 2:
            self._take(self._got[2 : 2 + length])
        if not data and self._sock is not None:
            self.next()

    def _take(self, answer: bytes) -> None:
        if not self._fits(answer):
            return
        answer = self._data[:2] + answer[2:]
        if answer[3] & 15 in (Rcode.SERVFAIL, Rcode.REFUSED) and self._left:
            self._last = answer
            self.next()
            return
        self._finish(answer)

    def _fits(self, answer: bytes) -> bool:
        """Whether it answers what was asked: id, the QR bit, and the question but for letter case."""
        if len(answer) < HEADER or answer[:2] != self._sent[:2] or not answer[2] & 0x80:
            return False
        asked, given = read_name(self._sent, HEADER), read_name(answer, HEADER)
        if asked is None or given is None or answer[4:6] == b"\0\0":
            return asked is not None and answer[3] & 15 in (Rcode.FORMERR, Rcode.SERVFAIL, Rcode.REFUSED)
        return asked == given and self._sent[asked[1] : asked[1] + 4] == answer[given[1] : given[1] + 4]

    def _finish(self, answer: bytes | None) -> None:
        self.drop()
        self._done(self)
        self._reply(answer)
