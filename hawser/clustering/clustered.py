"""A machine's part of its cluster while the node runs: its etcd member, the door, its certificate; and when it leads,
the cluster's members.

The member is started before the store is asked for anything, since the store may be waiting for it; it goes on when
the node ends.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hawser.store import Conflict, Denied, StoreError, TextStore, Unavailable
from hawser.store.background import background
from hawser.store.cluster import joining, pem, tokens
from hawser.store.cluster.drivers import knock
from hawser.store.cluster.drivers.door import door
from hawser.store.cluster.drivers.etcd_process import EtcdProcess
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import Doorkeeper, RenewAnswer, RenewRequest
from hawser.store.cluster.machines import Machines
from hawser.store.cluster.model import Machine, Membership, Role
from hawser.store.cluster.own_member import OwnMember
from hawser.store.cluster.registration import Registration
from hawser.store.cluster.rotation import Rotation
from hawser.store.cluster.tending import Tending
from hawser.store.etcd.client import EtcdStore, Tls, connect, parse
from hawser.store.etcd.client.members import Members
from hawser.store.etcd.client.upkeep import Upkeep

from ..backing import Backing, Etcd
from .enter import serial
from .place import Ports, at, etcd_config
from .settle import settle

READY_WITHIN, AGAIN = 30.0, 1.0
LEARN, LEAVE_WITHIN = 5.0, 60.0
ENTROPY = 21
log = logging.getLogger("hawser.cluster")


class Clustered:
    """One machine of a cluster, its store open; made by `open_clustered`."""

    def __init__(
        self, home: Home, membership: Membership, process: EtcdProcess, store: EtcdStore, address: str, ports: Ports
    ) -> None:
        self.home, self.membership, self.process = home, membership, process
        self.address, self.ports = address, ports
        self.raw, self.store = store, TextStore(store)
        self.members, self.upkeep = Members(store.calls), Upkeep(store.calls)
        self.machines: Machines | None = None
        self._own: OwnMember | None = None
        self._tending: Tending | None = None
        self._rotation: Rotation | None = None
        self._renewed = asyncio.Event()

    @property
    def role(self) -> Role:
        return self.membership.role

    def backing(self) -> Backing:
        """The store, and how root on this machine reaches it."""
        urls = tuple(f"https://{endpoint}" for endpoint in self.membership.endpoints)
        home = self.home
        where = Etcd(endpoints=urls, cacert=home.ca, cert=home.certificate, key=home.certificate)
        return Backing(store=self.store, where=where)

    def parts(self, data: Path, machines: Machines, registration: Registration) -> list[Coroutine[Any, Any, None]]:
        """Everything that goes on by itself."""
        self.machines = machines
        id_, ports = self.membership.machine, self.ports
        self._rotation = Rotation(
            self.home,
            self._renew,
            self._has_renewed,
            clock=time.time,
            jitter=hashlib.sha256(id_.encode()).digest()[0] / 255,
        )
        parts = [self._rotation.run(), self._learn()]
        if self.role is not Role.MEMBER:
            return parts

        def urls(machine: Machine) -> tuple[str, str]:
            return ports.peer_url(machine.addresses[0]), ports.client_url(machine.addresses[0])

        self._tending = Tending(
            self.store,
            self.members,
            self.upkeep,
            lambda: machines.known.values(),
            lambda: registration.held,
            urls,
        )
        self._own = OwnMember(
            self.store,
            self.members,
            self.process,
            id_,
            ports.peer_url(self.address),
            lambda initial: etcd_config(self.home, data, self.membership.cluster, id_, self.address, ports, initial),
        )
        return [*parts, self._tending.run(), self._own.run(), self._door()]

    def wake(self) -> None:
        """The machines have changed, or who leads."""
        if self._tending is not None:
            self._tending.wake()

    def failures(self) -> list[str]:
        """What is not as it should be."""
        found = [part.trouble for part in (self._rotation, self._own) if part is not None and part.trouble]
        return [f"cluster: {reason}" for reason in found]

    def doing(self) -> str:
        """What the leader does for the members, in a sentence; empty elsewhere."""
        return "" if self._tending is None or self._tending.step is None else str(self._tending.step)

    async def mint(self, ttl: float, uses: int, role: Role) -> str:
        """A new join token. Invalid; Denied where the CA's key is not."""
        if self.home.authority() is None:
            raise Denied("this machine may not let others in: it is a client; make the token on a member's machine")
        token, record = tokens.mint(
            secrets.token_bytes(ENTROPY),
            cluster=self.membership.cluster,
            ca=self.membership.ca[-1],
            endpoints=self._doors(),
            now=time.time(),
            ttl=ttl,
            uses=uses,
            role=role,
        )
        await joining.make_token(self.store, token, record)
        return tokens.encode(token)

    async def _door(self) -> None:
        """Open, and open anew with each new certificate."""
        authority = self.home.authority()
        assert authority is not None
        keeper = Doorkeeper(
            self.store,
            self.membership.cluster,
            authority,
            self.home.ca.read_bytes(),
            lambda: [f"https://{endpoint}" for endpoint in self.membership.endpoints],
            clock=time.time,
            serial=serial,
        )
        while True:
            self._renewed.clear()
            try:
                async with door(keeper, self.home, self.address, self.ports.door):
                    await self._renewed.wait()
            except Unavailable as error:
                log.warning("the cluster's door: %s; trying again", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5.0):
                        await self._renewed.wait()

    def _doors(self) -> list[str]:
        """Where doors are, this machine's own first."""
        known = self.machines.known.values() if self.machines is not None else ()
        others = [at(m.addresses[0], self.ports.door) for m in known if m.role is Role.MEMBER]
        own = [at(self.address, self.ports.door)] if self.role is Role.MEMBER else []
        return list(dict.fromkeys([*own, *sorted(others)]))

    async def _renew(self, request: RenewRequest) -> RenewAnswer:
        authority = self.home.authority()
        if authority is None:
            return await knock.renew(self.home, self._doors(), request)
        keeper = Doorkeeper(
            self.store,
            self.membership.cluster,
            authority,
            self.home.ca.read_bytes(),
            lambda: [f"https://{endpoint}" for endpoint in self.membership.endpoints],
            clock=time.time,
            serial=serial,
        )
        return keeper.renew(pem.split(self.home.identity())[0], request)

    async def _has_renewed(self, answer: RenewAnswer) -> None:
        self._renewed.set()
        await self.raw.calls.move(parse(answer.endpoints, secure=True))

    async def _learn(self) -> None:
        """Where etcd is changes as members come and go: go there, and keep it for the next start."""
        while True:
            with contextlib.suppress(StoreError):
                listed = await self.members.list()
                urls = sorted(url for member in listed if not member.learner for url in member.client_urls)
                endpoints = tuple(url.removeprefix("https://") for url in urls)
                if endpoints and set(endpoints) != set(self.membership.endpoints):
                    self.membership = replace(self.membership, endpoints=endpoints)
                    self.home.save_membership(self.membership)
                    await self.raw.calls.move(parse(urls, secure=True))
            await asyncio.sleep(LEARN)

    async def leave(self) -> None:
        """Take this machine's member out of the cluster, after its data is elsewhere, and forget the cluster. The last
        member takes the cluster with it. Conflict when the others cannot do without it yet."""
        await self._without_member()
        await self.process.destroy()
        self.home.forget()

    async def _without_member(self) -> None:
        """The leader replaces and removes the member of a machine that is draining; where there is nobody to replace
        it, it is only removed."""
        mine = self.ports.peer_url(self.address)
        deadline = asyncio.get_running_loop().time() + LEAVE_WITHIN
        while True:
            listed = await self.members.list()
            own = next((each for each in listed if mine in each.peer_urls), None)
            if own is None or len(listed) == 1:
                return
            others = self.machines.known.values() if self.machines is not None else ()
            taken = {each.name for each in listed}
            replaced = any(_could_have_one(other) and other.id not in taken for other in others)
            if not replaced or asyncio.get_running_loop().time() > deadline:
                try:
                    await self.members.remove(own.id)
                except (Unavailable, Conflict):  # etcd wants its members to have been well for a few seconds
                    if asyncio.get_running_loop().time() > deadline + LEAVE_WITHIN:
                        raise
                else:
                    return
            await asyncio.sleep(AGAIN)


