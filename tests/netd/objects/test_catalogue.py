"""The catalogue in a store: what is chosen, claimed and refused, also with others who write at the same time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hawser.netd import model, parse
from hawser.netd.errors import Conflict, Exists, Invalid, NetError, NotFound, Unavailable
from hawser.netd.model import Qos, Reservation, mac_of
from hawser.netd.objects.catalogue import Objects
from hawser.netd.objects.kinds import encode_document, key_of, kind_of, parse_document
from hawser.store import MemoryStore, SqliteStore, Store
from hawser.store.scoped import ScopedStore

from .stage import floating, network, policy, port, router, tenant
from .world import Agent, keys, put_network, put_port


@pytest.fixture(params=["memory", "disk", "scope"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every engine that is there without a server, and a part of one."""
    kept: Store = await SqliteStore.open(tmp_path) if request.param == "disk" else MemoryStore()
    yield ScopedStore(kept, "/machine/") if request.param == "scope" else kept
    await kept.close()


@pytest.fixture
def objects(store: Store) -> Objects:
    return Objects(store)


async def put_port_object(objects: Objects, **wish: Any) -> Reservation:
    made = await objects.put(port(**wish))
    assert isinstance(made, Reservation)
    return made


async def test_every_kind_is_written_read_listed_and_removed(store: Store, objects: Objects) -> None:
    await put_network(store)
    for thing in (tenant(), port(addresses=["10.0.0.5"]), router("web"), policy("web"), floating()):
        word, key = kind_of(thing).word, key_of(thing)
        made = await objects.put(thing, new=True)
        assert await objects.get(word, key) == made
        assert await objects.listing(word) == (made,)
        assert await objects.listing(word, "blue") == (made,)
        assert await objects.listing(word, "green") == ()
        with pytest.raises(Exists, match="exists; choose another name or remove it"):
            await objects.put(thing, new=True)
        assert await objects.put(thing) == made
    for word, key in (("floating", "192.0.2.7"), ("policy", "blue/p"), ("router", "blue/core"), ("port", "blue/db-1")):
        await objects.remove(word, key)
        with pytest.raises(NotFound, match=f"{word} {key} does not exist"):
            await objects.get(word, key)
        with pytest.raises(NotFound):
            await objects.remove(word, key)
    with pytest.raises(Conflict, match="tenant blue has network blue/web; remove those first"):
        await objects.remove("tenant", "blue")
    assert await keys(store, model.ROOT) == ["/networks/blue/web", "/tenants/blue"]


async def test_records_are_the_forms_that_the_agent_reads(store: Store, objects: Objects) -> None:
    await put_network(store)
    await objects.put(router("web"))
    entry = await store.get(f"{model.ROUTERS}blue/core")
    assert entry is not None
    assert json.loads(entry.value) == {"tenant": "blue", "name": "core", "networks": ["web"], "routes": []}


@pytest.mark.parametrize(
    "thing",
    [router("web", "missing"), policy("missing"), port(network="missing"), floating(network="missing")],
    ids=lambda thing: kind_of(thing).word,
)
async def test_a_network_must_be_there_and_the_tenants_own(store: Store, objects: Objects, thing: Any) -> None:
    await put_network(store)
    await put_network(store, replace(network("missing", "10.3.0.0/24"), tenant="green"))
    with pytest.raises(NotFound, match="network blue/missing does not exist; create it first"):
        await objects.put(thing)


async def test_a_reservation_gets_addresses_and_a_mac_and_claims_them(store: Store, objects: Objects) -> None:
    await put_network(store, network(subnets=["10.0.0.0/29", "fd00::/64"]))
    await put_port(store, addresses=["10.0.0.2/29", "fd00::2/64"])
    first = await put_port_object(objects)
    assert [str(address) for address in first.addresses] == ["10.0.0.3/29", "fd00::3/64"]
    assert first.mac == mac_of("reserved", "blue/db-1")
    second = await put_port_object(objects, name="db-2", addresses=["10.0.0.6"], mac="02:00:00:00:00:06")
    assert [str(address) for address in second.addresses] == ["10.0.0.6/29", "fd00::4/64"]
    claim = await store.get(f"{model.ADDRESSES}blue/web/10.0.0.6")
    assert claim is not None
    assert claim.value == b"reserved:blue/db-2"
    await objects.remove("port", "blue/db-2")
    assert await keys(store, f"{model.ADDRESSES}blue/web/") == ["10.0.0.2", "10.0.0.3", "fd00::2", "fd00::3"]


async def test_an_address_has_one_holder(store: Store, objects: Objects) -> None:
    await put_network(store)
    await put_port(store, addresses=["10.0.0.5/24"])
    with pytest.raises(Conflict, match=r"address 10\.0\.0\.5 of blue/web is held by c1; choose another"):
        await objects.put(port(addresses=["10.0.0.5"]))
    await objects.put(port(addresses=["10.0.0.6"]))
    with pytest.raises(Conflict, match=r"address 10\.0\.0\.6 of blue/web is held by port blue/db-1"):
        await objects.put(port("db-2", addresses=["10.0.0.6"]))


