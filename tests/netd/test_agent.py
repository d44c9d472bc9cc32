"""The agent's verbs, on a kernel in memory: who gets what, who is refused, what is left after a failure."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from hawser.netd import host_rules, model
from hawser.netd.agent import NetAgent
from hawser.netd.errors import Conflict, Denied, Exists, Invalid, NetError, NotFound, Unavailable
from hawser.netd.model import Publish
from hawser.netd.parse import parse_publish
from hawser.netd.world import Kernel
from hawser.store import Store
from hawser.store import Unavailable as StoreUnavailable
from hawser.store.reconcile import Phase
from tests.wait import auntil

from .fake import FakeWorld

SMALL = {"tenant": "t", "name": "n", "subnets": ["10.0.0.0/29", "fd00::/64"]}


@pytest.fixture
def kernel(instance: str, rundir: Path) -> FakeWorld:
    return FakeWorld(instance, rundir)


@pytest.fixture
async def net(store: Store, kernel: FakeWorld, instance: str, rundir: Path) -> AsyncIterator[NetAgent]:
    agent = NetAgent(store, instance, rundir, machine="m1", kernel=lambda *_: kernel)
    await agent.open()
    await agent.create_network(SMALL)
    yield agent
    await agent.close()


async def box(net: NetAgent, name: str, *addresses: str, publish: str = "", ifname: str = "eth0") -> list[str]:
    if name not in net.sandboxes():
        await net.make_sandbox(name)
    published = [parse_publish(text) for text in publish.split()]
    got = await net.attach(name, tenant="t", network="n", addresses=addresses, publish=published, ifname=ifname)
    return [str(address) for address in got.addresses]


async def records(store: Store) -> dict[str, bytes]:
    return {entry.key: entry.value for entry in (await store.range(model.ROOT, prefix=True)).kvs}


async def remembered(net: NetAgent, store: Store, kernel: FakeWorld) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What there is once the tenant has been on this machine."""
    await box(net, "first", "10.0.0.6")
    await net.remove_sandbox("first")
    return await records(store), dict(kernel.things)


async def test_addresses_are_given_in_order_and_a_freed_one_rests_longest(net: NetAgent) -> None:
    assert await box(net, "a") == ["10.0.0.2/29", "fd00::2/64"]
    assert await box(net, "b") == ["10.0.0.3/29", "fd00::3/64"]
    await net.remove_sandbox("a")
    assert (await box(net, "c"))[0] == "10.0.0.4/29"


async def test_no_address_is_given_twice_and_none_at_all_when_all_are_held(net: NetAgent, store: Store) -> None:
    given = [(await box(net, f"s{i}"))[0] for i in range(5)]
    assert sorted(given) == [f"10.0.0.{i}/29" for i in range(2, 7)]
    await net.make_sandbox("late")
    before = await records(store)
    with pytest.raises(Unavailable, match=r"10\.0\.0\.0/29 has no free address"):
        await box(net, "late")
    assert await records(store) == before
    await net.remove_sandbox("s2")
    assert (await box(net, "late"))[0] == given[2]


async def test_a_fixed_address_is_held_until_it_is_given_back(net: NetAgent) -> None:
    assert await box(net, "a", "10.0.0.5", "fd00::99") == ["10.0.0.5/29", "fd00::99/64"]
    await net.make_sandbox("b")
    with pytest.raises(Conflict, match=r"address 10\.0\.0\.5 of t/n is held by a"):
        await box(net, "b", "10.0.0.5")
    await net.detach("a", "eth0")
    assert (await box(net, "b", "10.0.0.5"))[0] == "10.0.0.5/29"


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "10.0.0.0", "10.0.0.7", "10.1.0.1", "fd00::1", "x", "fd00::2%x", "fd00::1%x", "::ffff:10.0.0.1"],
)
async def test_a_reserved_or_foreign_address_is_refused(net: NetAgent, address: str) -> None:
    with pytest.raises(Invalid):
        await box(net, "a", address)
    with pytest.raises(Invalid, match="at most one of each version"):
        await box(net, "a", "10.0.0.3", "10.0.0.4")


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("80:1", "80:2", True),
        ("80:1", "127.0.0.1:80:2", True),
        ("127.0.0.1:80:1", "80:2", True),
        ("127.0.0.1:80:1", "127.0.0.1:80:2", True),
        ("127.0.0.1:80:1", "10.0.0.9:80:2", False),
        ("80:1", "80:1/udp", False),
        ("80:1", "81:1", False),
    ],
)
async def test_a_host_port_has_one_holder(net: NetAgent, store: Store, first: str, second: str, clash: bool) -> None:
    await box(net, "a", publish=first)
    await net.make_sandbox("b")
    before = await records(store)
    if not clash:
        await box(net, "b", publish=second)
        return
    with pytest.raises(Conflict, match=r"cannot publish .*: a has the port"):
        await box(net, "b", publish=second)
    assert await records(store) == before
    await net.remove_sandbox("a")
    await box(net, "b", publish=second)


