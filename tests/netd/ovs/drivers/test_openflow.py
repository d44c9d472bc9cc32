"""Flows: changed wholly or not at all, and only what changes."""

from pathlib import Path

import pytest

from hawser.netd.errors import NetError, NotFound, Unavailable
from hawser.netd.ovs.drivers.openflow import OpenFlow, name_of
from hawser.netd.ovs.rows import PortRow
from tests.netd.machines import ping
from tests.netd.ovs.drivers.conftest import BRIDGE, Switch, sandbox

pytestmark = pytest.mark.root
ONE = "cookie=0x1,table=0,priority=5,ip,nw_dst=10.0.0.1,actions=drop"
TWO = "cookie=0x2,table=0,priority=5,ip,nw_dst=10.0.0.2,actions=output:2"
THREE = "cookie=0x2,table=3,priority=5,arp,actions=CONTROLLER:0"


@pytest.fixture
async def flows(switch: Switch) -> OpenFlow:
    """The flows of an empty bridge."""
    await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge}))
    return switch.openflow


def names(lines: list[str]) -> list[str]:
    return sorted(name_of(line) for line in lines)


async def test_a_new_bridge_has_no_flows(flows: OpenFlow) -> None:
    assert await flows.connected(BRIDGE)
    assert await flows.dump(BRIDGE) == []


async def test_a_change_adds_and_removes_what_is_named(flows: OpenFlow) -> None:
    await flows.change(BRIDGE, [ONE, TWO, THREE])
    assert len(await flows.dump(BRIDGE)) == 3
    await flows.change(BRIDGE, ["cookie=0x9,table=0,priority=5,ip,nw_dst=10.0.0.1,actions=output:7"], [TWO])
    left = await flows.dump(BRIDGE)
    assert len(left) == 2
    assert any("cookie=0x9" in line and "output:7" in line for line in left)
    assert not any("10.0.0.2" in line for line in left)


async def test_what_was_dumped_can_be_removed(flows: OpenFlow) -> None:
    await flows.change(BRIDGE, [ONE, TWO, THREE])
    await flows.change(BRIDGE, [], await flows.dump(BRIDGE))
    assert await flows.dump(BRIDGE) == []


async def test_a_removal_of_what_is_not_there_is_none(flows: OpenFlow) -> None:
    await flows.change(BRIDGE, [ONE], [TWO])
    await flows.change(BRIDGE, [], [])
    assert len(await flows.dump(BRIDGE)) == 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("table=0,priority=1,actions=group:77", "OFPBAC_BAD_OUT_GROUP"),  # the switch refuses
        ("table=0,nonsense=1,actions=drop", "nonsense"),  # ovs-ofctl refuses
        ("table=9,priority=1,udp,actions=set_field:1->tcp_src,output:1", "OFPBAC_MATCH_INCONSISTENT"),
    ],
)
async def test_half_a_bundle_leaves_nothing(flows: OpenFlow, bad: str, words: str) -> None:
    await flows.change(BRIDGE, [ONE])
    before = await flows.dump(BRIDGE)
    with pytest.raises(NetError, match=words) as raised:
        await flows.change(BRIDGE, [TWO, bad, THREE], [ONE])
    assert "\n" not in str(raised.value)
    assert await flows.dump(BRIDGE) == before


async def test_a_replacement_leaves_just_these_and_does_not_touch_the_same(switch: Switch, rundir: Path) -> None:
    with sandbox(rundir / "a", "hwa0", "10.0.0.1/24") as one, sandbox(rundir / "b", "hwb0", "10.0.0.2/24"):
        await two_ports(switch)
        normal = "cookie=0x7,table=0,priority=1,actions=NORMAL"
        await switch.openflow.replace(BRIDGE, [normal, TWO])
        assert ping(one, "10.0.0.2")
        counted = (await switch.openflow.counters(BRIDGE))[7].packets
        assert counted > 0
        await switch.openflow.replace(BRIDGE, [normal, ONE])
        assert names(await switch.openflow.dump(BRIDGE)) == names([normal, ONE])
        assert (await switch.openflow.counters(BRIDGE))[7].packets >= counted
        await switch.ovsdb.settled(await switch.ovsdb.apply({}))


