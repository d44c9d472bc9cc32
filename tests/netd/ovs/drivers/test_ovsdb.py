"""The database: ours as wanted, in one transaction; what is not ours is as it was."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hawser.netd.errors import Conflict, Invalid, NetError, Unavailable
from hawser.netd.ovs.drivers import rpc
from hawser.netd.ovs.drivers.ovsdb import Ovsdb
from hawser.netd.ovs.rows import MirrorRow, OvsRow, PortRow
from tests.netd.ovs.drivers.conftest import BRIDGE, Switch, sandbox
from tests.wait import auntil

pytestmark = pytest.mark.root
TUNNEL = PortRow(bridge=BRIDGE, ifname="hwtun0", type="geneve", ofport=7, options={"remote_ip": "flow", "key": "flow"})


def internal(ifname: str, **about: Any) -> PortRow:
    return PortRow(bridge=BRIDGE, ifname=ifname, type="internal", **about)


async def everything(switch: Switch, table: str) -> list[dict[str, Any]]:
    """All rows of a table, without versions, sorted: what anybody would see."""
    (result,) = await rpc.transact(switch.paths.db, {"op": "select", "table": table, "where": []})
    rows = [{name: value for name, value in row.items() if name != "_version"} for row in result["rows"]]
    return sorted(rows, key=str)


async def made_by_others(switch: Switch, bridge: str, port: str) -> None:
    """A bridge with a port, without our mark."""
    rows: dict[str, dict[str, Any]] = {
        "Interface": {"name": port, "type": "internal"},
        "Port": {"name": port, "interfaces": ["named-uuid", "new_Interface"]},
        "Bridge": {"name": bridge, "datapath_type": switch.paths.datapath, "ports": ["named-uuid", "new_Port"]},
    }
    inserts = [{"op": "insert", "table": table, "uuid-name": f"new_{table}", "row": row} for table, row in rows.items()]
    put = ["bridges", "insert", ["set", [["named-uuid", "new_Bridge"]]]]
    mutation: dict[str, Any] = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [put]}
    await rpc.transact(switch.paths.db, *inserts, mutation)


async def test_what_is_applied_is_observed_and_a_second_time_changes_nothing(switch: Switch) -> None:
    wanted: dict[str, OvsRow] = {
        "bridge": replace(switch.bridge, config={"hwaddr": "02:00:00:00:00:01"}),
        "a": internal("hwp0", ofport=11, policing=1000, burst=100),
        "b": internal("hwp1", rate=8_000_000),
        "tunnel": TUNNEL,
        "mirror": MirrorRow(bridge=BRIDGE, name="copies", output="b", sources=("a",), targets=("a", "tunnel")),
    }
    number = await switch.ovsdb.apply(wanted)
    await switch.ovsdb.settled(number)
    assert await switch.ovsdb.observe() == wanted
    assert await switch.ovsdb.apply(wanted) == 0
    own = [row for row in await everything(switch, "Interface") if row["name"] == BRIDGE]
    assert own[0]["mac_in_use"] == "02:00:00:00:00:01"


async def test_one_transaction_makes_the_whole_plan(switch: Switch) -> None:
    number = await switch.ovsdb.apply({"bridge": switch.bridge, "a": internal("hwp0"), "tunnel": TUNNEL})
    assert number == (await switch.ovsdb.apply({"bridge": switch.bridge, "b": internal("hwp1")})) - 1
    assert set(await switch.ovsdb.observe()) == {"bridge", "b"}


async def test_ports_get_numbers_and_those_that_cannot_say_why(switch: Switch) -> None:
    wanted: dict[str, OvsRow] = {
        "bridge": switch.bridge,
        "a": internal("hwp0", ofport=11),
        "b": internal("hwp1"),
        "tunnel": TUNNEL,
    }
    await switch.ovsdb.apply({**wanted, "gone": PortRow(bridge=BRIDGE, ifname="nosuch0")})
    assigned = await switch.ovsdb.assigned()
    assert set(assigned.numbers) == {"a", "b", "tunnel"}
    assert (assigned.numbers["a"], assigned.numbers["tunnel"]) == (11, 7)
    assert "No such device" in assigned.errors["gone"]


async def test_a_link_that_comes_later_is_taken_when_it_is_there(switch: Switch, rundir: Path) -> None:
    wanted: dict[str, OvsRow] = {"bridge": switch.bridge, "late": PortRow(bridge=BRIDGE, ifname="late0")}
    await switch.ovsdb.apply(wanted)
    assert "late" in (await switch.ovsdb.assigned()).errors
    with sandbox(rundir / "box", "late0", "10.0.0.1/24"):
        for _ in range(100):
            if (await switch.ovsdb.ofports()).get("late"):
                break
            await asyncio.sleep(0.05)
        assert (await switch.ovsdb.ofports())["late"] > 0
        await switch.ovsdb.settled(await switch.ovsdb.apply({}))


async def test_fields_change_in_place(switch: Switch) -> None:
    wanted: dict[str, OvsRow] = {
        "bridge": switch.bridge,
        "a": internal("hwp0", ofport=11, rate=8_000_000),
        "tunnel": TUNNEL,
    }
    await switch.ovsdb.apply(wanted)
    before = {row["name"]: row["_uuid"] for row in await everything(switch, "Port")}
    changed: dict[str, OvsRow] = {**wanted, "a": internal("hwp0", ofport=12, policing=500, burst=50)}
    changed["tunnel"] = replace(TUNNEL, options={"remote_ip": "192.0.2.1", "key": "5"})
    await switch.ovsdb.settled(await switch.ovsdb.apply(changed))
    assert await switch.ovsdb.observe() == changed
    assert {row["name"]: row["_uuid"] for row in await everything(switch, "Port")} == before
    assert (await everything(switch, "QoS"), await everything(switch, "Queue")) == ([], [])


async def test_a_limit_is_the_kernels_and_its_rows_go_with_its_port(switch: Switch, rundir: Path) -> None:
    with sandbox(rundir / "box", "hwp0", "10.0.0.1/24"):
        port = PortRow(bridge=BRIDGE, ifname="hwp0", rate=8_000_000)
        await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, "a": port}))
        assert await disciplines("hwp0") == {"htb"}
        await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, "a": replace(port, rate=None)}))
        assert "htb" not in await disciplines("hwp0")
        await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, "a": port}))
        await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge}))
        assert (await everything(switch, "QoS"), await everything(switch, "Queue")) == ([], [])


async def disciplines(ifname: str) -> set[str]:
    """The kinds of queueing disciplines of a link here."""
    process = await asyncio.create_subprocess_exec(
        *("tc", "qdisc", "show", "dev", ifname), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return {line.split()[1] for line in out.decode().splitlines()}


async def test_a_bridge_of_another_name_takes_its_ports_along(switch: Switch) -> None:
    ports = {"a": internal("hwp0", rate=8_000_000), "b": internal("hwp1")}
    await switch.ovsdb.apply({"bridge": switch.bridge, **ports})
    moved: dict[str, OvsRow] = {key: replace(row, bridge="hwint1") for key, row in ports.items()}
    moved["bridge"] = replace(switch.bridge, name="hwint1")
    await switch.ovsdb.settled(await switch.ovsdb.apply(moved))
    assert await switch.ovsdb.observe() == moved
    assert [row["name"] for row in await everything(switch, "Bridge")] == ["hwint1"]
    assert len(await everything(switch, "QoS")) == 1


async def test_what_others_made_is_as_it_was(switch: Switch) -> None:
    await made_by_others(switch, "theirs", "theirs0")
    other = Ovsdb(switch.paths.db, "another")
    await other.settled(await other.apply({"bridge": replace(switch.bridge, name="hwother")}))
    tables = ("Bridge", "Port", "Interface")
    before = [await everything(switch, table) for table in tables]
    assert await switch.ovsdb.observe() == {}
    await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, "a": internal("hwp0")}))
    await switch.ovsdb.settled(await switch.ovsdb.apply({}))
    for table, rows in zip(tables, before, strict=True):
        now = await everything(switch, table)
        assert [row["name"] for row in now] == [row["name"] for row in rows]
        assert [row["_uuid"] for row in now] == [row["_uuid"] for row in rows]
    assert set(await other.observe()) == {"bridge"}
    await other.close()


@pytest.mark.parametrize("name", ["theirs", "theirs0"])
async def test_a_name_that_others_have_is_a_conflict(switch: Switch, name: str) -> None:
    await made_by_others(switch, "theirs", "theirs0")
    a_bridge: dict[str, OvsRow] = {"bridge": replace(switch.bridge, name=name)}
    a_port: dict[str, OvsRow] = {"bridge": switch.bridge, "a": internal(name)}
    for wanted in (a_bridge, a_port):
        with pytest.raises(Conflict, match=f"{name} that is not ours"):
            await switch.ovsdb.apply(wanted)
    assert await switch.ovsdb.observe() == {}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"b": internal("hwp1", ofport=70000)}, Invalid, "ofport_request"),
        ({"b": internal("hwp1", policing=-1)}, Invalid, "ingress_policing_rate"),
        ({"b": PortRow(bridge="nosuch", ifname="hwp1")}, Invalid, "none of our bridges"),
        # what only the server can know
        ({"b": internal("hwp1"), "c": internal("hwp1")}, Conflict, "hwp1 that is not ours, or it is asked for twice"),
    ],
)
async def test_a_refused_transaction_leaves_nothing(
    switch: Switch, bad: dict[str, OvsRow], error: type[NetError], words: str
) -> None:
    wanted: dict[str, OvsRow] = {"bridge": switch.bridge, "a": internal("hwp0")}
    await switch.ovsdb.apply(wanted)
    before = [await everything(switch, table) for table in ("Open_vSwitch", "Bridge", "Port", "QoS")]
    with pytest.raises(error, match=words):
        await switch.ovsdb.apply({"bridge": switch.bridge, "new": TUNNEL, **bad})
    assert await switch.ovsdb.observe() == wanted
    ours = {row["name"] for row in await everything(switch, "Port")}
    assert ours == {BRIDGE, "hwp0"}
    assert len(before[1]) == len(await everything(switch, "Bridge"))


async def test_a_connection_lost_in_the_middle_is_said_and_mended(switch: Switch) -> None:
    wanted: dict[str, OvsRow] = {"bridge": switch.bridge, "a": internal("hwp0")}
    server = server_pid(switch)
    await switch.ovsdb.observe()
    os.kill(server, signal.SIGSTOP)
    async with asyncio.TaskGroup() as group:
        applied = group.create_task(fails(switch.ovsdb.apply(wanted)))
        await asyncio.sleep(0.1)
        os.kill(server, signal.SIGKILL)
    assert "seen by looking" in str(applied.result())
    assert "does it run" in str(await fails(switch.ovsdb.observe()))
    await switch.instance.ensure()
    assert await switch.ovsdb.observe() in ({}, wanted)
    await switch.ovsdb.settled(await switch.ovsdb.apply(wanted) or 1)
    assert await switch.ovsdb.observe() == wanted


async def test_a_server_that_hangs_is_not_waited_for_without_end(
    switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch.ovsdb.observe()
    monkeypatch.setattr("hawser.netd.ovs.drivers.replica.TIMEOUT", 0.3)
    os.kill(server_pid(switch), signal.SIGSTOP)
    try:
        assert "does not answer within 0.3 s" in str(await fails(switch.ovsdb.apply({"bridge": switch.bridge})))
    finally:
        os.kill(server_pid(switch), signal.SIGCONT)
    monkeypatch.undo()
    assert await switch.ovsdb.observe() in ({}, {"bridge": switch.bridge})


async def test_changes_of_others_are_told(switch: Switch, instance: str) -> None:
    news: list[int] = []
    ours = Ovsdb(switch.paths.db, instance, changed=lambda: news.append(1))
    await ours.settled(await ours.apply({"bridge": switch.bridge, "a": internal("hwp0")}))
    await ours.assigned()
    await asyncio.sleep(0.05)
    news.clear()
    await switch.ovsdb.apply({"bridge": switch.bridge})
    await auntil(lambda: news, what="the news")
    assert set(await ours.observe()) == {"bridge"}
    await ours.close()


async def test_a_dead_switch_is_not_waited_for_without_end(switch: Switch) -> None:
    os.kill(int((switch.paths.rundir / "ovs-vswitchd.pid").read_text()), signal.SIGSTOP)
    number = await switch.ovsdb.apply({"bridge": switch.bridge, "a": internal("hwp0")})
    with pytest.raises(Unavailable, match="does it run"):
        await switch.ovsdb.settled(number, timeout=0.1)
    assert "not given it a number" in (await switch.ovsdb.assigned(timeout=0.1)).errors["a"]
    os.kill(int((switch.paths.rundir / "ovs-vswitchd.pid").read_text()), signal.SIGCONT)
    assert (await switch.ovsdb.ofports())["a"] > 0


def server_pid(switch: Switch) -> int:
    return int((switch.paths.rundir / "ovsdb-server.process").read_text().splitlines()[1].split()[0])


async def fails(work: Any) -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        await work
    return raised.value
