"""Who asks whom, under which names, and which answers are a surprise."""

import asyncio
from ipaddress import ip_address, ip_interface

import pytest

from hawser.netd.errors import Invalid, NotFound
from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Network, Port, Tenant
from hawser.netd.watch.agent import Rounds, Watcher
from hawser.netd.watch.matrix import Sample
from hawser.netd.watch.mesh import Surprise, lines, mesh, names, renamed, surprises
from hawser.store import Store
from tests.netd.test_overlay import Machine, machines  # noqa: F401
from tests.wait import auntil


def network(name: str, third: int, tenant: str = "blue") -> Network:
    subnet = ip_interface(f"10.0.{third}.0/24").network
    return Network(tenant=tenant, name=name, subnets=(subnet,), gateways=(ip_address(f"10.0.{third}.1"),))


def port(sandbox: str, on: str, address: str, machine: str = "m1", ifname: str = "eth0", tenant: str = "blue") -> Port:
    return Port(
        machine=machine,
        sandbox=sandbox,
        ifname=ifname,
        tenant=tenant,
        network=on,
        netns=f"/run/{sandbox}",
        mac="02:00:00:00:00:01",
        addresses=tuple(map(ip_interface, address.split())),
    )


@pytest.fixture
def fabric() -> Fabric:
    """Networks web (two machines) and db of blue, and one of red."""
    nets = [network("web", 0), network("db", 1), network("web", 0, "red")]
    found = Fabric(networks={one.key: one for one in nets})
    found.set_ports(
        [
            port("a", "web", "10.0.0.2/24 fd00::2/64"),
            port("b", "web", "10.0.0.3/24", "m2"),
            port("c", "db", "10.0.1.2/24"),
            port("r", "web", "10.0.0.2/24", tenant="red"),
        ]
    )
    return found


def sample(source: str, target: str, time: float | None) -> Sample:
    return Sample(source=source, target=target, times=(time,))


def test_a_network_or_a_tenant_is_asked_and_nobody_else(fabric: Fabric) -> None:
    assert list(mesh(fabric, "blue", "web", None).addresses) == ["m1/a:eth0", "m2/b:eth0"]
    assert list(mesh(fabric, "blue", None, None).addresses) == ["m1/c:eth0", "m1/a:eth0", "m2/b:eth0"]
    assert mesh(fabric, "blue", None, 6).addresses == {"m1/a:eth0": ip_address("fd00::2")}
    assert mesh(fabric, "blue", "web", None).sources() == {"m1": ("m1/a:eth0",), "m2": ("m2/b:eth0",)}


@pytest.mark.parametrize(("tenant", "name"), [("green", None), ("blue", "none"), ("red", "db")])
def test_what_does_not_exist_is_not_found(fabric: Fabric, tenant: str, name: str | None) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        mesh(fabric, tenant, name, None)


def test_a_version_that_nobody_has_is_refused(fabric: Fabric) -> None:
    with pytest.raises(Invalid, match="no port there has an address of IPv6"):
        mesh(fabric, "blue", "db", 6)


def test_names_are_as_short_as_they_can_be() -> None:
    two = [port("a", "web", "10.0.0.2/24"), port("b", "web", "10.0.0.3/24")]
    assert names(two, {"a": "front"}) == {"m1/a:eth0": "front", "m1/b:eth0": "b"}
    more = [*two, port("a", "db", "10.0.1.3/24", ifname="eth1")]
    assert names(more, {"a": "front"})["m1/a:eth1"] == "front:eth1"
    assert names(two, {"a": "x", "b": "x"}) == {"m1/a:eth0": "a:eth0", "m1/b:eth0": "b:eth0"}
    assert names([two[0], port("a", "web", "10.0.0.9/24", "m2")], {})["m2/a:eth0"] == "m2/a:eth0"


def test_what_the_model_knows_is_no_surprise(fabric: Fabric) -> None:
    asked = mesh(fabric, "blue", None, 4)
    a, b, c = "m1/a:eth0", "m2/b:eth0", "m1/c:eth0"
    assert list(surprises(fabric, asked, [sample(a, b, 0.1), sample(a, c, None)])) == []
    no_way = "no router joins networks db and web"
    assert list(surprises(fabric, asked, [sample(c, a, 0.1)])) == [
        Surprise(source=c, target=a, heard=True, reason=no_way)
    ]
    (lost,) = surprises(fabric, asked, [sample(a, b, None)])
    assert (lost.heard, lost.source, lost.target) == (False, a, b)
    fabric.tenants["blue"] = Tenant(name="blue", default=Default.DENY)
    (heard,) = surprises(fabric, asked, [sample(a, b, 0.1)])
    assert "denies" in heard.reason


def test_a_wide_matrix_has_a_line_a_source() -> None:
    every = [f"p{number}" for number in range(20)]
    samples = [sample(a, b, None if b == "p1" else 0.001) for a in every for b in every if a != b]
    found = list(lines(renamed(samples, {name: name for name in every})))
    assert len(found) == 21
    assert found[0] == "p0   18 of 19 without loss  1-1 ms"
    assert found[-1] == "380 sent, 361 received, 5% lost"
    few = [one for one in samples if {one.source, one.target} <= {"p0", "p1", "p2"}]
    assert next(lines(renamed(few, {name: name for name in every}))).split() == [
        "from",
        "\\",
        "to",
        "p0",
        "p1",
        "p2",
    ]


ONCE = Rounds(count=2, interval=0.05, timeout=1.0)


@pytest.mark.root
async def test_every_machines_ports_ask(machines: list[Machine], store: Store) -> None:  # noqa: F811
    m1, m2, m3 = machines
    await m1.net.create_network({"tenant": "t", "name": "n", "kind": "bridge", "subnets": ["10.0.0.0/24", "fd00::/64"]})
    for machine, name in ((m1, "a"), (m1, "b"), (m2, "c"), (m3, "d")):
        await machine.box(name, "t", "n")
    watchers = [Watcher(store, machine.net) for machine in machines]
    keys = ["m1/a:eth0", "m1/b:eth0", "m2/c:eth0", "m3/d:eth0"]
    everybody = {(a, b) for a in keys for b in keys if a != b}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watcher.run()) for watcher in watchers]

        async def heard(version: int) -> bool:
            pinged = await watchers[0].ping("t", None, version, ONCE)
            assert pinged.silent == {}
            assert list(surprises(m1.net.fabric, pinged.mesh, [])) == []
            return {(s.source, s.target) for s in pinged.samples if None not in s.times} == everybody

        for version in (4, 6):
            for _ in range(20):
                if await heard(version):
                    break
            else:
                raise AssertionError("the mesh is not whole")
        for task in tasks:
            task.cancel()
    assert (await store.range("/hawser/watch/", prefix=True)).kvs == ()


@pytest.mark.root
async def test_a_machine_that_does_not_answer_is_named(
    machines: list[Machine],  # noqa: F811
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hawser.netd.watch.agent.PATIENCE", 0.2)
    m1, m2, _ = machines
    await m1.net.create_network({"tenant": "t", "name": "n", "kind": "bridge", "subnets": ["10.0.0.0/24"]})
    await m1.box("a", "t", "n")
    await m2.box("c", "t", "n")
    await auntil(lambda: "m2/c:eth0" in m1.net.fabric.ports, what="what the others have")
    pinged = await Watcher(store, m1.net).ping("t", "n", None, ONCE)
    assert pinged.silent == {"m2": "its node does not answer"}
    assert {sample.source for sample in pinged.samples} == {"m1/a:eth0"}
    assert (await store.range("/hawser/watch/", prefix=True)).kvs == ()