async def test_two_spellings_of_an_address_are_one(net: NetAgent) -> None:
    await box(net, "a", "10.0.0.5", "fd00::a")
    await net.make_sandbox("b")
    for spelling in ("::ffff:10.0.0.5", "fd00:0::0A"):
        with pytest.raises(Conflict, match="is held by a"):
            await box(net, "b", spelling)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
async def test_a_port_object_on_every_address_is_on_every_address(
    net: NetAgent, store: Store, kernel: FakeWorld, host: str
) -> None:
    """Units bring their published ports as objects, not as text."""
    await net.make_sandbox("a")
    publish = Publish(host_port=8080, port=80, host_ip=ip_address(host))
    await net.attach("a", tenant="t", network="n", publish=[publish])
    sets = {f"rule:{tenant}:any{version}:tcp . 8080" for tenant in ("", "t") for version in (4, 6)}
    assert {key for key in kernel.things if "8080" in key} == sets
    with pytest.raises(Conflict, match="a has the port"):
        await box(net, "b", publish="127.0.0.1:8080:80")
    assert (await net.plan()) == ()


async def test_a_port_object_with_a_scope_id_is_refused(net: NetAgent, store: Store) -> None:
    await net.make_sandbox("a")
    before = await records(store)
    for host in ("::1%1", "fe80::1%x }\nflush ruleset\n#"):
        with pytest.raises(Invalid, match="no scope id"):
            await net.attach(
                "a", tenant="t", network="n", publish=[Publish(host_port=1, port=1, host_ip=IPv6Address(host))]
            )
    assert await records(store) == before


async def test_a_host_port_is_not_published_twice_by_one_container(net: NetAgent) -> None:
    with pytest.raises(Conflict):
        await box(net, "a", publish="80:1 80:2")


async def test_two_agents_on_one_store_never_give_the_same(
    net: NetAgent, store: Store, instance: str, rundir: Path
) -> None:
    other = NetAgent(store, "other", rundir, kernel=FakeWorld)
    await other.open()
    for agent, names in ((net, "abc"), (other, "de")):
        for name in names:
            await agent.make_sandbox(name)
    attach = [agent.attach(n, tenant="t", network="n") for agent, ns in ((net, "abc"), (other, "de")) for n in ns]
    given = await asyncio.gather(*attach)
    assert len({str(one.addresses[0]) for one in given}) == 5
    await other.close()


async def test_a_port_of_a_host_process_leaves_nothing_behind(net: NetAgent, store: Store, kernel: FakeWorld) -> None:
    await net.make_sandbox("a")
    before, things = await remembered(net, store, kernel)
    kernel.taken = {8080}
    with pytest.raises(Conflict, match="a process of this host has the port"):
        await box(net, "a", publish="80:80 8080:80")
    assert (await records(store), kernel.things) == (before, things)


async def test_a_rule_that_fails_half_way_undoes_the_whole_port(net: NetAgent, store: Store, kernel: FakeWorld) -> None:
    await net.make_sandbox("a")
    before, things = await remembered(net, store, kernel)
    kernel.refuse = {"rule::any6:tcp . 8080"}
    with pytest.raises(NetError, match="refused"):
        await box(net, "a", publish="8080:80")
    assert (await records(store), kernel.things) == (before, things)
    kernel.refuse = set()
    assert (await box(net, "a", publish="8080:80"))[0] == "10.0.0.3/29"


