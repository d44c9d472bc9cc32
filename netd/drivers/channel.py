"""A netlink socket (netlink(7)), whatever it speaks: numbered messages to the kernel, and its answers.

It belongs to the namespace of the thread that makes it, for ever; blocking, one owner at a time.
"""

import socket
from collections.abc import Callable, Iterator
from typing import Self

from ..errors import NetError
from . import wire

SO_RCVBUFFORCE, BUFFER, RECEIVE = 33, 1 << 21, 1 << 17
TRIES = 10
Refused = Callable[[wire.Message], NetError]


class Channel:
    """One socket; `about` and `things` are what it speaks and what of, in the words of an error."""

    def __init__(self, protocol: int, about: str, things: str) -> None:
        self._about, self._things = about, things
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._sock.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go."""
        self._sock.close()

    def number(self) -> int:
        """The next message's number."""
        self._sequence += 1
        return self._sequence

    def send(self, kind: int, flags: int, body: bytes) -> int:
        """Send one request; its number."""
        sequence = self.number()
        self._sock.send(wire.HEADER.pack(16 + len(body), kind, wire.REQUEST | flags, sequence, 0) + body)
        return sequence

    def receive(self) -> Iterator[wire.Message]:
        """The messages of the next answer. NetError."""
        try:
            data = self._sock.recv(RECEIVE)
        except OSError as error:
            raise NetError(f"{self._about}: {error.strerror}: answers were lost; try again") from error
        return wire.messages(data)

    def dump(self, command: int, kind: int, body: bytes, refused: Refused) -> list[bytes]:
        """The payloads of everything of a kind; what is changed while it is read is read again. NetError, and what
        `refused` makes of a refusal."""
        for _ in range(TRIES):
            found = self._collected(self.send(command, wire.DUMP, body), kind, refused)
            if found is not None:
                return found
        raise NetError(f"{self._things} of this host change faster than they can be read; try again")

    def _collected(self, sequence: int, kind: int, refused: Refused) -> list[bytes] | None:
        """None when the kernel says that it has changed meanwhile."""
        found: list[bytes] = []
        interrupted = False
        while True:
            for message in self.receive():
                if message.sequence != sequence:
                    continue
                interrupted |= bool(message.flags & wire.DUMP_INTERRUPTED)
                if message.kind == wire.ERROR and message.error:
                    raise refused(message)
                if message.kind in (wire.DONE, wire.ERROR):
                    return None if interrupted else found
                if message.kind == kind:
                    found.append(message.payload)
