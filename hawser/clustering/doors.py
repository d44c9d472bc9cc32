"""The cluster's door on this machine, where it has the CA's key; and the way to the others' doors, where it has not."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from hawser.store import Denied, Store, Unavailable
from hawser.store.cluster import joining, tokens
from hawser.store.cluster.drivers import knock
from hawser.store.cluster.drivers.door import door
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import Doorkeeper, RenewAnswer, RenewRequest
from hawser.store.cluster.model import Cluster, Machine, Role

from .papers import issue_own, serial
from .place import Ports, at

ENTROPY = 21
AGAIN = 5.0
log = logging.getLogger("hawser.cluster")


class Doors:
    """`endpoints()` are etcd's client URLs now, `machines()` the machines that are there."""

    def __init__(
        self,
        home: Home,
        store: Store,
        cluster: Cluster,
        address: str | None,
        ports: Ports,
        endpoints: Callable[[], Sequence[str]],
        machines: Callable[[], Iterable[Machine]],
    ) -> None:
        self._home, self._store, self._cluster = home, store, cluster
        self._address, self._ports = address, ports
        self._endpoints, self._machines = endpoints, machines
        self._renewed = asyncio.Event()
        self.trouble = ""

    async def run(self) -> None:
        """Open, and open anew with each new certificate; nothing on a machine without the CA's key."""
        authority = self._home.authority()
        if authority is None or self._address is None:
            return
        keeper = Doorkeeper(
            self._store,
            self._cluster.id,
            authority,
            self._home.ca.read_bytes(),
            self._endpoints,
            clock=time.time,
            serial=serial,
            life=self._cluster.life,
        )
        while True:
            self._renewed.clear()
            try:
                async with door(keeper, self._home, self._address, self._ports.door):
                    self.trouble = ""
                    await self._renewed.wait()
            except Unavailable as error:
                if self.trouble != str(error):
                    log.warning("the cluster's door: %s; trying again", error)
                self.trouble = f"the door is shut: {error}"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        await self._renewed.wait()

    def renewed(self) -> None:
        """This machine has a new certificate."""
        self._renewed.set()

    async def mint(self, ttl: float, uses: int, role: Role) -> str:
        """A new join token. Invalid; Denied where the CA's key is not."""
        if self._home.authority() is None:
            raise Denied("this machine may not let others in: it is a client; make the token on a member's machine")
        token, record = tokens.mint(
            secrets.token_bytes(ENTROPY),
            cluster=self._cluster.id,
            ca=self._cluster.ca[-1],
            endpoints=self._known(),
            now=time.time(),
            ttl=ttl,
            uses=uses,
            role=role,
        )
        await joining.make_token(self._store, token, record)
        return tokens.encode(token)

    async def renew(self, request: RenewRequest) -> RenewAnswer:
        """A new certificate for this machine. Denied, Unavailable."""
        authority = self._home.authority()
        if authority is None:
            return await knock.renew(self._home, self._known(), request)
        answer = issue_own(self._home, authority, request, self._cluster.life)
        return msgspec.structs.replace(answer, endpoints=tuple(self._endpoints()))

    def _known(self) -> list[str]:
        """Where doors are, this machine's own first."""
        others = [at(m.addresses[0], self._ports.door) for m in self._machines() if m.role is Role.MEMBER]
        own = [at(self._address, self._ports.door)] if self._address is not None else []
        return list(dict.fromkeys([*own, *sorted(others)]))
