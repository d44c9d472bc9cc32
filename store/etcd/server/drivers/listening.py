"""The sockets of a server: gRPC and the JSON gateway at the same address, told apart by the first bytes, with TLS or
without."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from ....errors import Unavailable
from ..frames import PREFACE
from ..limits import Limits
from .crowd import Crowd
from .http2 import Calls, Connection

OTHER_FILES = 128
"""Files that a process needs beside its clients."""
Other = Callable[[], asyncio.Protocol]


class _First(asyncio.Protocol):
    """Waits for the first bytes, and gives the connection to who understands them. Over TLS, HTTP/2 must have been
    agreed on (RFC 9113, section 3.2)."""

    held = 0

    def __init__(self, grpc: Callable[[], Connection], other: Other | None, crowd: Crowd) -> None:
        self._grpc, self._other, self._crowd = grpc, other, crowd
        self._since = asyncio.get_running_loop().time()
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._crowd.full:
            self._transport.abort()
        self._crowd.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < 4 and PREFACE.startswith(self._data):
            return
        tls = self._transport.get_extra_info("ssl_object")
        agreed = "h2" if tls is None else tls.selected_alpn_protocol()
        http2 = PREFACE.startswith(self._data[:4])
        if http2 and agreed != "h2":
            self.stop()
            return
        self._crowd.leave(self)
        protocol = self._grpc() if http2 or self._other is None else self._other()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._data)

    def overdue(self, now: float) -> bool:
        return now - self._since > self._crowd.limits.greeting

    def leave(self) -> None:
        self.stop()

    def stop(self) -> None:
        if not self._transport.is_closing():
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class Listening:
    """`calls` answers gRPC; `other` makes what answers HTTP/1, and joins the crowd."""

    def __init__(self, calls: Calls, crowd: Crowd, other: Other | None = None) -> None:
        self._calls, self._crowd, self._other = calls, crowd, other
        self._servers: list[asyncio.Server] = []

    def _connection(self) -> Connection:
        return Connection(self._calls, self._crowd)

    async def listen(self, address: str, tls: ssl.SSLContext | None = None) -> str:
        """At `host:port` (port 0: any) or `unix:/path`; returns the address as it is. Unavailable."""
        loop = asyncio.get_running_loop()
        handshake = None if tls is None else self._crowd.limits.greeting

        def first() -> _First:
            return _First(self._connection, self._other, self._crowd)

        try:
            if address.startswith("unix:"):
                path = address.removeprefix("unix:")
                server = await loop.create_unix_server(
                    first, path, ssl=tls, backlog=1024, ssl_handshake_timeout=handshake
                )
            else:
                host, _, port = address.rpartition(":")
                server = await loop.create_server(
                    first,
                    host.strip("[]") or None,
                    int(port),
                    ssl=tls,
                    backlog=1024,
                    reuse_address=True,
                    ssl_handshake_timeout=handshake,
                )
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else error  # asyncio words it anew, with its number in front
            raise Unavailable(f"cannot listen on {address}: {reason}; choose another address") from error
        self._servers.append(server)
        bound = server.sockets[0]
        if bound.family == socket.AF_UNIX:
            return address
        return f"{address.rpartition(':')[0]}:{bound.getsockname()[1]}"

    async def close(self, grace: float) -> None:
        """Take no more, answer what was asked for at most `grace` seconds, then go."""
        for server in self._servers:
            server.close()
        await self._crowd.close(grace)


def addresses(listen: Sequence[str]) -> tuple[str, ...]:
    """Each once, in order."""
    return tuple(dict.fromkeys(listen))


def affordable(limits: Limits) -> Limits:
    """No more clients than the process may have open files for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=max(1, min(limits.connections, files - OTHER_FILES)))
