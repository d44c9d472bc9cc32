"""The plan against real etcd members with TLS: one grows to three, a lost one is replaced, three shrink to one."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hawser.store import Conflict
from hawser.store.cluster import certificates, members
from hawser.store.cluster.command import ClusterState
from hawser.store.cluster.drivers.etcd_process import EtcdProcess, EtcdState
from hawser.store.cluster.member_plan import next_step
from hawser.store.cluster.members import Host, Member, Step, Verb
from tests.store.cluster.local_etcd import CLUSTER, ctl, files, member, needs_etcd, supervised

pytestmark = needs_etcd
PATIENCE = 1.0
LATER = ("unhealthy cluster", "in sync with leader", "leader changed", "no leader")


class Fleet:
    """Machines that run members as the plan says."""

    def __init__(self, directory: Path, machines: tuple[str, ...], stack: AsyncExitStack) -> None:
        authority = certificates.new_authority(CLUSTER, now=time.time(), serial=1)
        self.configs = {name: member(directory, files(directory, authority, name), name) for name in machines}
        self.directory, self.stack = directory, stack
        self.up: dict[str, EtcdProcess] = {}
        self.seen: dict[int, Member] = {}
        self.steps: list[str] = []

    async def start(self, name: str) -> None:
        process = EtcdProcess(self.configs[name], self.directory / name)
        self.up[name] = await self.stack.enter_async_context(supervised(process))
        await process.start(20)

    async def ask(self, *words: str) -> str:
        for name in sorted(self.up):
            code, said = await ctl(self.configs[name], *words)
            if code == 0:
                return said
        raise AssertionError(f"{words}: {said}")

    async def look(self) -> tuple[Member, ...]:
        listed = json.loads(await self.ask("member", "list", "-w", "json"))["members"]
        leader = json.loads(await self.ask("endpoint", "status", "-w", "json"))[0]["Status"]["leader"]
        found = [
            Member(
                id=one["ID"],
                name=one.get("name", ""),
                peer_urls=tuple(one["peerURLs"]),
                learner=one.get("isLearner", False),
                leader=one["ID"] == leader,
                synced=True,
            )
            for one in listed
        ]
        well = {one.id for one in found if one.name in self.up and await self.up[one.name].healthy()}
        answer = members.observed(found, self.seen, well, time.monotonic())
        self.seen = {one.id: one for one in answer}
        return answer

    async def act(self, step: Step) -> None:
        """Do a step; what etcd will do only later is looked at again."""
        change = {
            Verb.ADD: ("add", step.machine, "--learner", f"--peer-urls={','.join(step.peer_urls)}"),
            Verb.PROMOTE: ("promote", f"{step.member:x}"),
            Verb.REMOVE: ("remove", f"{step.member:x}"),
        }.get(step.verb)
        if change is None:
            return
        try:
            await self.ask("member", *change)
        except AssertionError as error:
            if not any(later in str(error) for later in LATER):
                raise
            return
        self.steps.append(f"{step.verb} {step.machine}")
        if step.verb is Verb.ADD:
            config = self.configs[step.machine]
            names = members.initial_cluster(await self.look(), step.machine, step.peer_urls)
            self.configs[step.machine] = replace(config, initial_cluster=names, state=ClusterState.EXISTING)
            await self.start(step.machine)
        elif step.verb is Verb.REMOVE and (process := self.up.pop(step.machine, None)):
            await process.destroy()

    async def settle(self, size: int, machines: tuple[str, ...]) -> None:
        hosts = [Host(machine=name, peer_urls=self.configs[name].peer_urls) for name in machines]
        async with asyncio.timeout(60):
            while True:
                listed = await self.look()
                step = next_step(size, hosts, listed, now=time.monotonic(), patience=PATIENCE)
                if step.reason.endswith("as wanted"):
                    return
                await self.act(step)
                await asyncio.sleep(0.1)


async def test_one_three_replaced_one(rundir: Path) -> None:
    async with AsyncExitStack() as stack:
        fleet = Fleet(rundir, ("m1", "m2", "m3", "m4"), stack)
        await fleet.start("m1")
        await fleet.ask("put", "kept", "1")

        await fleet.settle(3, ("m1", "m2", "m3"))
        assert fleet.steps == ["add m2", "promote m2", "add m3", "promote m3"]

        gone = fleet.up.pop("m2")
        await gone.stop()
        await fleet.settle(3, ("m1", "m3", "m4"))
        assert fleet.steps[4:] == ["remove m2", "add m4", "promote m4"]

        with pytest.raises(Conflict, match="m2: it was removed from its cluster"):
            await gone.start()
        assert gone.status().state is EtcdState.REMOVED
        await gone.destroy()

        await fleet.settle(1, ("m1", "m3", "m4"))
        assert fleet.steps[7:] in (["remove m3", "remove m4"], ["remove m1", "remove m4"], ["remove m1", "remove m3"])
        assert await fleet.ask("get", "kept") == "kept\n1\n"
