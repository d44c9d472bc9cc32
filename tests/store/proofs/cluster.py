"""Three real etcd members, each on a host of a lab, and the test as a fourth host that hears all of them.

A member is a process that is killed, paused and started again with what its disk has. What a scenario does to the wires
is the lab's own business (`cluster.lab`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from hawser.labs import Lab, Process, single
from hawser.labs.drivers.node import Node
from hawser.store import StoreError
from hawser.store.cluster.command import GIB, EtcdConfig, argv
from hawser.store.etcd.client import Auth, EtcdStore, MemberStatus, Roles, Upkeep, Users, connect
from tests.wait import auntil

NAMES = ("h1", "h2", "h3")
HEARTBEAT, ELECTION = 50, 500
ASKED_WITHIN = 0.5
SETTLES_WITHIN = 15.0


class Member:
    """One of them, by its host's name."""

    def __init__(self, node: Node, config: EtcdConfig) -> None:
        self.node, self.config = node, config
        self.name, self.url = node.name, config.client_urls[0]
        self.process: Process | None = None

    def start(self) -> None:
        self.process = self.node.start((*argv(self.config), "--bcrypt-cost=4"), name="etcd")

    def kill(self) -> None:
        """As a loss of power, but for the disk."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> None:
        """As an operator does."""
        assert self.process is not None
        process = self.process
        process.terminate()
        await auntil(lambda: not process.running, timeout=10, what=f"the end of {self.name}")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def said(self) -> str:
        return self.process.output() if self.process else ""


class Cluster:
    """The members, and a client for the operator's questions."""

    def __init__(self, lab: Lab, members: Iterable[Member], store: EtcdStore) -> None:
        self.lab = lab
        self.members = {member.name: member for member in members}
        self.store, self.upkeep = store, Upkeep(store.calls)
        self.password: str | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(member.url for member in self.members.values())

    def others(self, *those: Member) -> list[Member]:
        return [member for member in self.members.values() if member not in those]

    async def status(self, member: Member) -> MemberStatus | None:
        """What a member says of itself, or None."""
        endpoint = next(each for each in self.upkeep.endpoints if each.url == member.url)
        try:
            return await self.upkeep.status(endpoint, timeout=ASKED_WITHIN)
        except StoreError:
            return None

    async def leader(self, among: Sequence[Member] | None = None) -> Member:
        """The leader once all of these members (those that run, unless told) agree on one of them, and have all that
        it has: then it answers."""
        asked = list(among or [member for member in self.members.values() if member.running])
        found = list[Member]()

        async def agreed() -> bool:
            told = dict(zip(asked, await asyncio.gather(*map(self.status, asked)), strict=True))
            leaders = {None if status is None else status.leader for status in told.values()}
            here = [member for member, status in told.items() if status and status.member in leaders]
            found[:] = here
            return len(leaders) == 1 and len(here) == 1

        deadline = asyncio.get_running_loop().time() + SETTLES_WITHIN
        while not await agreed():
            assert asyncio.get_running_loop().time() < deadline, f"no leader: {_fare(asked)}"
        return found[0]

    async def alike(self) -> None:
        """Wait until all members hold the same keys with the same history."""
        last = (await self.store.range(b"\0", limit=1)).revision
        hashes = set[int]()

        async def same() -> bool:
            try:
                asked = (self.upkeep.hash(endpoint, revision=last) for endpoint in self.upkeep.endpoints)
                hashes.update(each.hash for each in await asyncio.gather(*asked))
            except StoreError:
                return False
            return True

        deadline = asyncio.get_running_loop().time() + SETTLES_WITHIN
        while not await same():
            assert asyncio.get_running_loop().time() < deadline, "a member does not come back"
        assert len(hashes) == 1, f"the members differ at revision {last}"

    def connect(
        self, *members: Member, timeout: float = 2.0, seed: object = 0
    ) -> AbstractAsyncContextManager[EtcdStore]:
        """A client of these members only, or of all."""
        urls = [member.url for member in members] or self.urls
        user = None if self.password is None else "root"
        chance = random.Random(str(seed)).random
        return connect(urls, timeout=timeout, transport="grpc", chance=chance, user=user, password=self.password)

    async def ask_who(self) -> None:
        """Users are told apart from now on; `connect` gives clients of root, `store` is nobody's."""
        self.password = "secret"
        users, roles = Users(self.store.calls), Roles(self.store.calls)
        await users.add("root", self.password)
        await roles.add("root")
        await users.grant("root", "root")
        await Auth(self.store.calls).enable()

    def client(self, seed: str) -> AbstractAsyncContextManager[EtcdStore]:
        """One of all members."""
        return self.connect(seed=seed)


@asynccontextmanager
async def cluster(
    rundir: Path, *, disks: Mapping[str, int] | None = None, quota: int = 8 * GIB
) -> AsyncIterator[Cluster]:
    """Up, with a leader. `disks`: bytes of a host's own small disk for the member's data; `quota` as etcd's."""
    async with Lab(single(len(NAMES)), name="c", run=rundir) as lab:
        lab.attach()
        members = [Member(lab.host(name), _config(lab, name, (disks or {}).get(name), quota)) for name in NAMES]
        for member in members:
            member.start()
        urls = [member.url for member in members]
        async with connect(urls, timeout=5.0, transport="grpc") as store:
            made = Cluster(lab, members, store)
            await made.leader()
            yield made


def _fare(members: Iterable[Member]) -> str:
    return "; ".join(f"{each.process}, {each.said()[-300:]}" for each in members)


def _config(lab: Lab, name: str, disk: int | None, quota: int) -> EtcdConfig:
    peers = {each: f"http://{lab.host(each).ip}:2380" for each in NAMES}
    host = lab.host(name)
    return EtcdConfig(
        name=name,
        data=(host.disk(size=disk) if disk else host.path) / "data",
        token="proofs",
        client_urls=(f"http://{host.ip}:2379",),
        peer_urls=(peers[name],),
        initial_cluster=",".join(f"{each}={url}" for each, url in peers.items()),
        compaction=0,
        quota=quota,
        heartbeat=HEARTBEAT,
        election=ELECTION,
    )
