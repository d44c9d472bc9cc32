"""A client of the JSON gateway: aiohttp's connection, which is one of the crowd."""

import asyncio

from aiohttp import web

from .crowd import Crowd

IDLE = 75.0
"""Seconds between two requests."""


class Http1(web.RequestHandler):
    """`busy`: it is being answered. What was begun of a request's head must come to its end in time."""

    def __init__(self, manager: web.Server, crowd: Crowd) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # a few bytes may be very many
            keepalive_timeout=IDLE,
            lingering_time=crowd.limits.flush,
        )
        self._clock, self._crowd = loop.time, crowd
        self._begun: float | None = None
        self.held = 0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._crowd.join(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._crowd.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._begun is None and not self.busy:
            self._begun = self._clock()
        super().data_received(data)

    def begin(self) -> None:
        """A request's head is there."""
        self.busy, self._begun = True, None

    def hold(self, size: int) -> None:
        """It takes so many more bytes of memory, or fewer."""
        self.held += size
        self._crowd.held += size
        if size > 0 and self._crowd.held > self._crowd.limits.memory:
            self._crowd.relieve()

    def overdue(self, now: float) -> bool:
        return not self.busy and self._begun is not None and now - self._begun > self._crowd.limits.frame

    def leave(self) -> None:
        self.close()

    def stop(self) -> None:
        self.force_close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
