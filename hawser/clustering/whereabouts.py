"""Where the cluster's etcd is: it changes as members come and go. The client goes there, and it is written down for the
next start.

When nothing known answers, every place where a member could be is tried: this machine, and each machine that is there.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from hawser.store import StoreError
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.model import Machine, Membership, Role
from hawser.store.etcd.client import EtcdStore, parse
from hawser.store.etcd.client.members import Members
from hawser.store.loop import reconcile_loop

from .place import Ports

LOOK, AGAIN = 5.0, 1.0
log = logging.getLogger("hawser.cluster")


class Whereabouts:
    """`membership` is the one to keep; `machines()` those that are there."""

    def __init__(
        self,
        home: Home,
        membership: Membership,
        store: EtcdStore,
        address: str,
        ports: Ports,
        machines: Callable[[], Iterable[Machine]],
    ) -> None:
        self._home, self.membership, self._store = home, membership, store
        self._address, self._ports, self._machines = address, ports, machines
        self._members = Members(store.calls)
        self._wake = asyncio.Event()

    def urls(self) -> list[str]:
        """etcd's client URLs."""
        return [f"https://{endpoint}" for endpoint in self.membership.endpoints]

    def wake(self) -> None:
        """The machines have changed."""
        self._wake.set()

    async def run(self) -> None:
        """Learn, until cancelled."""
        await reconcile_loop(self._look, self._wake, LOOK)

    async def _look(self) -> float | None:
        try:
            await self.learn()
        except StoreError:
            await self._go(self._everywhere())
            return AGAIN
        return None

    async def learn(self, *, without: str = "") -> None:
        """Ask etcd, go there and keep it; `without` the member of this machine id. StoreError."""
        listed = [member for member in await self._members.list() if not member.learner and member.name != without]
        urls = sorted(url for member in listed for url in member.client_urls)
        if not urls:
            return
        endpoints = tuple(url.removeprefix("https://") for url in urls)
        if endpoints != self.membership.endpoints:
            self.membership = replace(self.membership, endpoints=endpoints)
            self._home.save_membership(self.membership)
        await self._go(urls)

    async def renew(self) -> None:
        """Go to the same places anew, with the certificate of now."""
        await self._store.calls.move(self._store.calls.endpoints)

    async def _go(self, urls: Iterable[str]) -> None:
        wanted = parse(urls, secure=True)
        if set(wanted) != set(self._store.calls.endpoints):
            await self._store.calls.move(wanted)

    def _everywhere(self) -> list[str]:
        others = [self._ports.client_url(each.addresses[0]) for each in self._machines() if each.role is Role.MEMBER]
        own = [self._ports.client_url(self._address)] if self.membership.role is Role.MEMBER else []
        return sorted({*self.urls(), *others, *own})