def _could_have_one(machine: Machine) -> bool:
    """Whether a machine may run a member."""
    return machine.role is Role.MEMBER and bool(machine.versions.etcd) and not machine.draining


@asynccontextmanager
async def open_clustered(
    home: Home, membership: Membership, data: Path, address: str, ports: Ports
) -> AsyncIterator[Clustered]:
    """This machine's part of its cluster; its member runs when it has one. StoreError."""
    config = etcd_config(home, data, membership.cluster, membership.machine, address, ports)
    process = EtcdProcess(config, data / "etcd")
    running = process.open()
    if running and process.outdated():
        running = False
    async with background(process.run()):
        if not running and (home.founding() is not None or config.data.is_dir()):
            try:
                await (process.restart(config, READY_WITHIN) if process.status().pid else process.start(READY_WITHIN))
            except (Unavailable, Conflict) as error:
                # the others may do without it, or be started later
                if home.founding() is not None:
                    raise
                log.warning("%s", error)
        urls = [f"https://{endpoint}" for endpoint in membership.endpoints]
        tls = Tls(ca=home.ca, cert=home.certificate, key=home.certificate)
        async with connect(urls, tls=tls) as store:
            clustered = Clustered(home, membership, process, store, address, ports)
            await _settled(clustered, data)
            yield clustered


async def _settled(clustered: Clustered, data: Path) -> None:
    """Wait for the store, however long that takes: containers go on meanwhile."""
    told = ""
    while True:
        try:
            await settle(
                clustered.home, clustered.membership, clustered.store, data, clustered.address, clustered.ports
            )
        except Unavailable as error:
            if told != str(error):
                log.warning("%s; waiting for the cluster", error)
                told = str(error)
            await asyncio.sleep(AGAIN)
        else:
            return
