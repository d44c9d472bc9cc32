"""The cluster's store on this machine, opened: the machine's member is started before the store is asked for anything,
since the store may be waiting for it; it goes on when the node ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hawser.store import Conflict, TextStore, Unavailable
from hawser.store.background import background
from hawser.store.cluster.drivers.etcd_process import EtcdProcess
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.model import Cluster, Membership, Role
from hawser.store.etcd.client import Tls, connect

from .clustered import Clustered
from .papers import bring_up_to_date
from .place import Ports, at, etcd_config
from .settle import settle

READY_WITHIN, AGAIN = 30.0, 1.0
log = logging.getLogger("hawser.cluster")


@asynccontextmanager
async def open_clustered(
    home: Home, membership: Membership, data: Path, addresses: tuple[str, ...], ports: Ports
) -> AsyncIterator[Clustered]:
    """This machine's part of its cluster; its member runs when it has one. StoreError."""
    bring_up_to_date(home, addresses)
    address = addresses[0]
    process = EtcdProcess(
        etcd_config(home, data, membership.cluster, membership.machine, address, ports), data / "etcd"
    )
    running = process.open()
    async with background(process.run()):
        await _start(process, running, founding=home.founding() is not None)
        endpoints = set(membership.endpoints)
        if membership.role is Role.MEMBER and process.config.data.is_dir():
            endpoints.add(at(address, ports.client))  # it may have another address now
        tls = Tls(ca=home.ca, cert=home.certificate, key=home.certificate)
        async with connect([f"https://{endpoint}" for endpoint in sorted(endpoints)], tls=tls) as store:
            cluster = await _settled(home, membership, TextStore(store), data, address, ports)
            yield Clustered(home, membership, cluster, process, store, data, address, ports)


async def _start(process: EtcdProcess, running: bool, *, founding: bool) -> None:
    """Have the member run, when there is one, as it is to run now. StoreError when it is the cluster's first; others
    are not waited for: the cluster may do without them, or they without us."""
    if not founding and not running and not process.config.data.is_dir():
        return
    within = READY_WITHIN if founding else 0.0
    with contextlib.nullcontext() if founding else contextlib.suppress(Unavailable, Conflict):
        if not running:
            await process.start(within)
        elif process.outdated():
            await process.restart(process.config, within)


async def _settled(
    home: Home, membership: Membership, store: TextStore, data: Path, address: str, ports: Ports
) -> Cluster:
    """Wait for the store, however long that takes: containers go on meanwhile."""
    told = ""
    while True:
        try:
            return await settle(home, membership, store, data, address, ports)
        except Unavailable as error:
            if told != str(error):
                log.warning("%s; waiting for the cluster", error)
                told = str(error)
            await asyncio.sleep(AGAIN)
