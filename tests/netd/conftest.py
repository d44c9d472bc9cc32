"""A netd agent on a store in memory, in a network namespace of each test's own."""

import ctypes
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netns
from hawser.netd.drivers.nft import Nft
from hawser.store import MemoryStore, Store
from tests.wait import until

CLONE_NEWNET = 0x40000000


@pytest.fixture(autouse=True)
def own_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """A kernel test meets no bridge, route or rule of another, and must leave none itself.

    This thread moves; the threads it starts from here on are born where it is.
    """
    if os.geteuid() != 0 or not request.node.get_closest_marker("root"):
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(CLONE_NEWNET) == 0
        netns.lo_up()
        yield
        until(lambda: socket.if_nameindex() == [(1, "lo")], what="an end without links")
        assert tables() == ""
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


def tables() -> str:
    """Every nftables table here."""
    nft = Nft()
    try:
        return nft.run("list tables")
    finally:
        nft.close()


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@pytest.fixture(params=["bridge", "ovs"])
def kind(request: pytest.FixtureRequest) -> str:
    """The data plane: what networks do is the same on each."""
    return str(request.param)


@pytest.fixture
async def net(store: Store, instance: str, rundir: Path) -> AsyncIterator[NetAgent]:
    """An open agent; everything it made is removed afterwards."""
    agent = NetAgent(store, instance, rundir)
    await agent.open()
    yield agent
    await agent.teardown()
    await agent.close()