async def test_a_mac_is_one_port_s_on_its_network(store: Store, objects: Objects) -> None:
    await put_network(store)
    await put_port(store, mac="02:00:00:00:00:99")
    with pytest.raises(Conflict, match=r"MAC 02:00:00:00:00:99 is c1's on blue/web"):
        await objects.put(port(mac="02:00:00:00:00:99"))
    await objects.put(port(mac="02:00:00:00:00:05"))
    with pytest.raises(Conflict, match=r"MAC 02:00:00:00:00:05 is port blue/db-1's on blue/web"):
        await objects.put(port("db-2", mac="02:00:00:00:00:05"))
    with pytest.raises(Conflict, match="is the gateway's on blue/web"):
        await objects.put(port("db-3", mac=network().gateway_mac))


async def test_a_full_subnet_says_so(store: Store, objects: Objects) -> None:
    await put_network(store, network(subnet="10.0.0.0/30"))
    await objects.put(port())
    with pytest.raises(Unavailable, match=r"network blue/web: 10\.0\.0\.0/30 has no free address"):
        await objects.put(port("db-2"))
    assert await keys(store, model.RESERVED) == ["blue/db-1"]


async def test_many_at_once_get_an_address_each(store: Store, objects: Objects) -> None:
    await put_network(store)
    made = await asyncio.gather(*(put_port_object(Objects(store), name=f"p{n}") for n in range(20)))
    assert len({one.addresses for one in made}) == 20
    assert len(await keys(store, f"{model.ADDRESSES}blue/web/")) == 20


async def test_a_reservation_keeps_what_a_later_wish_leaves_open(store: Store, objects: Objects) -> None:
    await put_network(store)
    first = await put_port_object(objects, mac="02:00:00:00:00:05", addresses=["10.0.0.9"])
    again = await put_port_object(objects, labels={"app": "db"})
    assert (again.mac, again.addresses, again.labels) == (first.mac, first.addresses, {"app": "db"})
    moved = await put_port_object(objects, addresses=["10.0.0.10"])
    assert (moved.mac, str(moved.addresses[0])) == (first.mac, "10.0.0.10/24")
    assert await keys(store, f"{model.ADDRESSES}blue/web/") == ["10.0.0.10"]


async def test_a_reservation_moves_to_another_network_with_its_claims(store: Store, objects: Objects) -> None:
    await put_network(store)
    await put_network(store, network("db", "10.0.1.0/24"))
    await objects.put(port())
    await objects.put(port(network="db"))
    assert await keys(store, model.ADDRESSES) == ["blue/db/10.0.1.2"]


async def test_a_reservation_in_use_stays_where_it_is_and_carries_its_properties(
    store: Store, objects: Objects
) -> None:
    await put_network(store)
    made = await put_port_object(objects)
    user = await put_port(
        store, mac=made.mac, addresses=[str(made.addresses[0])], reserved="blue/db-1", labels={"old": "1"}
    )
    assert await objects.bound() == {"blue/db-1": "c1"}
    for act in (objects.remove("port", "blue/db-1"), objects.put(port(addresses=["10.0.0.9"]))):
        with pytest.raises(Conflict, match="port blue/db-1 is used by c1; detach it there"):
            await act
    await objects.put(port(labels={"app": "db"}, qos={"egress": "1mbit"}))
    entry = await store.get(model.PORTS + user.key)
    assert entry is not None
    carried = parse.parse_port(json.loads(entry.value))
    assert carried == replace(user, labels={"app": "db"}, qos=Qos(egress=1_000_000))


async def test_a_floating_address_is_one_tenant_s_and_leads_to_one_target(store: Store, objects: Objects) -> None:
    await put_network(store)
    await put_network(store, replace(network(), tenant="green"))
    await objects.put(floating())
    with pytest.raises(Exists):
        await objects.put(floating(tenant="green"), new=True)
    with pytest.raises(Conflict, match=r"floating 192\.0\.2\.7 is tenant blue's; choose another"):
        await objects.put(floating(tenant="green"))
    with pytest.raises(Conflict, match=r"target 10\.0\.0\.5 has the floating address 192\.0\.2\.7"):
        await objects.put(floating("192.0.2.8"))
    with pytest.raises(Invalid, match=r"target: address 10\.9\.0\.5 is not in network blue/web"):
        await objects.put(floating("192.0.2.8", "10.9.0.5"))
    with pytest.raises(Invalid, match="it is an address of network blue/web"):
        await objects.put(floating("10.0.0.77", "10.0.0.6"))
    await objects.put(floating(target="10.0.0.6"))


async def test_nothing_leads_into_an_internal_network(store: Store, objects: Objects) -> None:
    await put_network(store, network(internal=True))
    with pytest.raises(Conflict, match="network blue/web is internal"):
        await objects.put(floating())


