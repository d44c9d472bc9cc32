"""An Open vSwitch of each test's own, in the test's network namespace."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from socket import if_nametoindex

import pytest

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.ovs.drivers.instance import Instance, Paths
from hawser.netd.ovs.drivers.offload import sum_before_sending
from hawser.netd.ovs.drivers.openflow import OpenFlow
from hawser.netd.ovs.drivers.ovsdb import Ovsdb
from hawser.netd.ovs.rows import BridgeRow

BRIDGE = "hwint0"


@dataclass(frozen=True, slots=True)
class Switch:
    """A running instance and the doors to it."""

    instance: Instance
    paths: Paths
    ovsdb: Ovsdb
    openflow: OpenFlow
    bridge: BridgeRow


@pytest.fixture
async def ovs(rundir: Path) -> AsyncIterator[Instance]:
    """An instance, not begun; its processes end with the test."""
    instance = Instance(rundir / "run", rundir / "data", system=rundir / "nothing")
    yield instance
    await instance.stop()


@pytest.fixture
async def switch(ovs: Instance, instance: str) -> AsyncIterator[Switch]:
    """A running one that keeps what it is told, without bridges."""
    paths = await ovs.ensure()
    await ovs.programmed()
    ovsdb = Ovsdb(paths.db, instance)
    yield Switch(ovs, paths, ovsdb, OpenFlow(paths), BridgeRow(name=BRIDGE, datapath=paths.datapath))
    await ovsdb.close()


@contextmanager
def sandbox(path: Path, ifname: str, address: str, *, summed: bool = True) -> Iterator[Path]:
    """A namespace whose `eth0` is the other end of `ifname` here; `summed`: it leaves no checksum to others."""
    netns.create(path, prepare_sandbox)

    def inside() -> None:
        with Netlink() as there:
            there.do([netlink.set_link("eth0", mtu=1500)])
            there.do([netlink.add_address(if_nametoindex("eth0"), ip_interface(address))])
        if summed:
            sum_before_sending("eth0")

    with Netlink() as here, open(path) as target:
        here.do([netlink.new_veth(ifname, "eth0", peer_netns=target.fileno(), mtu=1500)])
        try:
            netns.inside(path, inside)
            yield path
        finally:
            here.do([netlink.delete_link(ifname)], missing_ok=True)
            netns.remove(path)
