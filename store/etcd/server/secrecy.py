"""Passwords, hashed and compared off the loop: that is slow on purpose, so few at a time, and few who wait for it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ... import auth
from ...auth.passwords import SALT_BYTES
from ..errors import Code, EtcdError
from .limits import ASKING, PASSWORDS


class Secrecy:
    """Of one server."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PASSWORDS)
        self._nobodys: str | None = None
        self.asking = 0

    async def hashed(self, password: str) -> str:
        """What is kept of a password. EtcdError when too many ask."""
        async with self._place():
            return await asyncio.to_thread(auth.hash_password, password, secrets.token_bytes(SALT_BYTES))

    async def verify(self, stored: str, password: str) -> bool:
        """Whether it is the one that this was kept of. EtcdError when too many ask."""
        async with self._place():
            return await asyncio.to_thread(auth.verify_password, stored, password)

    async def pretend(self, password: str) -> None:
        """As much work as for somebody, for who is nobody: the time tells who there is otherwise."""
        if self._nobodys is None:
            self._nobodys = await self.hashed("")
        await self.verify(self._nobodys, password)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self.asking >= ASKING:
            raise EtcdError(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
        self.asking += 1
        try:
            async with self._places:
                yield
        finally:
            self.asking -= 1