async def test_what_uses_a_network_is_told_and_keeps_it(store: Store, objects: Objects) -> None:
    await put_network(store)
    agent = Agent(store, objects)
    assert await objects.users_of_network("blue", "web") == ()
    assert await objects.users_of_network("blue", "none") == ()
    for thing in (port(), router("web"), policy(name="q", rules=[{"from": [{"network": "web"}]}]), floating()):
        await objects.put(thing)
    assert await objects.users_of_network("blue", "web") == (
        *("floating 192.0.2.7", "policy blue/q", "port blue/db-1", "router blue/core"),
    )
    with pytest.raises(Conflict, match=r"used by floating 192\.0\.2\.7, policy blue/q, port blue/db-1 and 1 more"):
        await objects.unused("blue", "web")
    for word, key in (("floating", "192.0.2.7"), ("policy", "blue/q"), ("port", "blue/db-1"), ("router", "blue/core")):
        await objects.remove(word, key)
    await agent.remove_network("blue", "web")
    with pytest.raises(NotFound):
        await objects.unused("blue", "web")


async def test_a_network_removed_at_the_same_time_is_not_used(store: Store, objects: Objects) -> None:
    await put_network(store)
    guards = await objects.unused("blue", "web")
    await objects.put(router("web"))
    assert not (await store.txn(guards, [])).succeeded


class Racing:
    """A store in which something else is written between a look and the write that follows it."""

    def __init__(self, store: Store, meanwhile: Any) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def txn(self, compares: Any, then: Any, otherwise: Any = ()) -> Any:
        if compares and self._meanwhile is not None:
            act, self._meanwhile = self._meanwhile, None
            await act()
        return await self._store.txn(compares, then, otherwise)


async def test_of_two_changes_that_are_wrong_together_one_is_refused(store: Store, objects: Objects) -> None:
    await put_network(store)

    async def remove() -> None:
        await Agent(store, objects).remove_network("blue", "web")

    with pytest.raises(NotFound, match="network blue/web does not exist"):
        await Objects(Racing(store, remove)).put(router("web"))
    await put_network(store)

    async def take() -> None:
        await objects.put(floating())

    with pytest.raises(Conflict, match="target"):
        await Objects(Racing(store, take)).put(floating("192.0.2.8"))

    async def bind() -> None:
        await put_port(store, reserved="blue/db-1")

    await objects.put(port())
    with pytest.raises(Conflict, match="is used by c1"):
        await Objects(Racing(store, bind)).remove("port", "blue/db-1")


async def test_of_a_network_changes_what_its_ports_do_not_rely_on(store: Store, objects: Objects) -> None:
    await put_network(store, network(vni=7))
    changed = network(vni=7, mtu=1400, multicast=True, default="deny")
    assert await objects.put(changed) == changed
    assert await objects.get("network", "blue/web") == changed
    with pytest.raises(Conflict, match=r"cannot change subnets 10\.0\.0\.0/24 to 10\.1\.0\.0/24; gateways"):
        await objects.put(network(subnet="10.1.0.0/24", vni=7))
    with pytest.raises(NotFound):
        await objects.put(network("none"))


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"\xff", b'{"name": "core"}', b"[" * 100_000])
async def test_a_record_that_cannot_be_read_is_named_and_can_be_removed(
    store: Store, objects: Objects, value: bytes
) -> None:
    await put_network(store)
    await store.put(f"{model.ROUTERS}blue/core", value)
    for act in (objects.get("router", "blue/core"), objects.listing("router"), objects.put(router("web"))):
        with pytest.raises(NetError, match=r"record /hawser/netd/routers/blue/core cannot be read: .*correct it, or"):
            await act
    await objects.put(parse_document(encode_document(tenant("green"))))
    await objects.remove("router", "blue/core")
    assert await objects.listing("router") == ()


async def test_an_unreadable_reservation_gives_back_its_claims(store: Store, objects: Objects) -> None:
    await put_network(store)
    await objects.put(port())
    await store.put(f"{model.RESERVED}blue/db-1", b"?")
    await objects.remove("port", "blue/db-1")
    assert await keys(store, model.ADDRESSES) == []


async def test_marks_of_sets_come_and_go(store: Store, objects: Objects) -> None:
    await put_network(store)
    await objects.put(router("web"))
    await objects.own("a", ["router:blue/core", "floating:fd00::1"])
    await objects.own("b", ["router:blue/core"])
    assert await objects.applied() == {"a": {"router:blue/core", "floating:fd00::1"}, "b": {"router:blue/core"}}
    await objects.release("a", ["floating:fd00::1"])
    await objects.remove("router", "blue/core")
    assert await objects.applied() == {}
    await objects.own("a", [f"policy:blue/p{n}" for n in range(300)])
    assert len((await objects.applied())["a"]) == 300


async def test_ports_are_told_by_network(store: Store, objects: Objects) -> None:
    await put_port(store, "c2")
    await put_port(store, "c1")
    assert await objects.attached() == {"blue/web": ("c1", "c2")}
