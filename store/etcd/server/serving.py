"""An engine served in etcd's protocol, until the block ends or for good."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ...embedded.engine import Engine
from .drivers.grpc import GrpcServer, Tls
from .handlers import Settings, handlers

GRACE = 2.0
"""Seconds in which calls that are under way may end."""


@dataclass(frozen=True, slots=True)
class Served:
    """`ports` are those of the addresses to listen on, in their order (of a unix socket 1)."""

    ports: tuple[int, ...]


@asynccontextmanager
async def serving(
    engine: Engine, listen: Sequence[str], *, tls: Tls | None = None, settings: Settings | None = None
) -> AsyncIterator[Served]:
    """Serve an open engine, which stays open afterwards, on each `host:port` or `unix:/path`. Unavailable."""
    server = GrpcServer(await handlers(engine, settings))
    try:
        await server.start(listen, tls)
        yield Served(tuple(server.ports))
    finally:
        await server.stop(GRACE)


async def serve(
    engine: Engine, listen: Sequence[str], *, tls: Tls | None = None, settings: Settings | None = None
) -> None:
    """Until cancelled."""
    async with serving(engine, listen, tls=tls, settings=settings):
        await asyncio.Event().wait()
