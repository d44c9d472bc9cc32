"""What an operator sees of units on one machine, from submission to destruction, and over crashes of the node."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from hawser.sched import records
from hawser.sched.errors import Invalid
from hawser.sched.registry import Registry
from hawser.store import MemoryStore, PutOp, SqliteStore, TxnResult, Unavailable
from hawser.store.kv import Compare, Op

from .fakes import World
from .site import MACHINE, Site, unit

WEB = "web.service"


async def test_a_started_unit_is_placed_and_runs() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run 1"))
        row = await site.becomes(WEB, active="active")
    assert row | {"hash": ""} == {
        "name": WEB, "desired": "launched", "machine": MACHINE, "load": "loaded",
        "active": "active", "sub": "running", "reason": "", "hash": "", "restarts": 0,
    }  # fmt: skip
    assert site.world.did("start", WEB) == ["run 1"]


async def test_commands_run_in_order_and_place() -> None:
    site = Site()
    text = unit("run", ExecStartPre="pre ; +/bin/host", ExecStartPost="post", ExecStop="bye", ExecStopPost="after")
    async with site.node():
        await site.start(WEB, text + "[X-Container]\nImage=x\n")
        await site.becomes(WEB, active="active")
        await site.units.set_desired(WEB, "loaded")
        await site.becomes(WEB, active="inactive")
    assert site.world.log == [
        f"run {WEB} container: pre",
        f"run {WEB} host: /bin/host",
        f"start {WEB} run",
        f"run {WEB} container: post",
        f"run {WEB} container: bye",
        f"stop {WEB} 90",
        f"run {WEB} container: after",
    ]


async def test_a_loaded_unit_has_a_machine_and_does_not_run() -> None:
    site = Site()
    async with site.node():
        await site.units.submit(WEB, unit())
        await site.units.set_desired(WEB, "loaded")
        row = await site.becomes(WEB, load="loaded")
    assert (row["machine"], row["active"], row["sub"]) == (MACHINE, "inactive", "dead")
    assert not site.world.log


async def test_a_crash_is_restarted_and_explained() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit(Restart="on-failure", RestartSec="60"))
        await site.becomes(WEB, active="active")
        await site.kill(WEB, code=3)
        row = await site.becomes(WEB, sub="auto-restart")
        assert row["reason"] == "exit code 3, restart 1 in 60 s"
        await site.units.set_desired(WEB, "launched")
        await site.becomes(WEB, active="active")
        await site.units.submit(WEB, unit(Restart="on-failure", RestartSec="5ms"))
        await site.becomes(WEB, active="active")
        await site.kill(WEB, signal=9)
        row = await site.becomes(WEB, active="active", restarts=1)
    assert site.world.running(WEB)


async def test_a_unit_that_cannot_live_fails_at_the_limit_and_can_be_started_again() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("exit 4", Restart="always", RestartSec="1ms"))
        row = await site.becomes(WEB, active="failed")
        assert row["reason"].startswith("started 5 times in 10 s, the limit; last: exit code 4")
        assert len(site.world.did("start", WEB)) == 5
        await site.units.set_desired(WEB, "launched")
        await site.eventually(lambda: _count(site.world), lambda count: count == 10)


async def _count(world: World) -> int:
    return len(world.did("start", WEB))


async def test_what_the_manager_cannot_do_is_told_and_retried() -> None:
    site = Site()
    async with site.node():
        await site.start("a.service", unit("broken nginx"))
        row = await site.becomes("a.service", active="failed")
        assert row["reason"] == "image nginx does not exist; import it first"
        await site.start("b.service", unit("broken nginx", Restart="on-failure", RestartSec="60"))
        row = await site.becomes("b.service", sub="auto-restart")
        assert row["reason"] == "image nginx does not exist; import it first, restart 1 in 60 s"


async def test_a_slow_unit_holds_up_nobody() -> None:
    site = Site()
    async with site.node():
        await site.start("a.service", unit("hang"))
        await site.start("b.service", unit("run", ExecStartPre="hang"))
        await site.start("c.service", unit())
        await site.becomes("c.service", active="active")
        await site.becomes("a.service", sub="start")
        await site.becomes("b.service", sub="start-pre")


async def test_a_start_that_takes_too_long_is_broken_off() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("hang", TimeoutStartSec="20ms"))
        row = await site.becomes(WEB, active="failed")
    assert row["reason"] == "start took longer than 0.02 s"


async def test_a_stop_while_starting_stops() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run", ExecStartPre="hang"))
        await site.becomes(WEB, sub="start-pre")
        await site.units.set_desired(WEB, "loaded")
        await site.becomes(WEB, active="inactive", sub="dead")
    assert not site.world.did("start", WEB)


async def test_a_start_while_stopping_starts_afterwards() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run", ExecStop="hang", TimeoutStopSec="30ms"))
        await site.becomes(WEB, active="active")
        await site.units.set_desired(WEB, "loaded")
        await site.becomes(WEB, sub="stop")
        await site.units.set_desired(WEB, "launched")
        await site.becomes(WEB, active="active", sub="running")
    assert site.world.did("start", WEB) == ["run", "run"]


async def test_a_restart_stops_and_starts_once() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit())
        await site.becomes(WEB, active="active")
        await site.units.restart(WEB)
        await site.becomes(WEB, active="active")
        assert [line.split()[0] for line in site.world.log] == ["start", "stop", "start"]


async def test_a_new_text_replaces_the_running_one() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run 1", ExecStop="bye 1"))
        before = await site.becomes(WEB, active="active")
        await site.units.submit(WEB, unit("run 2"))
        after = await site.becomes(WEB, active="active")
        assert before["hash"] != after["hash"] == site.world.processes[WEB].hash
    assert site.world.did("start", WEB) == ["run 1", "run 2"]
    assert site.world.did("run", WEB) == ["host: bye 1"]
    assert len(site.world.did("clear", WEB)) == 1


async def test_a_text_taken_back_while_its_unit_stops_still_leaves_it_launched() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run 1", ExecStop="hang", TimeoutStopSec="30ms"))
        await site.becomes(WEB, active="active")
        await site.units.submit(WEB, unit("run 2"))
        key = records.state_key(MACHINE, WEB)
        await site.eventually(lambda: site.store.get(key), lambda entry: b'"sub":"stop"' in entry.value)
        await site.units.submit(WEB, unit("run 1", ExecStop="hang", TimeoutStopSec="30ms"))
        await site.becomes(WEB, active="active")
    assert site.world.did("start", WEB) == ["run 1", "run 1"]


async def test_a_text_taken_back_over_a_crash_is_run_by_its_own_meaning() -> None:
    site = Site()
    one, two = unit("run 1", ExecStartPre="pre"), unit("run 2")
    async with site.node():
        await site.start(WEB, one)
        await site.becomes(WEB, active="active")
        await site.units.set_desired(WEB, "loaded")
        await site.becomes(WEB, active="inactive")
    site.world.stuck.add(WEB)
    await site.units.submit(WEB, two)
    async with site.node():
        await site.eventually(lambda: _clears(site.world), lambda count: count > 0)
        await site.units.submit(WEB, one)
        await site.units.set_desired(WEB, "launched")
        await site.becomes(WEB, active="active")
    assert site.world.did("start", WEB) == ["run 1", "run 1"]


async def _clears(world: World) -> int:
    return len(world.did("clear", WEB))


@pytest.mark.parametrize("way", ["unload", "destroy"])
async def test_what_is_not_wanted_any_more_is_stopped_and_cleared(way: str) -> None:
    site = Site()
    async with site.node() as agent:
        await site.start(WEB, unit("stubborn"))
        await site.becomes(WEB, active="active")
        if way == "unload":
            await site.units.set_desired(WEB, "inactive")
            await site.becomes(WEB, load="unloaded")
        else:
            await site.units.destroy(WEB)
        await agent.drain()
    assert site.world.did("stop", WEB) == ["90"]
    assert not site.world.processes
    assert not (await site.store.range(records.STATES, prefix=True)).kvs


async def test_a_oneshot_runs_its_commands_and_is_done() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("exit 0 ; exit 0", Type="oneshot", ExecStartPost="post"))
        await site.becomes(WEB, active="inactive", sub="dead")
        await site.start("b.service", unit("exit 0", Type="oneshot", RemainAfterExit="yes"))
        await site.becomes("b.service", active="active", sub="exited")
    assert site.world.did("start", WEB) == ["exit 0", "exit 0"]


async def test_environment_files_are_read_at_the_start(rundir: Path) -> None:
    site = Site()
    file = rundir / "env"
    text = unit("run $PORT ${NAME}", Environment="PORT=1 NAME=x", EnvironmentFile=str(file), ExecStartPre="pre $PORT")
    async with site.node():
        await site.start(WEB, text)
        row = await site.becomes(WEB, active="failed")
        assert f"EnvironmentFile={file}: No such file or directory" in row["reason"]
        file.write_text("PORT='2 3'\n")
        await site.units.set_desired(WEB, "launched")
        await site.becomes(WEB, active="active")
    assert site.world.did("start", WEB) == ["run 2 3 x"]
    assert site.world.did("run", WEB) == ["host: pre 2 3"]


async def test_a_unit_waits_for_what_it_comes_after() -> None:
    site = Site()
    async with site.node():
        await site.start("db.service", unit("run", ExecStartPre="hang"))
        await site.becomes("db.service", sub="start-pre")
        await site.start(WEB, "[Unit]\nAfter=db.service\nWants=network.target\n" + unit())
        row = await site.becomes(WEB, reason="waits for db.service: activating (start-pre)")
        assert row["active"] == "activating"
        await site.units.set_desired("db.service", "loaded")
        await site.becomes(WEB, active="active")


async def test_a_bound_unit_goes_and_comes_with_the_other() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, "[Unit]\nBindsTo=db.service\nAfter=db.service\n" + unit())
        await site.becomes(WEB, reason="waits for db.service: not on this machine")
        await site.start("db.service", unit())
        await site.becomes(WEB, active="active")
        await site.units.set_desired("db.service", "loaded")
        await site.eventually(lambda: _running(site.world), lambda running: not running)
        await site.becomes("db.service", active="inactive")
        await site.units.set_desired("db.service", "launched")
        await site.becomes(WEB, active="active")


async def _running(world: World) -> bool:
    return world.running(WEB)


async def test_units_that_come_after_each_other_both_start() -> None:
    site = Site()
    async with site.node():
        await site.start("a.service", "[Unit]\nAfter=b.service\n" + unit())
        await site.start("b.service", "[Unit]\nAfter=a.service\n" + unit())
        await site.becomes("a.service", active="active")
        await site.becomes("b.service", active="active")


async def test_a_unit_without_a_machine_says_why() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit() + "[X-Fleet]\nMachineID=0000\n")
        row = await site.becomes(WEB, reason="no machine: MachineID=0000 is not here")
        assert (row["machine"], row["active"], row["load"]) == (None, "inactive", "unloaded")
        await site.units.submit(WEB, unit() + f"[X-Fleet]\nMachineID={MACHINE}\n")
        await site.becomes(WEB, active="active")


async def test_a_global_unit_runs_here() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit() + "[X-Fleet]\nGlobal=true\n")
        await site.becomes(WEB, active="active", machine=MACHINE)


async def test_an_instance_knows_its_name() -> None:
    site = Site()
    async with site.node():
        await site.units.submit("web@.service", unit("run %i %p %n %m"))
        await site.units.set_desired("web@7.service", "launched")
        await site.becomes("web@7.service", active="active")
        with pytest.raises(Invalid, match="is a template"):
            await site.units.set_desired("web@.service", "launched")
    assert site.world.did("start", "web@7.service") == [f"run 7 web web@7.service {MACHINE}"]


async def test_states_are_written_only_when_they_change() -> None:
    site = Site()
    async with site.node() as agent:
        await site.start(WEB, unit())
        await site.becomes(WEB, active="active")
        revision = (await site.store.range(WEB)).revision
        for _ in range(5):
            agent.wake()
            await agent.drain()
            await asyncio.sleep(0)
        assert (await site.store.range(WEB)).revision == revision
        assert await agent.plan() == ()


async def test_the_plan_says_what_is_under_way() -> None:
    site = Site()
    async with site.node() as agent:
        await site.start("a.service", unit("hang"))
        await site.becomes("a.service", sub="start")
        steps = await agent.plan()
    assert [(str(step.verb), step.key, step.spec) for step in steps] == [("update", "a.service", "start")]


async def test_what_cannot_be_cleared_is_told_and_tried_again() -> None:
    site = Site()
    async with site.node() as agent:
        await site.start(WEB, unit("run 1"))
        await site.becomes(WEB, active="active")
        site.world.stuck.add(WEB)
        await site.units.submit(WEB, unit("run 2"))
        key = records.state_key(MACHINE, WEB)
        await site.eventually(
            lambda: site.store.get(key), lambda entry: b"cannot be cleared: mount of web.service is busy" in entry.value
        )
        site.world.stuck.clear()
        await site.becomes(WEB, active="active")
        await agent.drain()
    assert site.world.did("start", WEB) == ["run 1", "run 2"]


class FullStore(MemoryStore):
    """A store that takes no states while its disk is full."""

    full = False

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        if self.full and any(isinstance(op, PutOp) and op.key.startswith(records.STATES) for op in then):
            raise Unavailable("the disk is full; free some space")
        return await super().txn(compares, then, otherwise)


async def test_units_are_kept_while_the_store_takes_nothing() -> None:
    store = FullStore()
    site = Site(store)
    async with site.node():
        await site.start(WEB, unit(Restart="always", RestartSec="1ms"))
        await site.becomes(WEB, active="active")
        store.full = True
        await site.kill(WEB, signal=9)
        await site.eventually(lambda: _count(site.world), lambda count: count == 2)
        store.full = False
        await site.becomes(WEB, active="active", restarts=1)


# over crashes of the node: the block of `node()` ends as a kill does, tasks cut off wherever they are


async def test_a_running_unit_is_adopted_not_restarted() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit(ExecStartPost="post"))
        before = await site.becomes(WEB, active="active")
    log = list(site.world.log)
    async with site.node() as agent:
        await agent.drain()
        assert await site.becomes(WEB, active="active") == before
        await site.kill(WEB, code=1)
        await site.becomes(WEB, active="failed", reason="exit code 1")
    assert site.world.log[: len(log)] == log
    assert not site.world.did("start", WEB)[1:]


async def test_an_end_while_nobody_looked_is_noticed() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit(Restart="on-failure", RestartSec="1ms"))
        await site.start("b.service", unit())
        await site.becomes(WEB, active="active")
        await site.becomes("b.service", active="active")
    site.world.end(WEB, signal=9)
    site.world.end("b.service", code=0)
    async with site.node():
        await site.becomes(WEB, active="active", restarts=1)
        await site.becomes("b.service", active="inactive", reason="exit code 0")


async def test_orders_given_while_nobody_looked_are_obeyed() -> None:
    site = Site()
    async with site.node():
        for name in ("a.service", "b.service", "c.service", "d.service"):
            await site.start(name, unit("run 1"))
            await site.becomes(name, active="active")
    await site.units.set_desired("a.service", "loaded")
    await site.units.destroy("b.service")
    await site.units.submit("c.service", unit("run 2"))
    await site.units.restart("d.service")
    assert (await site.units.show("a.service"))["active"] == "deactivating"
    assert (await site.units.show("d.service"))["active"] == "activating"
    async with site.node() as agent:
        await agent.drain()
        await site.becomes("a.service", active="inactive")
        await site.becomes("c.service", active="active")
        await site.becomes("d.service", active="active")
    assert set(site.world.processes) == {"a.service", "c.service", "d.service"}
    assert not site.world.running("a.service")
    assert site.world.did("start", "c.service") == ["run 1", "run 2"]
    assert site.world.did("start", "d.service") == ["run 1", "run 1"]


async def test_a_process_nobody_knows_is_cleared() -> None:
    site = Site()
    other = Site(site.store)
    async with other.node():
        await other.start("old.service", unit())
        await other.becomes("old.service", active="active")
    site.world.processes = dict(other.world.processes)
    await site.store.delete("/hawser/sched/", prefix=True)
    async with site.node() as agent:
        await agent.drain()
    assert site.world.log == ["clear old.service "]
    assert not site.world.processes


async def test_after_a_boot_units_start_anew() -> None:
    site = Site()
    async with site.node():
        await site.start("a.service", unit())
        await site.start("b.service", unit("exit 1"))
        await site.becomes("a.service", active="active")
        await site.becomes("b.service", active="failed")
    site.world.processes.clear()
    site.boot = "boot-2"
    async with site.node():
        await site.becomes("a.service", active="active")
        await site.eventually(lambda: _starts(site.world, "b.service"), lambda starts: starts == 2)


async def _starts(world: World, name: str) -> int:
    return len(world.did("start", name))


@pytest.mark.parametrize("sub", ["start-pre", "start", "start-post", "stop", "auto-restart"])
async def test_a_crash_in_any_step_is_gone_on_from(sub: str) -> None:
    site = Site()
    slow = {"start-pre": "ExecStartPre", "start-post": "ExecStartPost", "stop": "ExecStop"}
    keys = {slow[sub]: "hang", "TimeoutStopSec": "30ms"} if sub in slow else {"Restart": "always", "RestartSec": "60"}
    async with site.node():
        await site.start(WEB, unit("hang" if sub == "start" else "run", **keys))
        if sub in ("stop", "auto-restart"):
            await site.becomes(WEB, active="active")
        if sub == "stop":
            await site.units.set_desired(WEB, "loaded")
        if sub == "auto-restart":
            await site.kill(WEB, code=1)
        await site.becomes(WEB, sub=sub)
    async with site.node() as agent:
        await agent.drain()
        if sub == "stop":
            await site.becomes(WEB, active="failed", reason="stop took longer than 0.03 s")
        else:
            assert (await site.units.show(WEB))["sub"] == sub
            await site.units.set_desired(WEB, "loaded")
            await site.becomes(WEB, active="inactive")
        assert not site.world.running(WEB)


@pytest.mark.parametrize("passes", range(1, 14))
async def test_a_crash_at_any_moment_converges(passes: int) -> None:
    """The node dies after so many turns of the loop; the next one makes the same of the same orders."""
    site = Site()
    await site.start("a.service", unit("run a", ExecStartPre="pre", ExecStartPost="post"))
    await site.start("b.service", unit("exit 0", Type="oneshot", RemainAfterExit="yes"))
    async with site.node():
        for _ in range(passes * 2):
            await asyncio.sleep(0)
    async with site.node() as agent:
        await site.becomes("a.service", active="active")
        await site.becomes("b.service", active="active", sub="exited")
        assert site.world.running("a.service")
        for name in ("a.service", "b.service"):
            await site.units.destroy(name)
        await agent.drain()
    assert not site.world.processes
    assert not (await site.store.range("/hawser/sched/", prefix=True)).kvs


async def test_a_unit_unloaded_while_nobody_looked_is_stopped_as_its_text_says() -> None:
    site = Site()
    async with site.node():
        await site.start(WEB, unit("run", ExecStop="bye"))
        await site.becomes(WEB, active="active")
    await site.units.set_desired(WEB, "inactive")
    async with site.node() as agent:
        await agent.drain()
        await site.eventually(lambda: _left(site.world), lambda left: not left)
    assert site.world.log[1:] == [f"run {WEB} host: bye", f"stop {WEB} 90", f"clear {WEB} "]


async def _left(world: World) -> int:
    return len(world.processes)


async def test_the_same_on_a_disk(rundir: Path) -> None:
    store = await SqliteStore.open(rundir / "store")
    site = Site(store)
    async with site.node():
        await site.start(WEB, unit(Restart="always", RestartSec="1ms"))
        await site.becomes(WEB, active="active")
        await site.kill(WEB, code=1)
        before = await site.becomes(WEB, active="active", restarts=1)
    await store.close()
    site.store = await SqliteStore.open(rundir / "store")
    site.units = Registry(site.store)
    async with site.node() as agent:
        await agent.drain()
        assert await site.becomes(WEB, active="active") == before
        assert len(site.world.did("start", WEB)) == 2
    await site.store.close()
