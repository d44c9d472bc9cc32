"""Machines to measure: each a namespace with an agent of its own, and the same made by hand."""

import asyncio
import socket
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_interface
from pathlib import Path

from hawser.netd.agent import Attachment, NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.tune import prepare_sandbox
from hawser.netd.drivers.world import World
from hawser.netd.model import VXLAN_PORT
from hawser.store import Store


def plug(path: Path, ifname: str, *addresses: str, mtu: int | None = None) -> None:
    """Set a link inside a namespace up, with addresses."""

    def inside() -> None:
        with Netlink() as there:
            there.do([netlink.set_link(ifname, mtu=mtu)])
            index = socket.if_nametoindex(ifname)
            there.do([netlink.add_address(index, ip_interface(address)) for address in addresses])

    netns.inside(path, inside)


def wire(one: Path, other: Path, number: int) -> None:
    """A cable between two namespaces, `eth0` in both: 192.0.2.1 and 192.0.2.2."""
    names = f"wa{number}", f"wb{number}"
    with Netlink() as here:
        here.do([netlink.new_veth(names[0], names[1])])
        for path, name, address in ((one, names[0], "192.0.2.1/24"), (other, names[1], "192.0.2.2/24")):
            with path.open() as target:
                here.do([_move(name, target.fileno())])
            plug(path, "eth0", address)


def _move(name: str, target: int) -> netlink.Request:
    request = netlink.set_link(name)
    index = socket.if_nametoindex(name)
    request.message["index"] = index
    request.message["flags"] = request.message["change"] = 0
    request.message["attrs"] = [("IFLA_NET_NS_FD", target), ("IFLA_IFNAME", "eth0")]
    return request


class Machine:
    """One of several machines of a store, or the only one."""

    def __init__(self, store: Store, name: str, directory: Path, underlay: str | None = None) -> None:
        self.path = directory / f"{name}.ns"
        netns.create(self.path, prepare_sandbox)
        self._rundir = directory / name
        self._rundir.mkdir()
        self._arguments = store, f"{name}0000000"[:8], self._rundir
        self._name, self._underlay = name, underlay
        self._stack = AsyncExitStack()
        self.net = self._agent()

    def _agent(self) -> NetAgent:
        underlay = ip_address(self._underlay) if self._underlay else None
        return NetAgent(*self._arguments, machine=self._name, underlay=underlay, kernel=self._enter)

    def _enter(self, instance: str, rundir: Path) -> World:
        netns.enter(self.path)  # for good: it is the agent's own thread
        return World(instance, rundir)

    async def start(self) -> None:
        """Open the agent and have it run."""
        await self.net.open()
        self._stack = AsyncExitStack()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._task = group.create_task(self.net.run())

    async def stop(self) -> None:
        """Let go, as the node does when it ends: everything stays."""
        self._task.cancel()
        await self._stack.aclose()
        await self.net.close()

    async def restart(self) -> None:
        """Another process' agent takes over."""
        await self.stop()
        self.net = self._agent()
        await self.start()

    async def box(self, name: str) -> tuple[Path, Attachment]:
        """A sandbox on the network t/n."""
        path = Path(await self.net.make_sandbox(name))
        return path, await self.net.attach(name, tenant="t", network="n")


def by_hand(directory: Path, name: str) -> Path:
    """A namespace with a bridge `br0`."""
    path = directory / f"{name}.ns"
    netns.create(path)

    def inside() -> None:
        netns.lo_up()
        with Netlink() as there:
            there.do([netlink.new_bridge("br0")])

    netns.inside(path, inside)
    return path


def hand_box(
    directory: Path, where: Path, name: str, address: str, mac: str, mtu: int, *, bridged: bool = True
) -> Path:
    """A namespace with `eth0` on the bridge in `where`, or with its other end, of this name, only there."""
    path = directory / f"{name}.ns"
    netns.create(path, prepare_sandbox)

    def inside() -> None:
        with Netlink() as there, path.open() as target:
            master = socket.if_nametoindex("br0") if bridged else None
            number = target.fileno()
            there.do([netlink.new_veth(name, "eth0", peer_netns=number, mtu=mtu, master=master, peer_mac=mac)])

    netns.inside(where, inside)
    plug(path, "eth0", address, mtu=mtu)
    return path


def hand_tunnel(where: Path, local: str, remote: str, macs: list[str], mtu: int) -> None:
    """A kernel VXLAN on the bridge, learning nothing, that leads these MACs and broadcast to the other machine."""

    def inside() -> None:
        with Netlink() as there, where.open() as target:
            tunnel = netlink.new_vxlan(
                "vx0", vni=7, port=VXLAN_PORT, local=ip_address(local), netns=target.fileno(), mtu=mtu
            )
            there.do([tunnel])
            index, far = socket.if_nametoindex("vx0"), ip_address(remote)
            there.do([netlink.enslave(index, socket.if_nametoindex("br0")), netlink.up(index)])
            entries = [entry for mac in macs for entry in netlink.add_forwarding(index, mac, far)]
            there.do([*entries, netlink.flood_to(index, far)])

    netns.inside(where, inside)
