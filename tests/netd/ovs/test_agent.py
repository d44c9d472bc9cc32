"""The switch of a node, for real: what hands, crashes and ends of daemons do to it is found and made good."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.errors import Unavailable
from hawser.netd.model import Qos
from hawser.netd.ovs import layout
from hawser.netd.ovs.drivers import offload, programs
from hawser.netd.ovs.drivers.programs import find
from hawser.netd.site import SWITCH, gateway_name, port_name, uplink_name
from hawser.store import Store
from tests.netd.machines import ask, ping, serving

pytestmark = pytest.mark.root


async def build(net: NetAgent, **fields: object) -> dict[str, str]:
    """A network with two sandboxes."""
    await net.create_network({"tenant": "t", "name": "n", "kind": "ovs", **fields})
    return await populate(net)


async def populate(net: NetAgent) -> dict[str, str]:
    """Two sandboxes on the network."""
    paths = {name: await net.make_sandbox(name) for name in ("a", "b")}
    for name in paths:
        await net.attach(name, tenant="t", network="n")
    assert await net.plan() == ()
    return paths


def works(net: NetAgent, paths: dict[str, str]) -> bool:
    """Frames with checksums, by IPv4 and IPv6, and the gateway."""
    found = net.attachments("a")[0]
    with serving(paths["a"], 80, "::"):
        near = all(ask(paths["b"], one.ip, 80, timeout=1) and ping(paths["b"], one.ip) for one in found.addresses)
    return near and all(ping(paths["b"], gateway) for gateway in found.gateways)


def ofctl(rundir: Path, instance: str, *arguments: str) -> str:
    bridge = layout.bridge(instance)
    command, *rest = arguments
    argv = [str(find().ofctl), "-O", "OpenFlow14", command, f"unix:{rundir}/ovs/{bridge}.mgmt", *rest]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def flows(rundir: Path, instance: str) -> int:
    return ofctl(rundir, instance, "dump-flows").count("actions=")


def vsctl(rundir: Path, *arguments: str) -> str:
    tool = find().ofctl.with_name("ovs-vsctl")
    argv = [str(tool), f"--db=unix:{rundir}/ovs/db.sock", "--timeout=10", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def at_switch(rundir: Path, *requests: netlink.Request) -> None:
    """In the switch's namespace, or here when the kernel is the switch."""

    def act() -> None:
        with Netlink() as there:
            there.do(requests)

    path = rundir / "switch"
    netns.inside(path, act) if path.exists() else act()


def do(*requests: netlink.Request) -> None:
    with Netlink() as here:
        here.do(requests, missing_ok=True)


def daemons(rundir: Path) -> dict[str, int]:
    """Process ids by name."""
    found = {}
    for name in ("ovsdb-server", "ovs-vswitchd"):
        record = rundir / "ovs" / f"{name}.process"
        with suppress(FileNotFoundError, IndexError):  # it is just being started
            found[name] = int(record.read_text().splitlines()[1].split()[0])
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait on the loop, off which the condition is asked."""
    deadline = asyncio.get_running_loop().time() + 20
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)


def any_alive(pids: Iterable[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_drift_made_by_hand_is_found_and_repaired(net: NetAgent, instance: str, rundir: Path) -> None:
    paths = await build(net)
    assert works(net, paths)
    bridge, port = layout.bridge(instance), port_name(instance, "a:eth0")
    there = flows(rundir, instance)
    drifts: list[Callable[[], object]] = [
        lambda: ofctl(rundir, instance, "del-flows"),
        lambda: ofctl(rundir, instance, "add-flow", "table=0,priority=65000,actions=drop"),
        lambda: vsctl(rundir, "del-port", bridge, port),
        lambda: vsctl(rundir, "del-br", bridge),
        lambda: vsctl(rundir, "set", "bridge", bridge, "fail_mode=standalone"),
        lambda: at_switch(rundir, netlink.delete_link(port)),
        lambda: at_switch(rundir, netlink.delete_link(gateway_name(instance, "t/n"))),
    ]
    if not programs.kernel_datapath():
        drifts.append(lambda: netns.remove(rundir / "switch"))
        drifts.append(lambda: do(netlink.delete_link(uplink_name(instance, SWITCH))))
    # a port without the mark is somebody else's, even on our bridge
    drifts.append(
        lambda: vsctl(rundir, "add-port", bridge, "stray", "--", "set", "interface", "stray", "type=internal")
    )
    for number, drift in enumerate(drifts):
        drift()
        assert number == len(drifts) - 1 or await net.plan(), number
        for _ in range(3):  # an end of a link that is gone may be in the way until the daemons are
            await net.reconcile()
            if not net.statuses() and not await net.plan():
                break
        assert net.statuses() == (), number
        assert await net.plan() == (), number
        assert works(net, paths), number
        assert flows(rundir, instance) == there, number
    assert "stray" in vsctl(rundir, "list-ports", bridge)


async def test_checksums_are_made_where_a_switch_in_user_space_needs_them(net: NetAgent, rundir: Path) -> None:
    paths = await build(net)
    if programs.kernel_datapath():
        assert netns.inside(Path(paths["a"]), lambda: offload.tx_checksums("eth0"))
        return
    assert not netns.inside(Path(paths["a"]), lambda: offload.tx_checksums("eth0"))
    netns.inside(Path(paths["a"]), lambda: offload._ethtool("eth0", offload.ETHTOOL_STXCSUM, 1))
    assert [step.key for step in await net.reconcile()] == ["port:a:eth0"]
    assert works(net, paths)


async def test_a_restart_of_the_node_loses_no_packet(store: Store, instance: str, rundir: Path) -> None:
    first = NetAgent(store, instance, rundir)
    await first.open()
    paths = await build(first)
    target = str(first.attachments("a")[0].addresses[0].ip)
    before, there = daemons(rundir), ofctl(rundir, instance, "dump-flows", "--no-stats")
    argv = ["ping", "-q", "-i", "0.005", "-c", "600", "-W", "1", target]
    with netns.inside(Path(paths["b"]), lambda: subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)) as stream:
        await asyncio.sleep(0.3)
        await first.close()
        second = NetAgent(store, instance, rundir)
        await second.open()
        await second.reconcile()
        said, _ = await asyncio.to_thread(stream.communicate)
    assert "600 received" in said, said
    assert daemons(rundir) == before
    assert ofctl(rundir, instance, "dump-flows", "--no-stats") == there
    assert second.statuses() == ()
    await second.teardown()
    await second.close()


@pytest.fixture
async def running(net: NetAgent) -> AsyncIterator[NetAgent]:
    """The agent with its loop, in which daemons are seen to."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(net.run())
        yield net
        task.cancel()


