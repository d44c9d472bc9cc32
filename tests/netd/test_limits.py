"""Where it ends: no address left, a name too long, no rights. One clear line, and nothing is left behind."""

import asyncio
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hawser.netd import model
from hawser.netd.agent import NetAgent
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.world import World
from hawser.netd.errors import Denied, Invalid, NetError, Unavailable
from hawser.store import MemoryStore, Store

pytestmark = pytest.mark.root
NOBODY = 65534


async def seen(store: Store) -> tuple[dict[str, bytes], set[str]]:
    """Every record, and every link here."""
    with Netlink() as here:
        names = {link.name for link in here.links()}
    return {entry.key: entry.value for entry in (await store.range(model.ROOT, prefix=True)).kvs}, names


@pytest.mark.parametrize(
    ("subnets", "full", "room"),
    [
        (["10.7.0.0/30"], "10.7.0.0/30", 1),
        (["10.7.0.0/29"], "10.7.0.0/29", 5),
        (["10.7.0.0/24", "fd07::/126"], "fd07::/126", 2),
    ],
)
async def test_a_full_network_says_so_and_gives_again_what_comes_back(
    net: NetAgent, store: Store, subnets: list[str], full: str, room: int
) -> None:
    await net.create_network({"tenant": "t", "name": "n", "subnets": subnets})
    given = []
    for number in range(room):
        await net.make_sandbox(f"s{number}")
        given.append((await net.attach(f"s{number}", tenant="t", network="n")).addresses)
    assert len(set(given)) == room
    await net.make_sandbox("late")
    before = await seen(store)
    with pytest.raises(Unavailable) as caught:
        await net.attach("late", tenant="t", network="n")
    assert str(caught.value) == f"network t/n: {full} has no free address; remove containers or use a larger subnet"
    assert await seen(store) == before
    assert await net.plan() == ()
    await net.remove_sandbox("s0")
    assert (await net.attach("late", tenant="t", network="n")).addresses[-1] == given[0][-1]


@pytest.mark.parametrize("name", ["a" * 16, "é" * 8, "a b", "a/b", ".."])
async def test_a_name_the_kernel_has_no_room_for_is_refused(net: NetAgent, store: Store, name: str) -> None:
    await net.create_network({"tenant": "t", "name": "n"})
    await net.make_sandbox("a")
    before = await seen(store)
    with pytest.raises(Invalid, match="the kernel takes 1-15 bytes"):
        await net.attach("a", tenant="t", network="n", ifname=name)
    assert await seen(store) == before


async def test_the_longest_name_is_made_and_what_the_kernel_alone_refuses_leaves_nothing(
    net: NetAgent, store: Store
) -> None:
    await net.create_network({"tenant": "t", "name": "n"})
    await net.make_sandbox("a")
    assert (await net.attach("a", tenant="t", network="n", ifname="a" * 15)).ifname == "a" * 15
    before = await seen(store)
    with pytest.raises(NetError) as caught:  # the name of a directory of settings (net/ipv4/devinet.c)
        await net.attach("a", tenant="t", network="n", ifname="default")
    assert "default" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert await seen(store) == before
    assert await net.plan() == ()


def as_nobody(act: Callable[[], str]) -> str:
    """What `act` says in a process without any rights."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(into, act().encode())
        except BaseException:
            os.write(into, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(into)
    with open(out, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def refusal(act: Callable[[], object]) -> str:
    try:
        return f"not refused: {act()!r}"
    except Denied as error:
        return str(error)


def test_without_rights_the_agent_does_not_open(instance: str, rundir: Path) -> None:
    async def life() -> None:
        store = MemoryStore()
        agent = NetAgent(store, instance, rundir)
        try:
            await agent.open()
        finally:
            await agent.close()
            await store.close()

    text = as_nobody(lambda: refusal(lambda: asyncio.run(life())))
    assert text.endswith("; run as root")
    assert "Operation not permitted" in text or "must be root" in text
    assert "\n" not in text
    assert list(rundir.iterdir()) == []


def test_without_rights_nothing_is_seen(instance: str, rundir: Path) -> None:
    assert as_nobody(lambda: refusal(lambda: World(instance, rundir).observe())).endswith("; run as root")
