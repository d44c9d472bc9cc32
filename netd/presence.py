"""This machine's tunnel endpoint, known to the others as long as it lives.

The record is held by a lease, so a machine that is gone is forgotten `TTL` seconds after its last word. A node that
stops does not take it away: its data plane goes on, and the next process takes the record over in time.
"""

import asyncio
import json
import logging
from collections.abc import Callable

from hawser.store import LeaseNotFound, Store, StoreError

from . import model, parse
from .model import Endpoint

TTL, AGAIN = 30.0, 1.0
log = logging.getLogger(__name__)


class Presence:
    """`describe` says what the endpoint is now, None for none: the machine is alone."""

    def __init__(self, store: Store, describe: Callable[[], Endpoint | None]) -> None:
        self._store = store
        self._describe = describe
        self.trouble = ""
        """Why the others do not know this machine"""

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
        lease: int | None = None
        told: Endpoint | None = None
        while True:
            endpoint = self._describe()
            if endpoint is not None and lease is None:
                lease = (await self._store.lease_grant(TTL)).id
                told = None
            if endpoint is not None and lease is not None and endpoint != told:
                value = json.dumps(parse.encode_endpoint(endpoint)).encode()
                await self._store.put(model.ENDPOINTS + endpoint.machine, value, lease=lease)
                told, self.trouble = endpoint, ""
            await asyncio.sleep(TTL / 5)
            if lease is not None:
                try:
                    await self._store.lease_keepalive(lease)
                except LeaseNotFound:
                    lease = None