async def test_counters_are_summed_by_cookie(flows: OpenFlow) -> None:
    await flows.change(BRIDGE, [ONE, TWO, THREE])
    assert set(await flows.counters(BRIDGE)) == {1, 2}
    assert set(await flows.counters(BRIDGE, table=3)) == {2}


async def test_meters_come_change_and_go(flows: OpenFlow) -> None:
    await flows.set_meters(BRIDGE, ["meter=1,kbps,band=type=drop,rate=1000", "meter=2,pktps,band=type=drop,rate=10"])
    await flows.change(BRIDGE, ["table=0,priority=5,ip,actions=meter:2,output:1"])
    assert set(await flows.meters(BRIDGE)) == {1, 2}
    await flows.set_meters(BRIDGE, ["meter=1,kbps,burst,band=type=drop,rate=2000,burst_size=100"], [2, 9])
    assert await flows.meters(BRIDGE) == {1: "meter=1 kbps burst bands= type=drop rate=2000 burst_size=100"}
    assert await flows.dump(BRIDGE) == []


async def test_groups_come_change_and_go_with_what_leads_to_them(flows: OpenFlow) -> None:
    await flows.groups(BRIDGE, ["group_id=5,type=all,bucket=actions=output:1"])
    await flows.change(BRIDGE, ["table=0,priority=5,ip,actions=group:5"])
    await flows.groups(BRIDGE, ["group_id=5,type=all,bucket=actions=output:1,bucket=actions=output:2"])
    assert len(await flows.dump(BRIDGE)) == 1
    await flows.groups(BRIDGE, [], [5, 6])
    assert await flows.dump(BRIDGE) == []


async def test_a_trace_says_what_would_happen(flows: OpenFlow) -> None:
    tracked = ["table=0,priority=1,ip,actions=ct(table=1)", "table=1,ct_state=+est,ip,actions=LOCAL"]
    await flows.change(BRIDGE, [ONE, *tracked])
    assert "Datapath actions: drop" in await flows.trace(BRIDGE, "in_port=LOCAL,ip,nw_dst=10.0.0.1")
    text = await flows.trace(BRIDGE, "in_port=9,ip,nw_dst=10.0.0.3", tracked=["trk,est"])
    assert "output to" in text or "LOCAL" in text
    with pytest.raises(NotFound, match="unknown bridge"):
        await flows.trace("nosuch", "in_port=1")
    with pytest.raises(NetError, match="unknown field nonsense"):
        await flows.trace(BRIDGE, "nonsense=1")


async def test_a_bridge_that_is_not_there_is_unavailable(flows: OpenFlow) -> None:
    assert not await flows.connected("nosuch")
    for work in (flows.dump("nosuch"), flows.change("nosuch", [ONE]), flows.replace("nosuch", [ONE])):
        with pytest.raises(Unavailable, match="nosuch does not answer"):
            await work


async def test_a_thousand_flows_are_one_bundle(flows: OpenFlow) -> None:
    lines = [f"table=1,priority=9,ip,nw_dst=10.1.{n >> 8}.{n & 255},actions=output:1" for n in range(1000)]
    await flows.change(BRIDGE, lines)
    assert names(await flows.dump(BRIDGE)) == names(lines)
    await flows.change(BRIDGE, [ONE], lines)
    assert names(await flows.dump(BRIDGE)) == names([ONE])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (ONE, "table=0,priority=5,ip,nw_dst=10.0.0.1"),
        ("priority=10,table=1,ip,actions=output:1", "table=1,priority=10,ip"),
        (" table=1, priority=10,ip,nw_dst=10.0.0.0 actions=output:1", "table=1,priority=10,ip,nw_dst=10.0.0.0"),
        (
            "cookie=0x9, duration=1s, table=2, n_packets=3, n_bytes=4, priority=5,ip actions=drop",
            "table=2,priority=5,ip",
        ),
        ("tcp,idle_timeout=60,tp_dst=80,actions=learn(table=3,cookie=0x1,priority=2),drop", "table=0,tcp,tp_dst=80"),
    ],
)
def test_a_flow_is_named_by_table_priority_and_match(line: str, name: str) -> None:
    assert name_of(line) == name


async def two_ports(switch: Switch) -> None:
    rows = {name: PortRow(bridge=BRIDGE, ifname=f"hw{name}0") for name in "ab"}
    await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, **rows}))
    assert set((await switch.ovsdb.assigned()).numbers) == {"a", "b"}