async def test_a_sandbox_that_fails_leaves_nothing(net: NetAgent, store: Store, kernel: FakeWorld) -> None:
    before, things = await records(store), dict(kernel.things)
    kernel.refuse = {"sandbox:a"}
    with pytest.raises(NetError):
        await net.make_sandbox("a")
    assert (await records(store), kernel.things) == (before, things)


@pytest.mark.parametrize("key", ["tenant:t", "table:t", "bridge:t/n", "port:a:eth0"])
async def test_a_first_port_that_fails_leaves_nothing(net: NetAgent, kernel: FakeWorld, key: str) -> None:
    await net.make_sandbox("a")
    things = dict(kernel.things)
    kernel.refuse = {key}
    with pytest.raises(NetError, match="refused"):
        await box(net, "a")
    assert (net.attachments(), kernel.things) == ((), things)
    assert await net.plan() == ()


async def test_what_does_not_exist_is_not_found(net: NetAgent) -> None:
    for verb in (net.remove_network("t", "x"), net.network("t", "x"), net.detach("a", "eth0")):
        with pytest.raises(NotFound):
            await verb
    await net.make_sandbox("a")
    with pytest.raises(NotFound, match="create it: hawser net create -t t x"):
        await net.attach("a", tenant="t", network="x")
    with pytest.raises(NotFound):
        await net.attach("b", tenant="t", network="n")
    await net.remove_sandbox("nobody")


async def test_what_exists_is_not_made_again(net: NetAgent) -> None:
    await box(net, "a")
    with pytest.raises(Exists):
        await net.create_network(SMALL)
    with pytest.raises(Exists):
        await net.make_sandbox("a")
    with pytest.raises(Exists):
        await box(net, "a")


async def test_a_network_in_use_is_not_removed(net: NetAgent, kernel: FakeWorld) -> None:
    await box(net, "a")
    with pytest.raises(Conflict, match="used by a; remove those first"):
        await net.remove_network("t", "n")
    await net.remove_sandbox("a")
    await net.remove_network("t", "n")
    assert set(kernel.things) == {"table:"}


@pytest.mark.parametrize("name", ["A", "", "a" * 64, "a/b", "../x"])
async def test_a_name_too_long_or_odd_is_refused(net: NetAgent, name: str) -> None:
    with pytest.raises(Invalid):
        await net.make_sandbox(name)
    with pytest.raises(Invalid):
        await net.create_network({"tenant": "t", "name": name})


async def test_networks_may_not_overlap_and_get_free_subnets_by_themselves(net: NetAgent) -> None:
    with pytest.raises(Conflict, match=r"10\.0\.0\.0/16 overlaps network t/n"):
        await net.create_network({"tenant": "t", "name": "m", "subnets": ["10.0.0.0/16"]})
    one = await net.create_network({"tenant": "t", "name": "m"})
    two = await net.create_network({"tenant": "u", "name": "m"})
    assert [str(s) for s in (*one.subnets, *two.subnets)] == [
        "10.64.0.0/24",
        "fd68:6177:7365::/64",
        "10.64.1.0/24",
        "fd68:6177:7365:1::/64",
    ]


async def test_an_internal_network_publishes_nothing(net: NetAgent) -> None:
    await net.create_network({"tenant": "t", "name": "inner", "internal": True})
    await net.make_sandbox("a")
    with pytest.raises(Invalid, match="is internal"):
        await net.attach("a", tenant="t", network="inner", publish=[parse_publish("80:80")])
    with pytest.raises(Invalid, match=r"forwards nothing from ::1; use 127\.0\.0\.1"):
        await net.attach("a", tenant="t", network="n", publish=[parse_publish("[::1]:80:80")])


