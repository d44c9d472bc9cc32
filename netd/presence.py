"""This machine's tunnel endpoint, known to the others as long as it lives.

The record is held by a lease, so a machine that is gone is forgotten `TTL` seconds after its last word. A node that
stops does not take it away: its data plane goes on, and the next process takes the record over in time.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress

from hawser.store import Store, StoreError
from hawser.store.background import background
from hawser.store.session import open_session

from . import model, parse
from .model import Endpoint

TTL, LOOK, AGAIN = 30.0, 6.0, 1.0
log = logging.getLogger(__name__)


async def _pass_on(one: asyncio.Event, other: asyncio.Event) -> None:
    await one.wait()
    other.set()


class Presence:
    """`describe` says what the endpoint is now; None: there is none, and nothing is told."""

    def __init__(self, store: Store, describe: Callable[[], Endpoint | None]) -> None:
        self._store = store
        self._news = asyncio.Event()
        self._describe = describe
        self.trouble = ""
        """Why the others do not know this machine"""

    def refresh(self) -> None:
        """What `describe` says has changed: tell it now."""
        self._news.set()

    async def run(self) -> None:
        """Be known, until cancelled."""
        while True:
            try:
                await self._keep()
            except StoreError as error:
                self.trouble = f"this machine's tunnels are not announced: {error}"
                log.warning("%s; trying again", self.trouble)
            await asyncio.sleep(AGAIN)

    async def _keep(self) -> None:
        told: Endpoint | None = None
        opened = open_session(self._store, TTL, outliving=True)
        async with opened as session, background(_pass_on(session.lost, self._news)):
            while True:
                self._news.clear()
                if session.lost.is_set():
                    return
                endpoint = self._describe()
                if endpoint is not None and endpoint != told:
                    value = json.dumps(parse.encode_endpoint(endpoint)).encode()
                    await self._store.put(model.ENDPOINTS + endpoint.machine, value, lease=session.lease)
                    told, self.trouble = endpoint, ""
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._news.wait()
