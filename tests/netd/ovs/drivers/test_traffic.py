"""What a packet gets: checksums that others can check, and what a daemon's end costs."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hawser.netd.drivers import netns
from hawser.netd.errors import NotFound
from hawser.netd.ovs.drivers.offload import sum_before_sending, tx_checksums
from hawser.netd.ovs.rows import PortRow
from tests.netd.machines import ask, ping, serving, shut, silent
from tests.netd.ovs.drivers.conftest import BRIDGE, Switch, sandbox
from tests.wait import until

pytestmark = pytest.mark.root
NORMAL = ["table=0,priority=1,actions=NORMAL"]


@pytest.fixture
async def pair(switch: Switch, rundir: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Two sandboxes on one bridge that leave their checksums to others."""
    with (
        sandbox(rundir / "a", "hwa0", "10.0.0.1/24", summed=False) as one,
        sandbox(rundir / "b", "hwb0", "10.0.0.2/24", summed=False) as two,
    ):
        rows = {name: PortRow(bridge=BRIDGE, ifname=f"hw{name}0") for name in "ab"}
        await switch.ovsdb.settled(await switch.ovsdb.apply({"bridge": switch.bridge, **rows}))
        await switch.openflow.replace(BRIDGE, NORMAL)
        yield one, two
        if switch.instance.alive():
            await switch.ovsdb.settled(await switch.ovsdb.apply({}))


async def test_a_connection_needs_checksums_where_the_datapath_is_in_user_space(
    switch: Switch, pair: tuple[Path, Path]
) -> None:
    one, two = pair
    with serving(two, 80):
        assert ping(one, "10.0.0.2")  # the kernel sums ICMP itself
        if switch.paths.datapath == "netdev":
            assert shut(one, "10.0.0.2", 80)
        for box in pair:
            assert netns.inside(box, lambda: tx_checksums("eth0"))
            netns.inside(box, lambda: sum_before_sending("eth0"))
            netns.inside(box, lambda: sum_before_sending("eth0"))
            assert not netns.inside(box, lambda: tx_checksums("eth0"))
        assert ask(one, "10.0.0.2", 80) == "10.0.0.1"
        assert ask(two, "10.0.0.2", 80) == "10.0.0.2"


def test_a_link_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="nosuch0"):
        sum_before_sending("nosuch0")


async def test_the_end_of_the_database_keeps_flows_and_stops_only_user_space(
    switch: Switch, pair: tuple[Path, Path]
) -> None:
    one, _ = pair
    assert ping(one, "10.0.0.2")
    flows = await switch.openflow.dump(BRIDGE)
    os.kill(server_pid(switch), signal.SIGKILL)
    until(lambda: not switch.instance.alive(), what="its end")
    assert switch.paths.datapath == "netdev" or ping(one, "10.0.0.2")
    await switch.instance.ensure()
    until(lambda: ping(one, "10.0.0.2"), what="traffic")
    assert await switch.openflow.dump(BRIDGE) == flows


async def test_the_end_of_the_switch_costs_what_passes_until_flows_are_there_again(
    switch: Switch, pair: tuple[Path, Path]
) -> None:
    one, _ = pair
    assert ping(one, "10.0.0.2")
    switch_pid = int((switch.paths.rundir / "ovs-vswitchd.pid").read_text())
    os.kill(switch_pid, signal.SIGKILL)
    until(lambda: not switch.instance.alive(), what="its end")
    in_kernel = switch.paths.datapath == "system"  # which goes on by the flows it knows
    assert ping(one, "10.0.0.2") if in_kernel else silent(one, "10.0.0.2")
    assert (await switch.instance.ensure()).own
    assert len(await switch.ovsdb.ofports()) == 2
    # the ports are there again by themselves, flows are not
    assert await switch.openflow.dump(BRIDGE) == []
    assert ping(one, "10.0.0.2") if in_kernel else silent(one, "10.0.0.2")
    await switch.openflow.replace(BRIDGE, NORMAL)
    await switch.instance.programmed()
    assert ping(one, "10.0.0.2")


def server_pid(switch: Switch) -> int:
    return int((switch.paths.rundir / "ovsdb-server.process").read_text().splitlines()[1].split()[0])
