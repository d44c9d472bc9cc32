"""What the mesh's tests share: a running mesh, real servers on loopback, questions asked by an independent library."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import Any

import dns.asyncquery
import dns.message

from hawser.mesh.agent import Mesh
from hawser.mesh.model import Announcement, Instance, instance_of, parse_announcement
from hawser.store import Store

MACHINE = "m1"


async def no_commands(announcement: Announcement, argv: Sequence[str]) -> int:
    raise AssertionError(f"no command was expected, got {argv}")


def announcement(**changes: Any) -> Announcement:
    """A sound announcement of web/1 of tenant acme, with changes."""
    spec = {"tenant": "acme", "service": "web", "id": "1", "addresses": ["127.0.0.9"], "port": 80, "interval": 0.1}
    return parse_announcement(spec | changes)


def instance(healthy: bool = True, machine: str = MACHINE, **changes: Any) -> Instance:
    """The record of `announcement(**changes)`."""
    return instance_of(announcement(**changes), machine, healthy=healthy, reason="so")


@contextlib.asynccontextmanager
async def running(mesh: Mesh) -> AsyncIterator[Mesh]:
    """The mesh's `run` as the node runs it; leaving is the node's end."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mesh.run())
        try:
            yield mesh
        finally:
            task.cancel()


def new_mesh(store: Store, machine: str = MACHINE, execute: Any = no_commands) -> Mesh:
    return Mesh(store, machine, execute)


class Web:
    """An HTTP server that answers every request with `status`."""

    def __init__(self, status: int = 200, host: str = "127.0.0.9") -> None:
        self.status, self.host, self.port = status, host, 0
        self.requests: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> "Web":
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % self.status)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def web(status: int = 200, host: str = "127.0.0.9") -> AsyncIterator[Web]:
    server = await Web(status, host).start()
    try:
        yield server
    finally:
        await server.stop()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has on UDP and TCP."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind((host, 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagram.bind((host, port))
                return port


async def ask(
    host: str, port: int, name: str, kind: str = "A", *, tcp: bool = False, **more: Any
) -> dns.message.Message:
    """Ask a server; the answer must come from the address asked (dnspython checks that)."""
    query = dns.message.make_query(name, kind, **more)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, host, timeout=3, port=port)


def addresses(message: dns.message.Message) -> list[str]:
    """Every address in the answer section, in order of appearance."""
    return [str(ip_address(item.address)) for rrset in message.answer for item in rrset if hasattr(item, "address")]
