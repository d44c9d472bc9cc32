"""Open vSwitch's daemons: found again, started again, and the machine's own left to itself."""

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hawser.netd.drivers import netns
from hawser.netd.errors import NetError, Unavailable
from hawser.netd.ovs.drivers import rpc
from hawser.netd.ovs.drivers.instance import Instance, Paths
from hawser.netd.ovs.drivers.ovsdb import Ovsdb
from hawser.netd.ovs.rows import BridgeRow
from hawser.store.background import background
from tests.netd.conftest import CLONE_NEWNET
from tests.wait import auntil, until

pytestmark = pytest.mark.root


def pids(paths: Paths) -> tuple[int, int]:
    """Of ovs-vswitchd and ovsdb-server, by their records; 0 without one."""
    return recorded(paths.rundir / "ovs-vswitchd.process"), recorded(paths.rundir / "ovsdb-server.process")


def recorded(record: Path) -> int:
    try:
        return int(record.read_text().splitlines()[1].split()[0])
    except OSError:
        return 0


def forge(record: Path) -> None:
    """A record of us, as we were started at another time."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    record.write_text(f"{boot}{os.getpid()} (x) S {' '.join('0' * 20)}")


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def is_waiting(paths: Paths) -> bool:
    rows = await rpc.transact(paths.db, {"op": "select", "table": "Open_vSwitch", "where": []})
    return ["flow-restore-wait", "true"] in rows[0]["rows"][0]["other_config"][1]


async def test_a_pair_is_started_once(ovs: Instance) -> None:
    paths = await ovs.ensure()
    before = pids(paths)
    assert paths.own
    assert await ovs.ensure() == paths
    assert pids(paths) == before
    assert "ovs-vswitchd" in await rpc.call(paths.control, "version")
    assert ovs.alive()


async def test_a_restart_of_the_node_finds_the_same_processes(ovs: Instance, rundir: Path) -> None:
    paths = await ovs.ensure()
    before = pids(paths)
    ovs.close()
    later = Instance(rundir / "run", rundir / "data", system=rundir / "nothing")
    assert later.alive()
    assert await later.ensure() == paths
    assert pids(paths) == before
    later.close()


async def test_its_end_ends_both_and_keeps_the_database(ovs: Instance, instance: str) -> None:
    paths = await ovs.ensure()
    first = Ovsdb(paths.db, instance)
    bridge = BridgeRow(name="hwint0", datapath=paths.datapath)
    await first.settled(await first.apply({"bridge": bridge}))
    await first.close()
    before = pids(paths)
    assert "hwint0" in dict(socket.if_nameindex()).values()
    await ovs.stop()
    assert not ovs.alive()
    assert [pid for pid in before if is_there(pid)] == []
    assert socket.if_nameindex() == [(1, "lo")]
    paths = await ovs.ensure()
    again = Ovsdb(paths.db, instance)
    assert await again.observe() == {"bridge": bridge}
    await again.close()


async def test_a_dead_switch_is_started_again_and_waits_for_its_flows(rundir: Path) -> None:
    news: list[int] = []
    ovs = Instance(rundir / "run", rundir / "data", system=rundir / "nothing", restarted=lambda: news.append(1))
    async with tended(ovs) as paths:
        await ovs.programmed()
        assert not await is_waiting(paths)
        switch, server = pids(paths)
        kill(switch)
        await auntil(lambda: news, what="the news")
        paths = await ovs.ensure()
        assert pids(paths)[0] != switch
        assert pids(paths)[1] == server
        assert await is_waiting(paths)
        await ovs.programmed()
        assert not await is_waiting(paths)


async def test_a_dead_database_is_started_again_and_the_switch_goes_on(rundir: Path) -> None:
    news: list[int] = []
    ovs = Instance(rundir / "run", rundir / "data", system=rundir / "nothing", restarted=lambda: news.append(1))
    async with tended(ovs) as paths:
        switch, server = pids(paths)
        kill(server)
        await auntil(lambda: ovs.alive() and pids(paths)[1] not in (0, server), what="the database")
        assert (await ovs.ensure()).control == paths.control
        assert pids(paths)[0] == switch
        assert news == []


async def test_both_dead_are_both_started_again(rundir: Path) -> None:
    news: list[int] = []
    ovs = Instance(rundir / "run", rundir / "data", system=rundir / "nothing", restarted=lambda: news.append(1))
    async with tended(ovs) as paths:
        for pid in pids(paths):
            kill(pid)
        await auntil(lambda: news and ovs.alive(), what="both")


async def test_a_record_of_another_process_is_not_believed(ovs: Instance) -> None:
    paths = await ovs.ensure()
    await ovs.stop()
    for name in ("ovs-vswitchd", "ovsdb-server"):
        forge(paths.rundir / f"{name}.process")
    assert not ovs.alive()
    await ovs.ensure()
    assert os.getpid() not in pids(paths)


async def test_why_it_does_not_run_is_said_in_its_own_words(ovs: Instance, rundir: Path) -> None:
    (rundir / "data/ovs").mkdir(parents=True)
    (rundir / "data/ovs/conf.db").write_text("nonsense")
    with pytest.raises(NetError, match=r"conf\.db"):
        await ovs.ensure()


async def test_without_its_programs_it_says_what_to_install(ovs: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("hawser.netd.ovs.drivers.programs.SBIN", "")
    with pytest.raises(Unavailable, match="apt-get install openvswitch-switch"):
        await ovs.ensure()


async def test_the_machines_own_is_used_and_left_alone(ovs: Instance, rundir: Path) -> None:
    theirs = await ovs.ensure()
    ours = Instance(rundir / "ours", rundir / "ours", system=theirs.rundir)
    paths = await ours.ensure()
    assert not paths.own
    assert (paths.db, paths.control) == (theirs.db, theirs.control)
    assert ours.alive()
    await ours.stop()
    assert ovs.alive()
    assert not (rundir / "ours/ovs").exists()


async def test_a_restart_of_the_machines_own_is_noticed(ovs: Instance, rundir: Path) -> None:
    theirs = await ovs.ensure()
    news: list[int] = []
    ours = Instance(rundir / "ours", rundir / "ours", system=theirs.rundir, restarted=lambda: news.append(1))
    await ours.ensure()
    async with background(ours.tend()):
        await asyncio.sleep(0)
        kill(pids(theirs)[0])
        until(lambda: not ovs.alive(), what="its end")
        theirs = await ovs.ensure()
        await auntil(lambda: news, what="the news")
        assert (await ours.ensure()).control == theirs.control


async def test_one_of_another_network_namespace_is_not_the_machines_own(ovs: Instance, rundir: Path) -> None:
    theirs = await ovs.ensure()
    ours = Instance(rundir / "ours", rundir / "ours", system=theirs.rundir)
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0  # `own_network` comes back
    netns.lo_up()
    try:
        assert (await ours.ensure()).own
    finally:
        await ours.stop()


@asynccontextmanager
async def tended(ovs: Instance) -> AsyncIterator[Paths]:
    """A running instance with its tending; ended afterwards."""
    try:
        paths = await ovs.ensure()
        async with background(ovs.tend()):
            await asyncio.sleep(0)
            yield paths
    finally:
        await ovs.stop()
