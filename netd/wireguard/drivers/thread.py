"""The encrypted overlay on a thread of its own, in the namespace of the underlay.

Starting wireguard-go, or asking one that hangs, takes up to seconds, and attachments shall not wait for it; so it is
not the thread that works on networks. Nothing is made before it is asked for.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ...drivers import netns
from ...errors import NetError, Unavailable
from ...model import Address, Endpoint
from .. import keys
from ..specs import PORT
from .keyfile import KeyFile
from .overlay import EncryptedOverlay, Report
from .probe import Flavour, Found, probe

T = TypeVar("T")


class OverlayThread:
    """One machine's overlay; any call may raise NetError. `data` has the keys."""

    def __init__(
        self,
        machine: str,
        instance: str,
        data: Path,
        rundir: Path,
        *,
        port: int = PORT,
        period: float = keys.PERIOD,
        look: Callable[[], Found] = probe,
    ) -> None:
        self._names, self._places = (machine, instance), (data, rundir)
        self._port, self._period, self._look = port, period, look
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wireguard")
        self._overlay: EncryptedOverlay | None = None
        self._entered = False

    async def enter(self, namespace: int) -> None:
        """Work in the namespace of this file descriptor, which is closed, from now on."""

        def act() -> None:
            try:
                netns.enter(Path(f"/proc/self/fd/{namespace}"))
            finally:
                os.close(namespace)

        await self._do(act)
        self._entered = True

    @property
    def entered(self) -> bool:
        """Whether it is where it is to work."""
        return self._entered

    async def found(self) -> Found:
        """Which WireGuard there is, or why none."""
        if self._overlay is not None:
            return Found(flavour=self._overlay.flavour)
        return await self._do(self._look)

    async def step(self, address: Address, mtu: int, records: Iterable[Endpoint], now: float) -> Report:
        """As `EncryptedOverlay.step`. Unavailable where there is no WireGuard."""
        known = tuple(records)
        return await self._do(lambda: self._made().step(address, mtu, known, now))

    def _made(self, otherwise: Flavour | None = None) -> EncryptedOverlay:
        if self._overlay is None:
            found = self._look()
            flavour = found.flavour or otherwise
            if flavour is None:
                raise Unavailable(found.reason or "no WireGuard")
            self._overlay = EncryptedOverlay(
                *self._names, *self._places, flavour=flavour, port=self._port, period=self._period
            )
        return self._overlay

    async def remove(self, *, keys_too: bool = False) -> None:
        """Take its interfaces away, also those that an earlier process made; and the machine's keys, if asked."""

        def act() -> None:
            self._made(Flavour.USERSPACE).remove()
            self._let_go()
            if keys_too:
                KeyFile(self._places[0], self._names[0]).remove()

        await self._do(act)

    def _let_go(self) -> None:
        if self._overlay is not None:
            self._overlay.close()
            self._overlay = None

    async def close(self) -> None:
        """Let go; nothing is removed."""
        with suppress(NetError):
            await self._do(self._let_go)
        self._thread.shutdown()

    def _do(self, act: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, act)
