"""An engine served in etcd's protocol, until the block ends or for good."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ...embedded.engine import Engine
from .drivers.crowd import Crowd
from .drivers.gateway import Gateway
from .drivers.grpc import GrpcCalls
from .drivers.listening import Listening, addresses, affordable
from .drivers.tls import Tls
from .handlers import Settings, handlers
from .limits import Limits

GRACE = 2.0
"""Seconds in which calls that are under way may end."""


@dataclass(frozen=True, slots=True)
class Served:
    """`addresses` are those listened on, with the ports that they got; `crowd` is who is there."""

    addresses: tuple[str, ...]
    crowd: Crowd
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
    limits: Limits | None = None,
    grace: float = GRACE,
) -> AsyncIterator[Served]:
    """Serve an open engine, which stays open afterwards, on each `host:port` or `unix:/path`. Unavailable."""
    limits = limits or Limits()
    answers = await handlers(engine, settings, limits)
    context = None if tls is None else tls.context()
    crowd = Crowd(affordable(limits))
    try:
        async with asyncio.TaskGroup() as tasks:
            gateway, calls = Gateway(answers, crowd), GrpcCalls(answers, tasks)
            listening = Listening(calls, crowd, gateway.protocol)
            watch = tasks.create_task(crowd.watch())
            try:
                bound = [await listening.listen(address, context) for address in addresses(listen)]
                yield Served(tuple(bound), crowd, tls, context)
            finally:
                watch.cancel()
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
