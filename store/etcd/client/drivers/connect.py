"""A store on etcd, put together: endpoints, transport, calls, watches, and the tasks they need while it is open."""

import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from ....background import background
from ....errors import Invalid
from ..endpoints import Endpoint, parse
from ..store import EtcdStore
from ..tls import Tls
from ..transport import Transport
from .certificates import context
from .lines import Lines
from .pool import TIMEOUT, Pool
from .session import Credentials

TRANSPORTS = ("grpc", "gateway")
SILENCE = 30.0  # seconds after which a watch over the gateway is asked for anew


@asynccontextmanager
async def connect(
    urls: str | Iterable[str],
    *,
    tls: Tls | None = None,
    user: str | None = None,
    password: str | None = None,
    transport: str | None = None,
    timeout: float = TIMEOUT,
    silence: float = SILENCE,
    chance: Callable[[], float] = random.random,
) -> AsyncIterator[EtcdStore]:
    """A store on the cluster at `urls` (endpoints.parse), until it is closed or left. Nothing is asked of etcd yet.

    `transport` is "grpc", "gateway", or what there is: gRPC where its library is. `timeout` seconds is what a call may
    take in all, trying again included. Invalid.
    """
    endpoints = parse(urls, secure=tls is not None)
    if (user is None) != (password is None):
        raise Invalid("a user needs a password and a password a user; give both")
    if tls is not None:
        context(tls)
    credentials = None if user is None or password is None else Credentials(user, password)
    pool = Pool(endpoints, _opener(transport, tls), timeout=timeout, credentials=credentials, chance=chance)
    async with background() as tasks:
        lines = Lines(pool, tasks, silence=silence)

        async def close() -> None:
            await lines.close()
            await pool.close()

        store = EtcdStore(pool, lines, choose=_lease_id, close=close)
        try:
            yield store
        finally:
            await store.close()


def _lease_id() -> int:
    # never used before, so that nobody renews somebody else's; below 2^53 for JSON's sake
    return secrets.randbelow(2**53 - 1) + 1


def _opener(transport: str | None, tls: Tls | None) -> Callable[[Endpoint], Transport]:
    if transport not in (None, *TRANSPORTS):
        raise Invalid(f"there is no transport {transport}; it is one of {', '.join(TRANSPORTS)}")
    if transport != "gateway":
        try:
            from .channel import Channel
        except ImportError:
            if transport == "grpc":
                raise Invalid("gRPC's library (grpcio) cannot be loaded; use the transport gateway") from None
        else:
            return lambda endpoint: Channel(endpoint, tls)
    from .gateway import Gateway

    return lambda endpoint: Gateway(endpoint, tls)
