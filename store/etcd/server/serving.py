"""An engine served in etcd's protocol, until the block ends or for good."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ...embedded.engine import Engine
from .drivers.gateway import Gateway
from .drivers.grpc import GrpcCalls
from .drivers.listening import KEEPALIVE, Listening, Tls, addresses
from .handlers import Settings, handlers

GRACE = 2.0
"""Seconds in which calls that are under way may end."""


@dataclass(frozen=True, slots=True)
class Served:
    """`addresses` are those listened on, with the ports that they got."""

    addresses: tuple[str, ...]
    tls: Tls | None = None
    context: ssl.SSLContext | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """Of the addresses that have one."""
        return tuple(int(each.rpartition(":")[2]) for each in self.addresses if not each.startswith("unix:"))

    def reload(self) -> None:
        """Read the certificate's files again, for connections to come. OSError, ssl.SSLError: the old one stays."""
        if self.tls is not None and self.context is not None:
            self.tls.load(self.context)


@asynccontextmanager
async def serving(
    engine: Engine,
    listen: Sequence[str],
    *,
    tls: Tls | None = None,
    settings: Settings | None = None,
    keepalive: float = KEEPALIVE,
    grace: float = GRACE,
) -> AsyncIterator[Served]:
    """Serve an open engine, which stays open afterwards, on each `host:port` or `unix:/path`. Unavailable."""
    answers = await handlers(engine, settings)
    context = None if tls is None else tls.context()
    try:
        async with asyncio.TaskGroup() as tasks:
            gateway, calls = Gateway(answers), GrpcCalls(answers, tasks)
            listening = Listening(calls, gateway.protocol, keepalive=keepalive)
            pulse = tasks.create_task(listening.keep_alive())
            try:
                bound = [await listening.listen(address, context) for address in addresses(listen)]
                yield Served(tuple(bound), tls, context)
            finally:
                pulse.cancel()
                calls.end_streams()
                await asyncio.gather(listening.close(grace), gateway.close(grace))
    except BaseExceptionGroup as group:
        raise _only(group) from group.__cause__


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What it is about, when that is one thing."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def serve(
    engine: Engine, listen: Sequence[str], *, tls: Tls | None = None, settings: Settings | None = None
) -> None:
    """Until cancelled."""
    async with serving(engine, listen, tls=tls, settings=settings):
        await asyncio.Event().wait()
