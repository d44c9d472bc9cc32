"""The sockets of a server: gRPC and the JSON gateway at the same address, told apart by the first bytes, with TLS or
without."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....errors import Unavailable
from ..frames import PREFACE
from .http2 import Calls, Connection

KEEPALIVE, PATIENCE = 7200.0, 20.0
"""Seconds without a word before a client is asked whether it is there, and until it is given up (etcd's)."""
FLUSH = 0.5
"""Seconds for a client to read what was written to it before it is cut off."""
Other = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; with `authority`, clients must show a certificate that it signed. `context` reads them."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Unavailable when a file cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self.load(context)
            if self.authority is not None:
                context.load_verify_locations(self.authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"cannot use the certificate {self.certificate}: {error}; check the files") from error
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """The certificate as it is in the files now, for connections to come."""
        context.load_cert_chain(self.certificate, self.key)


class _First(asyncio.Protocol):
    """Waits for the first bytes, and gives the connection to who understands them."""

    def __init__(self, grpc: Callable[[], Connection], other: Other | None) -> None:
        self._grpc, self._other = grpc, other
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "set_protocol")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < 4 and PREFACE.startswith(self._data):
            return
        speaks = self._grpc if self._other is None or PREFACE.startswith(self._data[:4]) else self._other
        protocol = speaks()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._data)


class Listening:
    """`calls` answers gRPC; `other` makes what answers HTTP/1."""

    def __init__(self, calls: Calls, other: Other | None = None, *, keepalive: float = KEEPALIVE) -> None:
        self._calls, self._other, self._keepalive = calls, other, keepalive
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._empty.set()

    def _connection(self) -> Connection:
        connection = Connection(self._calls, self._gone)
        self._connections.add(connection)
        self._empty.clear()
        return connection

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def listen(self, address: str, tls: ssl.SSLContext | None = None) -> str:
        """At `host:port` (port 0: any) or `unix:/path`; returns the address as it is. Unavailable."""
        loop = asyncio.get_running_loop()

        def first() -> _First:
            return _First(self._connection, self._other)

        try:
            if address.startswith("unix:"):
                server = await loop.create_unix_server(first, address.removeprefix("unix:"), ssl=tls, backlog=1024)
            else:
                host, _, port = address.rpartition(":")
                server = await loop.create_server(
                    first, host.strip("[]") or None, int(port), ssl=tls, backlog=1024, reuse_address=True
                )
        except (OSError, ValueError) as error:
            raise Unavailable(f"cannot listen on {address}: {error}; choose another address") from error
        self._servers.append(server)
        bound = server.sockets[0]
        if bound.family == socket.AF_UNIX:
            return address
        return f"{address.rpartition(':')[0]}:{bound.getsockname()[1]}"

    async def keep_alive(self) -> None:
        """Give up clients that are gone without a word."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._keepalive, PATIENCE))
            now = loop.time()
            for connection in list(self._connections):
                quiet = now - connection.heard_at
                if connection.pinged and quiet > self._keepalive + PATIENCE:
                    connection.abort()
                elif quiet > self._keepalive and not connection.pinged:
                    connection.ping()

    async def close(self, grace: float) -> None:
        """Take no more, answer what was asked for at most `grace` seconds, then go."""
        for server in self._servers:
            server.close()
        for end, seconds in ((Connection.leave, grace), (Connection.stop, FLUSH)):
            for connection in list(self._connections):
                end(connection)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        for connection in list(self._connections):
            connection.abort()


def addresses(listen: Sequence[str]) -> tuple[str, ...]:
    """Each once, in order."""
    return tuple(dict.fromkeys(listen))
