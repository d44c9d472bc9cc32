"""What a machine brings into its cluster's store the first time it is open.

The founder brings everything that its own store has, compared by count and hash before the cluster is declared to be;
who joins brings only what concerns itself. Then the own store is set aside. Whatever is cut off is done again whole.
"""

import logging
import secrets
import time
from pathlib import Path

from hawser.store import Conflict, PutOp, SqliteStore, Store, TextStore, absent
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.model import (
    CLUSTER,
    ROOT,
    Cluster,
    Founding,
    MemberRecord,
    Membership,
    Role,
    check_store,
    decode,
    encode,
    member_key,
)
from hawser.store.digest import Digest
from hawser.store.migrate import Migration

from ..backing import Etcd
from .place import Ports

# what concerns one machine only lies beneath this and its id
LOCAL = "/hawser/local/"
log = logging.getLogger("hawser.cluster")


async def cluster_of(store: Store) -> Cluster | None:
    """The cluster that a store says it is of."""
    entry = await store.get(CLUSTER)
    return None if entry is None else decode(Cluster, entry.value, CLUSTER)


async def settle(
    home: Home, membership: Membership, store: TextStore, data: Path, address: str, ports: Ports
) -> Cluster:
    """Make the store and this machine agree; the cluster. Conflict when the store is another cluster's."""
    founding = home.founding()
    known = await cluster_of(store)
    if founding is None:
        check_store(membership, known)
        assert known is not None
        await bring_own(store, data, membership.machine)
        return known
    if known is None:
        await _bring_all(store, data)
        known = await _declare(store, founding, membership.machine, address, ports)
    check_store(membership, known)
    set_aside(data)
    home.end_founding()
    return known


async def _declare(store: Store, founding: Founding, machine: str, address: str, ports: Ports) -> Cluster:
    member = MemberRecord(
        machine=machine, peer_urls=(ports.peer_url(address),), client_urls=(ports.client_url(address),)
    )
    puts = [PutOp(CLUSTER, encode(founding.cluster)), PutOp(member_key(machine), encode(member))]
    await store.txn([absent(CLUSTER)], puts)
    known = await cluster_of(store)
    assert known is not None
    log.info("cluster %s is founded; it wants %d etcd members", known.id, known.members)
    return known


async def _bring_all(store: TextStore, data: Path) -> Digest | None:
    if not (data / "store").is_dir():
        return None
    own = await SqliteStore.open(data / "store")
    try:
        migration = Migration(own.raw, store.raw)
        await migration.copy(overwrite=True)
        moved = await migration.verify()
    finally:
        await own.close()
    log.info("%d keys of this machine's own store are in the cluster's (sha256 %s)", moved.count, moved.sha256[:16])
    return moved


async def bring_own(store: Store, data: Path, machine: str) -> None:
    """What concerns this machine only."""
    if not (data / "store").is_dir():
        return
    own = await SqliteStore.open(data / "store")
    try:
        for entry in (await own.range(LOCAL + machine, prefix=True)).kvs:
            await store.put(entry.key, entry.value)
    finally:
        await own.close()
    set_aside(data)


def set_aside(data: Path) -> None:
    """The own store is used no more; it is kept under another name."""
    if (data / "store").is_dir():
        (data / "store").rename(data / f"store.moved-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")


async def check_bare(data: Path, machine: str) -> None:
    """Conflict when the own store has what would be lost by joining: anything but what concerns this machine."""
    if not (data / "store").is_dir():
        return
    own = await SqliteStore.open(data / "store")
    try:
        keys = [entry.key for entry in (await own.range("", prefix=True)).kvs]
    finally:
        await own.close()
    kept = [key for key in keys if not key.startswith((LOCAL + machine, ROOT))]
    if kept:
        raise Conflict(
            f"this machine's own store has {len(kept)} keys that the cluster would not get, such as {kept[0]}; "
            "move them (hawser kv migrate) or remove them (hawser node leave) first"
        )


async def keep_to(home: Home, membership: Membership | None, store: Store, machine: str, where: Etcd) -> None:
    """An etcd that others run: the first machine names its cluster, and each is of that one from then on. Conflict when
    this machine is of another."""
    known = await cluster_of(store)
    if membership is not None:
        check_store(membership, known, where.endpoints)
        home.save_etcd(where)
        return
    if known is None:
        named = Cluster(id=secrets.token_hex(8), created=time.time(), ca=())
        await store.txn([absent(CLUSTER)], [PutOp(CLUSTER, encode(named))])
        known = await cluster_of(store)
        assert known is not None
    home.save_etcd(where)
    hosts = tuple(url.rpartition("://")[2] for url in where.endpoints if not url.startswith("unix:"))
    home.save_membership(
        Membership(cluster=known.id, machine=machine, role=Role.CLIENT, endpoints=hosts, ca=(), joined=time.time())
    )
