"""What is to go and does not: the plan shows it, `run` tries again, and its addresses are nobody else's until then."""

import asyncio
from pathlib import Path

import pytest

from hawser.netd import model
from hawser.netd.agent import NetAgent
from hawser.netd.errors import Conflict, NetError, NotFound
from hawser.netd.parse import parse_publish
from hawser.store import Store
from tests.wait import auntil

from .fake import FakeWorld


@pytest.fixture
def kernel(instance: str, rundir: Path) -> FakeWorld:
    return FakeWorld(instance, rundir)


@pytest.fixture
async def net(store: Store, kernel: FakeWorld, instance: str, rundir: Path) -> NetAgent:
    """`a` on a network with a fixed address and a published port."""
    agent = NetAgent(store, instance, rundir, kernel=lambda *_: kernel)
    await agent.open()
    await agent.create_network({"tenant": "t", "name": "n", "subnets": ["10.0.0.0/24"]})
    await agent.make_sandbox("a")
    await attach(agent, "a")
    return agent


async def attach(net: NetAgent, sandbox: str, ifname: str = "eth0") -> None:
    await net.attach(
        sandbox, tenant="t", network="n", ifname=ifname, addresses=["10.0.0.9"], publish=[parse_publish("80:80")]
    )


async def finish(net: NetAgent) -> None:
    """Let `run` do what is left."""
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(net.run())
        plan: tuple[object, ...] = (None,)
        while plan:
            net.wake()
            plan = await net.plan()
            await asyncio.sleep(0)
        await auntil(lambda: not net.statuses(), what="a clean state")
        loop.cancel()


@pytest.mark.parametrize("stuck", ["sandbox:a", "port:a:eth0", "rule::any4:tcp . 80"])
async def test_a_sandbox_half_removed_is_seen_and_finished(
    net: NetAgent, store: Store, kernel: FakeWorld, stuck: str
) -> None:
    kernel.refuse = {stuck}
    with pytest.raises(NetError, match="refused"):
        await net.remove_sandbox("a")
    assert "a" not in net.sandboxes()
    assert net.attachments() == ()
    assert [str(step) for step in await net.plan()] == [f"delete {stuck}: exists but is not wanted"]
    await net.reconcile()
    assert [(status.key, status.reason) for status in net.statuses()] == [(stuck, f"{stuck}: refused")]
    kernel.refuse = set()
    await finish(net)
    assert not any("a:eth0" in key or key == "sandbox:a" for key in kernel.things)
    assert (await store.range(model.PORTS, prefix=True)).kvs == ()
    assert (await store.range(model.ADDRESSES, prefix=True)).kvs == ()


async def test_a_leaving_ports_address_and_host_port_are_nobody_elses(net: NetAgent, kernel: FakeWorld) -> None:
    kernel.refuse = {"port:a:eth0"}
    with pytest.raises(NetError, match="refused"):
        await net.remove_sandbox("a")
    await net.make_sandbox("b")
    for _ in range(2):
        with pytest.raises(Conflict, match="held by a"):
            await net.attach("b", tenant="t", network="n", addresses=["10.0.0.9"])
        with pytest.raises(Conflict, match="a has the port"):
            await net.attach("b", tenant="t", network="n", publish=[parse_publish("80:80")])
        await net.reconcile()
    with pytest.raises(Conflict, match="used by a"):
        await net.remove_network("t", "n")
    kernel.refuse = set()
    await net.reconcile()
    await attach(net, "b")
    assert await net.plan() == ()


async def test_a_detachment_half_done_is_seen_and_finished(net: NetAgent, kernel: FakeWorld) -> None:
    kernel.refuse = {"port:a:eth0"}
    with pytest.raises(NetError, match="refused"):
        await net.detach("a", "eth0")
    assert net.attachments("a") == ()
    assert [step.key for step in await net.plan()] == ["port:a:eth0"]
    kernel.refuse = set()
    await finish(net)
    await attach(net, "a")
    assert len(net.attachments("a")) == 1


async def test_what_is_leaving_may_be_asked_to_leave_again_and_its_name_taken(
    net: NetAgent, store: Store, kernel: FakeWorld
) -> None:
    kernel.refuse = {"port:a:eth0"}
    for verb in (net.detach, net.detach):
        with pytest.raises(NetError, match="refused"):
            await verb("a", "eth0")
    with pytest.raises(NetError, match="refused"):
        await attach(net, "a")
    for _ in range(2):
        with pytest.raises(NetError, match="refused"):
            await net.remove_sandbox("a")
    with pytest.raises(NetError, match="refused"):
        await net.make_sandbox("a")
    kernel.refuse = set()
    await net.make_sandbox("a")
    assert net.attachments() == ()
    assert await net.plan() == ()
    await attach(net, "a")
    await net.remove_sandbox("a")
    with pytest.raises(NotFound):
        await net.detach("a", "eth0")


async def test_a_network_half_removed_is_seen_and_finished(net: NetAgent, kernel: FakeWorld) -> None:
    kernel.refuse = {"bridge:t/n", "tenant:t"}
    await net.remove_sandbox("a")
    await net.remove_network("t", "n")
    assert await net.networks() == ()
    keys = [step.key for step in await net.plan()]
    assert keys[0] == "bridge:t/n"
    assert any(key.startswith("rule:t:bridges:") for key in keys), "a bridge is never there without what shuts it"
    kernel.refuse = set()
    await finish(net)
    assert set(kernel.things) == {"table:"}


async def test_a_restart_finishes_what_was_leaving(
    net: NetAgent, store: Store, kernel: FakeWorld, instance: str, rundir: Path
) -> None:
    kernel.refuse = {"port:a:eth0"}
    with pytest.raises(NetError, match="refused"):
        await net.detach("a", "eth0")
    await net.close()
    kernel.refuse = set()
    again = NetAgent(store, instance, rundir, kernel=lambda *_: kernel)
    await again.open()
    assert await again.plan() == ()
    assert "port:a:eth0" not in kernel.things
    await attach(again, "a")
    await again.close()
