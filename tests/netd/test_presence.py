"""A machine's endpoint is the others' to know: as it is now, and for a while after the process has ended."""

import asyncio
from ipaddress import ip_address

from hawser.netd import model, parse
from hawser.netd.model import Endpoint
from hawser.netd.presence import Presence
from hawser.store import Store

KEY = f"{model.ENDPOINTS}m1"


def endpoint(mtu: int) -> Endpoint:
    return Endpoint(machine="m1", address=ip_address("192.0.2.1"), mtu=mtu)


async def live(store: Store, mtu: int) -> None:
    """A process that is known, and ends."""
    async with asyncio.TaskGroup() as group, store.watch(KEY) as batches:
        task = group.create_task(Presence(store, lambda: endpoint(mtu)).run())
        async with asyncio.timeout(10):
            await anext(batches)
        task.cancel()


async def test_the_record_outlives_the_process_and_is_taken_over_by_the_next(store: Store) -> None:
    leases = set()
    for mtu in (1500, 1400):
        await live(store, mtu)
        entry = await store.get(KEY)
        assert entry is not None, "an end of the process is no end of its tunnels"
        assert parse.parse_endpoint(parse.decoded(entry.value)) == endpoint(mtu)
        leases.add(entry.lease)
    assert len(leases) == 2, "a machine that is gone is forgotten all the same"
    assert 0 not in leases