async def test_a_failing_step_is_reported_and_tried_again_while_the_rest_goes_on(
    net: NetAgent, kernel: FakeWorld
) -> None:
    await box(net, "a")
    want = dict(kernel.things)
    kernel.things, kernel.refuse = {}, {"port:a:eth0"}
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(net.run())
        await auntil(lambda: any(status.attempts >= 2 for status in net.statuses()), what="a second try")
        (status,) = net.statuses()
        assert (status.key, status.reason) == ("port:a:eth0", "port:a:eth0: refused")
        assert kernel.things == {key: spec for key, spec in want.items() if key != "port:a:eth0"}
        kernel.refuse = set()
        net.wake()
        await auntil(lambda: kernel.things == want and not net.statuses(), what="the repair")
        loop.cancel()
    assert await net.plan() == ()


DEEP = b"[" * 100_000
PORT = (
    b'{"machine":"m1","sandbox":"a","ifname":"eth0","tenant":"t","network":"n",'
    b'"netns":%s,"mac":%s,"addresses":%s,"publish":%s}'
)
GOOD = (b'"/run/a"', b'"02:00:00:00:00:01"', b"[]", b"[]")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (model.NETWORKS + "t/n", b"{nonsense", "Expecting"),
        (model.NETWORKS + "t/n", b"[]", "no object"),
        (model.NETWORKS + "t/n", b"\xff\xfe\xfd", "decode"),
        (model.NETWORKS + "t/n", DEEP, "recursion"),
        (model.NETWORKS + "t/n", b'{"tenant":"t","name":"other"}', "it is t/other's"),
        (model.SANDBOXES + "m1/a", b"\xff", "can't decode"),
        (model.SANDBOXES + "m1/a", b'{"path":"relative"}', "absolute path"),
        (model.SANDBOXES + "m1/a", b'{"path":"/run/\\u0000"}', "absolute path"),
        (model.SANDBOXES + "m1/../a", b'{"path":"/run/a"}', "1-63 of a-z"),
        (model.PORTS + "m1/a:eth0", b"{}", "'machine' is missing"),
        (model.PORTS + "m1/a:eth1", PORT % GOOD, "it is m1/a:eth0's"),
        (model.PORTS + "m1/a:eth0", PORT % (b"5", *GOOD[1:]), "absolute path"),
        (model.PORTS + "m1/a:eth0", PORT % (GOOD[0], b'"x"', *GOOD[2:]), "six octets"),
        (model.PORTS + "m1/a:eth0", PORT % (*GOOD[:2], b"[5]", b"[]"), "give an address"),
        (model.PORTS + "m1/a:eth0", PORT % (*GOOD[:2], b"7", b"[]"), "not iterable"),
        (model.PORTS + "m1/a:eth0", PORT % (*GOOD[:3], b"[80]"), "expected string"),
        (model.TENANTS + "t", b'{"name":"t","default":"maybe"}', "default"),
    ],
)
async def test_a_record_that_cannot_be_read_is_said_and_stops_nothing_else(
    net: NetAgent, store: Store, kernel: FakeWorld, key: str, value: bytes, why: str
) -> None:
    """And nothing is removed: it might be what the record means."""
    await box(net, "a", publish="80:80")
    await box(net, "b")
    want = dict(kernel.things)
    await store.put(key, value)
    kernel.things = {key: one for key, one in want.items() if key != "port:b:eth0"}
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(net.run())
        await auntil(lambda: any(status.attempts >= 2 for status in net.statuses()), what="a second try")
        assert not loop.done()
        loop.cancel()
    (status,) = net.statuses()
    assert (status.key, status.phase) == (key, Phase.FAILED)
    assert status.reason.startswith(f"record {key} cannot be read: ")
    assert why in status.reason
    assert "\n" not in status.reason
    if not key.startswith(model.NETWORKS):  # what is on that network waits for it
        assert kernel.things == want
    assert want.items() >= kernel.things.items()


