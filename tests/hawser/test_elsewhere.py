"""Names of other machines' ports: what their records say, while their machines are there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface

from hawser.elsewhere import Elsewhere
from hawser.netd import model, parse
from hawser.netd.model import Port
from hawser.store import MemoryStore, Store
from hawser.workloads.model import NAME_LABEL
from tests.wait import auntil


def port(machine: str, sandbox: str, name: str | None, *, tenant: str = "t", leaving: bool = False) -> Port:
    return Port(
        machine=machine,
        sandbox=sandbox,
        ifname="eth0",
        tenant=tenant,
        network="n",
        netns=f"/run/{sandbox}",
        mac="02:00:00:00:00:01",
        addresses=(ip_interface("10.0.0.5/24"), ip_interface("fd00::5/64")),
        labels={} if name is None else {NAME_LABEL: name},
        leaving=leaving,
    )


async def put(store: Store, *ports: Port) -> None:
    for one in ports:
        await store.put(model.PORTS + one.key, json.dumps(parse.encode_port(one)).encode())


async def there(store: Store, *machines: str) -> None:
    for machine in machines:
        await store.put(model.ENDPOINTS + machine, b"{}")


@asynccontextmanager
async def following(store: Store) -> AsyncIterator[Elsewhere]:
    """What machine `own` knows of the others, while it follows the store."""
    async with asyncio.TaskGroup() as group:
        made = Elsewhere(store, "own")
        task = group.create_task(made.run())
        yield made
        task.cancel()


def names(known: Elsewhere, tenant: str = "t") -> list[tuple[str, str]]:
    return sorted((one.service, one.machine) for one in known.of(tenant))


async def test_named_ports_of_other_machines_have_names() -> None:
    store = MemoryStore()
    await there(store, "own", "m1", "m2")
    await put(store, port("m1", "a", "db"), port("m2", "b", "db"), port("own", "c", "mine"), port("m1", "d", None))
    await put(store, port("m1", "e", "going", leaving=True), port("m1", "f", "No Name"))
    async with following(store) as known:
        await auntil(lambda: names(known) == [("db", "m1"), ("db", "m2")], what="both")
        assert known.of("t") is known.of("t"), "the same object while nothing changes"
        assert len({one.id for one in known.of("t")}) == 2
        assert [str(address) for address in known.of("t")[0].addresses] == ["10.0.0.5", "fd00::5"]
        assert names(known, "other") == []


async def test_names_come_and_go_with_their_records() -> None:
    store = MemoryStore()
    await there(store, "m1")
    async with following(store) as known:
        await put(store, port("m1", "a", "db"))
        await auntil(lambda: names(known) == [("db", "m1")], what="the name")
        await put(store, port("m1", "a", None))
        await auntil(lambda: names(known) == [], what="its end with its container's")
        await put(store, port("m1", "a", "db"))
        await auntil(lambda: names(known) == [("db", "m1")], what="the name again")
        await store.delete(f"{model.PORTS}m1/a:eth0")
        await auntil(lambda: names(known) == [], what="its end with the record")


async def test_names_of_a_machine_that_is_gone_are_not_given() -> None:
    store = MemoryStore()
    await there(store, "m1", "m2")
    await put(store, port("m1", "a", "db"), port("m2", "b", "db"))
    async with following(store) as known:
        await auntil(lambda: len(known.of("t")) == 2, what="both")
        await store.delete(f"{model.ENDPOINTS}m1")
        await auntil(lambda: names(known) == [("db", "m2")], what="the one that is left")
        await there(store, "m1")
        await auntil(lambda: len(known.of("t")) == 2, what="both again")


async def test_a_record_that_cannot_be_read_names_nothing_and_harms_nothing() -> None:
    store = MemoryStore()
    await there(store, "m1")
    await store.put(f"{model.PORTS}m1/x:eth0", b"no json")
    await put(store, port("m1", "a", "db"))
    async with following(store) as known:
        await auntil(lambda: names(known) == [("db", "m1")], what="the other")
