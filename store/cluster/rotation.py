"""This machine's certificate, replaced in time: asked for at two thirds of its life, and again until there is one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import StoreError
from . import certificates
from .drivers.home import Home
from .joining import RenewAnswer, RenewRequest

LOOK, AGAIN, LEAST = 3600.0, 30.0, 0.5
log = logging.getLogger(__name__)


class Rotation:
    """`renew` gets a certificate for a request; `changed` is called when the files are new. `clock` in seconds since
    the epoch, `jitter` in [0, 1], the same for a machine always."""

    def __init__(
        self,
        home: Home,
        renew: Callable[[RenewRequest], Awaitable[RenewAnswer]],
        changed: Callable[[RenewAnswer], Awaitable[None]],
        *,
        clock: Callable[[], float],
        jitter: float,
        again: float = AGAIN,
    ) -> None:
        self._home, self._renew, self._changed = home, renew, changed
        self._clock, self._jitter, self._again = clock, jitter, again
        self.trouble = ""
        """Why the certificate is not renewed, though it is due"""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                left = certificates.rotation_time(self._home.identity(), self._jitter) - self._clock()
                if left > 0:
                    await asyncio.sleep(min(left, LOOK))
                    continue
                await self._rotate()
                self.trouble = ""
            except StoreError as error:
                if self.trouble != str(error):
                    log.warning("the machine's certificate is not renewed: %s; trying again", error)
                self.trouble = str(error)
                await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Until the next try: several are to fit into what is left of its life."""
        try:
            left = certificates.expiry(self._home.identity()) - self._clock()
        except StoreError:
            return self._again
        return min(self._again, max(left / 10, LEAST))

    async def _rotate(self) -> None:
        """A new key and a certificate for it, with the names of the old one."""
        subject = certificates.subject_of(self._home.identity())
        key = certificates.new_key()
        answer = await self._renew(RenewRequest(csr=certificates.request(key, subject).decode()))
        self._home.save_identity(answer.certificate.encode(), key, answer.ca.encode())
        log.info("the machine's certificate is renewed")
        await self._changed(answer)