class Ailing:
    """A store or kernel whose calls raise, until it is well again."""

    def __init__(self, real: Any) -> None:
        self._real, self.refused = real, 0
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if self.error is not None and name != "close":
            self.refused += 1
            raise self.error
        return getattr(self._real, name)


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), StoreUnavailable("no store"), NetError("no kernel"), TimeoutError("late")],
)
@pytest.mark.parametrize("part", ["store", "kernel"])
async def test_no_foreseen_error_ends_the_loop(
    store: Store, kernel: FakeWorld, instance: str, rundir: Path, part: str, error: Exception
) -> None:
    sick: dict[str, Any] = {"store": Ailing(store), "kernel": Ailing(kernel)}
    net = NetAgent(sick["store"], instance, rundir, kernel=lambda *_: sick["kernel"])
    await net.open()
    await net.create_network(SMALL)
    want = dict(kernel.things)
    kernel.things = {}
    async with asyncio.TaskGroup() as group:
        sick[part].error = error
        loop = group.create_task(net.run())
        await auntil(lambda: sick[part].refused >= 3, what="a third try")
        assert [(status.key, status.phase) for status in net.statuses()] == [("netd:", Phase.FAILED)]
        sick[part].error = None
        net.wake()
        await auntil(lambda: kernel.things == want and not net.statuses(), what="the repair")
        loop.cancel()
    await net.close()


async def test_a_port_whose_holders_cannot_be_read_is_said(net: NetAgent, store: Store) -> None:
    await box(net, "a", publish="80:80")
    for value in (b"{", b"[]", b'{"*": 5}', DEEP):
        await store.put(model.PUBLISHED + "m1/tcp/80", value)
        with pytest.raises(NetError, match=r"published/m1/tcp/80 cannot be read.*correct or delete it"):
            await box(net, "b", publish="80:80")
    with pytest.raises(NetError, match="cannot be read"):
        await net.remove_sandbox("a")
    await net.reconcile()
    assert [status.key for status in net.statuses()] == ["port:a:eth0"]
    await store.delete(model.PUBLISHED + "m1/tcp/80")
    await net.reconcile()
    assert net.statuses() == ()
    assert not [key for key in await records(store) if "a:eth0" in key]


async def test_a_claim_without_a_sandbox_is_given_back(net: NetAgent, store: Store) -> None:
    """An attachment whose caller went away between the claim and the answer, and then removed the sandbox."""
    await box(net, "a", "10.0.0.4", publish="80:80")
    await store.delete(model.SANDBOXES + "m1/a")
    await net.reconcile()
    assert net.attachments() == ()
    assert (await box(net, "b", "10.0.0.4", publish="80:80"))[0] == "10.0.0.4/29"


async def test_without_the_rights_it_does_not_open(store: Store, instance: str, rundir: Path) -> None:
    class NoRights(FakeWorld):
        def apply(self, step: Any) -> None:
            raise Denied("nftables: Operation not permitted; run as root")

    def make(instance: str, rundir: Path) -> Kernel:
        return NoRights(instance, rundir)

    agent = NetAgent(store, instance, rundir, kernel=make)
    with pytest.raises(Denied, match="run as root"):
        await agent.open()
    await agent.close()


async def test_teardown_forgets_everything(net: NetAgent, store: Store, kernel: FakeWorld) -> None:
    await box(net, "a", publish="80:80")
    await net.teardown()
    assert await records(store) == {}
    assert kernel.things == {}
    assert net.attachments() == ()


async def test_a_mac_is_one_ports_on_its_network(net: NetAgent) -> None:
    await net.make_sandbox("a")
    await net.make_sandbox("b")
    got = await net.attach("a", tenant="t", network="n", mac="02:00:00:00:00:05")
    assert got.mac == "02:00:00:00:00:05"
    with pytest.raises(Conflict, match="MAC 02:00:00:00:00:05 is a's on t/n"):
        await net.attach("b", tenant="t", network="n", mac="02:00:00:00:00:05")
    await net.create_network({"tenant": "t", "name": "m"})
    await net.attach("b", tenant="t", network="m", mac="02:00:00:00:00:05")


async def test_two_published_ports_that_would_cross_as_one_are_refused(net: NetAgent) -> None:
    """The number by which one of a single address crosses is made, and may be what another host port is."""
    first = parse_publish("127.0.0.1:80:1")
    crossing = Publish(host_port=host_rules.inner_port(first), port=2)
    await net.make_sandbox("a")
    await net.make_sandbox("b")
    await net.attach("a", tenant="t", network="n", publish=[first])
    with pytest.raises(Conflict, match=r"a has 127\.0\.0\.1:80:1/tcp, too near it"):
        await net.attach("b", tenant="t", network="n", publish=[crossing])
