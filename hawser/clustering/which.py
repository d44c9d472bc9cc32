"""Which store a node uses: its own on this machine, that of the cluster which the machine is of or comes to be of now,
or an etcd that others run.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hawser.store import Conflict
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.model import Membership

from ..backing import Backing, Etcd, etcd_store, own_store
from ..faults import Fault
from ..identity import hold, own_addresses
from .clustered import Clustered
from .enter import Wanted, found, join, set_leftovers_aside
from .opening import open_clustered
from .place import Ports, check_addresses
from .settle import bring_own, check_bare, keep_to


class Wishes(Protocol):
    """What the node was started with (hawser.node.Config)."""

    @property
    def data(self) -> Path: ...
    @property
    def run(self) -> Path: ...
    @property
    def etcd(self) -> Etcd | None: ...
    @property
    def found(self) -> Wanted | None: ...
    @property
    def token(self) -> str: ...
    @property
    def ports(self) -> Ports: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...


async def open_store(config: Wishes, machine: str, stack: AsyncExitStack) -> tuple[Backing, Clustered | None]:
    """The store, open until the stack is left, and the machine's part of its cluster. StoreError, Fault."""
    home = Home(config.data / "cluster")
    membership = home.membership()
    if membership is None and config.etcd is None and config.found is None and not config.token:
        return await stack.enter_async_context(own_store(config.data, config.run)), None
    stack.callback(hold(config.data, "--data").close)
    if membership is None:
        await asyncio.to_thread(set_leftovers_aside, config.data)
    if config.etcd is not None or not (config.found or config.token or _runs_members(membership)):
        return await _open_etcd(config, home, membership, machine, stack), None
    addresses = config.addresses or tuple(map(str, own_addresses()))
    check_addresses(addresses, alone=config.found is not None and config.found.members == 1)
    if config.found is not None:
        membership = found(home, machine, addresses, config.ports, config.found)
    elif config.token:
        if membership is None:
            await check_bare(config.data, machine)
        membership = await join(home, machine, addresses, config.token)
    assert membership is not None
    clustered = await stack.enter_async_context(open_clustered(home, membership, config.data, addresses, config.ports))
    return clustered.backing(), clustered


def _runs_members(membership: Membership | None) -> bool:
    """Whether the machine is of a cluster that runs its etcd itself: only such a one has a CA."""
    return membership is not None and bool(membership.ca)


async def _open_etcd(
    config: Wishes, home: Home, membership: Membership | None, machine: str, stack: AsyncExitStack
) -> Backing:
    """An etcd that others run."""
    if membership is not None and _runs_members(membership):
        raise Conflict(
            f"this machine belongs to cluster {membership.cluster}, which runs its own etcd: start it without --store, "
            "or leave the cluster first (hawser node leave)"
        )
    where = config.etcd or home.etcd(Etcd)
    if where is None:
        assert membership is not None
        raise Fault(f"this machine uses the etcd of cluster {membership.cluster}; say where it is: --store", "usage")
    if membership is None:
        await check_bare(config.data, machine)
    backing = await stack.enter_async_context(etcd_store(where))
    await keep_to(home, membership, backing.store, machine, where)
    await bring_own(backing.store, config.data, machine)
    known = home.membership()
    return replace(backing, cluster=known.cluster if known else None)