@pytest.mark.parametrize("name", ["ovs-vswitchd", "ovsdb-server"])
async def test_a_daemon_that_is_killed_is_started_again_and_programmed(
    running: NetAgent, instance: str, rundir: Path, name: str
) -> None:
    net = running
    paths = await build(net)
    before = daemons(rundir)
    there = flows(rundir, instance)
    os.kill(before[name], signal.SIGKILL)
    await until(lambda: daemons(rundir).get(name, before[name]) != before[name] and works(net, paths))
    await net.reconcile()
    assert net.statuses() == ()
    assert flows(rundir, instance) == there
    other = ({*before} - {name}).pop()
    assert daemons(rundir)[other] == before[other]


async def test_nothing_runs_before_the_first_port_and_after_the_last(net: NetAgent, rundir: Path) -> None:
    await net.create_network({"tenant": "t", "name": "n", "kind": "ovs"})
    await net.reconcile()
    assert not (rundir / "ovs").exists()
    await net.make_sandbox("a")
    await net.attach("a", tenant="t", network="n")
    pids = daemons(rundir)
    await net.remove_sandbox("a")
    assert not any_alive(pids.values())
    assert not (rundir / "switch").exists()
    assert await net.plan() == ()


async def test_what_was_ended_with_the_last_port_stays_ended_until_the_next(running: NetAgent, rundir: Path) -> None:
    net = running
    await net.create_network({"tenant": "t", "name": "n", "kind": "ovs"})
    for _ in range(2):
        await net.make_sandbox("a")
        await net.attach("a", tenant="t", network="n")
        pids = daemons(rundir)
        await net.remove_sandbox("a")
        assert not any_alive(pids.values())
        await asyncio.sleep(1)  # whoever starts again what ends has looked by now
        assert daemons(rundir) == {}
    paths = await populate(net)
    before = daemons(rundir)
    os.kill(before["ovs-vswitchd"], signal.SIGKILL)
    await until(lambda: daemons(rundir).get("ovs-vswitchd", 0) not in (0, before["ovs-vswitchd"]) and works(net, paths))


async def test_what_a_crash_left_is_removed_by_the_next(store: Store, instance: str, rundir: Path) -> None:
    first = NetAgent(store, instance, rundir)
    await first.open()
    await build(first)
    pids = daemons(rundir)
    await first.close()
    await store.delete("/hawser/netd/", prefix=True)
    second = NetAgent(store, instance, rundir)
    await second.open()
    await second.reconcile()
    assert second.statuses() == ()
    assert not any_alive(pids.values())
    await second.teardown()
    await second.close()


async def test_without_open_vswitch_a_port_is_refused_and_nothing_is_left(
    net: NetAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise Unavailable("no program")

    monkeypatch.setattr(programs, "find", missing)
    await net.create_network({"tenant": "t", "name": "n", "kind": "ovs"})
    await net.make_sandbox("a")
    net._shared.datapath = ""
    with pytest.raises(Unavailable, match="t/n is of kind ovs, and this machine has no Open vSwitch; apt-get install"):
        await net.attach("a", tenant="t", network="n")
    assert net.attachments() == ()
    assert await net.plan() == ()


async def test_a_switch_that_does_not_answer_refuses_a_port_and_leaves_nothing(net: NetAgent, rundir: Path) -> None:
    await build(net)
    await net.make_sandbox("c")
    pid = daemons(rundir)["ovs-vswitchd"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="ovs-vswitchd has not taken up its configuration"):
            await net.attach("c", tenant="t", network="n")
    finally:
        os.kill(pid, signal.SIGCONT)
    await net.reconcile()
    assert {one.sandbox for one in net.attachments()} == {"a", "b"}
    assert net.statuses() == ()
    assert await net.plan() == ()


async def test_what_a_port_may_send_is_limited(net: NetAgent, instance: str, rundir: Path) -> None:
    paths = await build(net)
    await net.make_sandbox("c")
    await net.attach("c", tenant="t", network="n", qos=Qos(egress=1_000_000))
    assert "rate=1000" in ofctl(rundir, instance, "dump-meters")
    target = str(net.attachments("a")[0].addresses[0].ip)
    assert paths
    with serving(paths["a"], 9):
        assert ask(net.sandboxes()["c"], target, 9)
    await net.remove_sandbox("c")
    assert "meter=" not in ofctl(rundir, instance, "dump-meters")
