"""A cluster of three real etcd members that runs out of room: one member's disk, or the room that all may take."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from hawser.store import LeaseNotFound, NoSpace, Store
from hawser.store.etcd.client import AlarmKind
from hawser.store.text import TextStore
from tests.etcd import needs_etcd
from tests.wait import auntil

from .cluster import cluster
from .load import loaded

pytestmark = [pytest.mark.root, needs_etcd]
DISK = 144 << 20  # a member takes twice 64 MB for its log before it begins
QUOTA = 1 << 20
BLOCK = bytes(100_000)
FULL = "database space exceeded; compact, defragment, then: hawser kv alarm disarm"


async def test_a_member_whose_disk_is_full_ends_and_the_others_go_on(rundir: Path) -> None:
    async with cluster(rundir, disks=dict.fromkeys(("h1", "h2", "h3"), DISK)) as trio:
        async with loaded([trio.client] * 4, [trio.client] * 2, trio.store, seed=1) as load:
            await load.more()
            full = await trio.leader()
            rest = full.config.data.parent / "rest"
            fill(rest)
            await auntil(lambda: not full.running, timeout=20, what="the end of the member")
            assert "no space left on device" in full.said()
            await load.more()
            assert await trio.leader() is not full
            rest.unlink()
            full.start()
            await trio.leader()
            await load.more()
        assert load.problems == []
        await trio.alike()


def fill(path: Path) -> None:
    """Let a file take the room that is left on its disk."""
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(path).free == 0


async def test_a_cluster_at_its_quota_says_so_until_room_is_made(rundir: Path) -> None:
    async with cluster(rundir, quota=QUOTA) as trio, trio.connect() as raw:
        store = TextStore(raw)
        last = await grow(store)
        assert {alarm.kind for alarm in await trio.upkeep.alarms()} == {AlarmKind.NOSPACE}
        with pytest.raises(NoSpace, match=f"^{FULL}$"):
            await store.put("small", b"")
        with pytest.raises(NoSpace, match=f"^{FULL}$"):
            await store.lease_grant(10)
        with pytest.raises(LeaseNotFound):
            await store.lease_keepalive(1)
        found = await store.range("big")
        assert found.revision in (last, last + 1)  # a member may refuse what it has just done
        assert await store.delete("big") == 1
        await store.compact(found.revision + 1)
        for endpoint in trio.upkeep.endpoints:
            await trio.upkeep.defragment(endpoint)
        with pytest.raises(NoSpace):
            await store.put("small", b"")
        await trio.upkeep.disarm()
        assert await trio.upkeep.alarms() == ()
        assert await store.put("small", b"") == found.revision + 2
        await trio.alike()


async def grow(store: Store) -> int:
    """Put until it is refused; the revision of the last one that was not. What is not yet in the members' files does
    not count."""
    last = 0
    for _ in range(300):
        try:
            last = await store.put("big", BLOCK)
        except NoSpace:
            return last
    raise AssertionError("no quota")
