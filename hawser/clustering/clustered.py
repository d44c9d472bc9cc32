"""A machine's part of its cluster while the node runs: its etcd member, the door, its certificate; and when it leads,
the cluster's members.
"""

import hashlib
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hawser.store import TextStore
from hawser.store.cluster.command import EtcdConfig
from hawser.store.cluster.drivers.etcd_process import EtcdProcess, EtcdState
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import RenewAnswer
from hawser.store.cluster.machines import Machines
from hawser.store.cluster.model import Cluster, Machine, Membership, Role
from hawser.store.cluster.own_member import OwnMember
from hawser.store.cluster.registration import Registration
from hawser.store.cluster.rotation import Rotation
from hawser.store.cluster.tending import Tending
from hawser.store.etcd.client import EtcdStore
from hawser.store.etcd.client.members import Members
from hawser.store.etcd.client.upkeep import Upkeep

from ..backing import Backing, Etcd
from .doors import Doors
from .leaving import Leaving
from .place import Ports, etcd_config
from .whereabouts import Whereabouts


class Clustered:
    """One machine of a cluster, its store open; made by `open_clustered`."""

    def __init__(
        self,
        home: Home,
        membership: Membership,
        cluster: Cluster,
        process: EtcdProcess,
        store: EtcdStore,
        data: Path,
        address: str,
        ports: Ports,
    ) -> None:
        self.home, self.cluster, self.process = home, cluster, process
        self.machine, self.role = membership.machine, membership.role
        self.store = TextStore(store)
        self._data, self._address, self._ports = data, address, ports
        self._members, self._upkeep = Members(store.calls), Upkeep(store.calls)
        self._known: Machines | None = None
        self._own: OwnMember | None = None
        self._tending: Tending | None = None
        self._where = Whereabouts(home, membership, store, address, ports, self._machines)
        own = address if self.role is Role.MEMBER else None
        self.doors = Doors(home, self.store, cluster, own, ports, self._where.urls, self._machines)
        self._rotation = Rotation(
            home, self.doors.renew, self._renewed, clock=time.time, jitter=_fraction(membership.machine)
        )

    def backing(self) -> Backing:
        """The store, and how root on this machine reaches it."""
        home = self.home
        where = Etcd(endpoints=tuple(self._where.urls()), cacert=home.ca, cert=home.certificate, key=home.certificate)
        return Backing(store=self.store, where=where, cluster=self.cluster.id)

    def parts(self, machines: Machines, registration: Registration) -> list[Coroutine[Any, Any, None]]:
        """Everything that goes on by itself."""
        self._known = machines
        parts = [self._rotation.run(), self._where.run(), self.doors.run()]
        if self.role is not Role.MEMBER:
            return parts
        self._tending = Tending(
            self.store,
            self._members,
            self._upkeep,
            self._machines,
            lambda: registration.held,
            self._ports.member_urls,
        )
        self._own = OwnMember(
            self.store, self._members, self.process, self.machine, self._ports.peer_url(self._address), self._configure
        )
        return [*parts, self._tending.run(), self._own.run()]

    def wake(self) -> None:
        """The machines have changed, or who leads."""
        self._where.wake()
        if self._tending is not None:
            self._tending.wake()

    def failures(self) -> list[str]:
        """What is not as it should be."""
        status = self.process.status()
        member = f"etcd member: {status.reason}" if status.state is EtcdState.FAILED else ""
        found = [member, self.doors.trouble, self._rotation.trouble, self._own.trouble if self._own else ""]
        return [f"cluster: {reason}" for reason in found if reason]

    def doing(self) -> str:
        """What the leader does for the members, in a sentence; empty elsewhere."""
        return "" if self._tending is None or self._tending.step is None else str(self._tending.step)

    async def mint(self, ttl: float, uses: int, role: Role) -> str:
        """A new join token; see Doors."""
        return await self.doors.mint(ttl, uses, role)

    async def check_part(self) -> None:
        """Conflict when the others cannot do without this machine's member."""
        await self._leaving().check()

    async def part(self) -> None:
        """Take this machine's member out of the cluster, after its data is elsewhere. Conflict, Unavailable."""
        if await self._leaving().run():
            await self._where.learn(without=self.machine)

    async def forget(self) -> None:
        """This machine is of no cluster from now on; what its member had is deleted."""
        self.home.forget()
        await self.process.destroy()

    def _leaving(self) -> Leaving:
        peer_url = self._ports.peer_url(self._address)
        return Leaving(self.store, self._members, self.machine, peer_url, self._others)

    def _machines(self) -> list[Machine]:
        return list(self._known.known.values()) if self._known is not None else []

    def _others(self) -> list[Machine]:
        return [each for each in self._machines() if each.id != self.machine]

    def _configure(self, initial: str) -> EtcdConfig:
        return etcd_config(self.home, self._data, self.cluster.id, self.machine, self._address, self._ports, initial)

    async def _renewed(self, _: RenewAnswer) -> None:
        self.doors.renewed()
        await self._where.renew()


def _fraction(machine: str) -> float:
    """The same in [0, 1] for a machine always."""
    return hashlib.sha256(machine.encode()).digest()[0] / 255
