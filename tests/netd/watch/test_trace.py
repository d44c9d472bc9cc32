"""A trace says what the model says, and sees a real packet come by, hop by hop, on every machine."""

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.errors import Invalid, NetError, NotFound
from hawser.netd.model import Default, Direction, Peer, Policy, Port, Qos, Router, Rule, Selector, Tenant
from hawser.netd.qos.change import limited
from hawser.netd.watch.agent import Watcher
from hawser.netd.watch.drivers.hops import BridgeHops
from hawser.netd.watch.drivers.tracer import Wish
from hawser.netd.watch.trace import Flow, Hop, flow_of, last_seen, ordered
from hawser.store import Store
from tests.netd.machines import ping, serving
from tests.netd.test_overlay import Machine, machines  # noqa: F401

TIMEOUT = 0.4
Document = dict[str, Any]


@pytest.fixture
async def made(net: NetAgent) -> AsyncIterator[NetAgent]:
    """Networks web (a, b), db (c) that a router joins to it, and apart (d), on one machine."""
    for name, subnet in (("web", "10.7.0.0/24"), ("db", "10.8.0.0/24"), ("apart", "10.9.0.0/24")):
        subnets = [subnet, f"fd{subnet[3]}{subnet[3]}::/64"]
        await net.create_network(
            {"tenant": "blue", "name": name, "kind": "bridge", "subnets": subnets, "internal": name == "apart"}
        )
    await net.objects.put(Router(tenant="blue", name="core", networks=("db", "web")))
    for name, on in (("a", "web"), ("b", "web"), ("c", "db"), ("d", "apart")):
        await net.make_sandbox(name)
        await net.attach(name, tenant="blue", network=on)
    await net.reconcile()
    yield net
    assert "trace" not in inside(net, "nft", "list", "tables")


def inside(net: NetAgent, *command: str) -> str:
    whole = ["nsenter", f"--net={net.tenant_path('blue')}", *command]
    return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=10).stdout


def path(net: NetAgent, sandbox: str) -> str:
    return net.sandboxes()[sandbox]


def address(net: NetAgent, sandbox: str, version: int = 4) -> str:
    (found,) = net.attachments(sandbox)
    return next(str(one.ip) for one in found.addresses if one.version == version)


async def traced(net: NetAgent, store: Store, source: str, target: str, proto: str = "icmp", **more: Any) -> Document:
    wish = Wish(source=source, target=target, proto=proto, timeout=TIMEOUT, **more)
    return await Watcher(store, net).trace(wish)


def seen(document: Document) -> list[str]:
    return [hop["name"] for hop in document["hops"] if hop["seen"]]


def unseen(document: Document) -> list[str]:
    return [hop["name"] for hop in document["hops"] if hop["seen"] == 0]


ALL = ["sent", "security", "delivered", "answers", "answer"]
ROUTED = ["sent", "security", "gateway", "policy", "delivered", "answers", "answer"]


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
async def test_on_one_network(made: NetAgent, store: Store, version: int) -> None:
    found = await traced(made, store, "a", "b", version=version)
    assert (found["allowed"], found["arrived"], found["probe"]["heard"]) == (True, True, True)
    assert seen(found) == ALL
    assert found["missing"] is None
    assert found["notes"] == []
    assert "way: on one network, blue/web" in found["lines"]
    assert found["lines"][-1].startswith("ALLOWED")


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
async def test_through_a_router(made: NetAgent, store: Store, version: int) -> None:
    found = await traced(made, store, "a", "c", version=version)
    assert seen(found) == ROUTED
    assert "way: from blue/web, router blue/core joins it to blue/db" in found["lines"]


@pytest.mark.root
async def test_where_no_router_is(made: NetAgent, store: Store) -> None:
    found = await traced(made, store, "a", "d")
    assert (found["allowed"], found["arrived"], found["probe"]["heard"]) == (False, False, False)
    assert seen(found) == ["sent", "security", "gateway"]
    assert found["last"] == f"the gateway of blue/web routes it, on machine {made.site.machine}"
    assert found["missing"].startswith("routers and policies do not let it pass (no router joins networks")
    assert "way: from blue/web, no router joins it to blue/apart" in found["lines"]


@pytest.mark.root
@pytest.mark.parametrize(("serve", "words"), [(True, "accepted at port 80"), (False, "nobody listens at tcp port 80")])
async def test_a_connection_is_tried(made: NetAgent, store: Store, serve: bool, words: str) -> None:
    with serving(path(made, "b"), 80) if serve else nothing():
        found = await traced(made, store, "a", "b", "tcp", port=80)
    assert found["probe"]["heard"]
    assert words in found["probe"]["words"]
    assert seen(found) == ALL
    assert next(hop["seen"] for hop in found["hops"] if hop["name"] == "delivered") == 1


@contextmanager
def nothing() -> Iterator[None]:
    yield


@pytest.mark.root
async def test_a_datagram_is_sent(made: NetAgent, store: Store) -> None:
    found = await traced(made, store, "a", "b", "udp", port=80)
    assert "nobody listens at udp port 80" in found["probe"]["words"]
    assert seen(found) == ALL


@pytest.mark.root
async def test_a_policy_stops_it(made: NetAgent, store: Store) -> None:
    peers = (Peer(ports=Selector(networks=("db",))),)
    rule = Rule(direction=Direction.INGRESS, peers=peers, proto="tcp", ports=((80, 80),))
    await made.objects.put(
        Policy(
            tenant="blue",
            name="only-db",
            applies=Selector(networks=("web",)),
            directions=(Direction.INGRESS,),
            rules=(rule,),
        )
    )
    await made.reconcile()
    found = await traced(made, store, "a", "b", "tcp", port=80)
    assert (found["allowed"], found["arrived"]) == (False, False)
    assert seen(found) == ["sent", "security"]
    assert "no rule of which allows it" in found["missing"]
    assert found["lines"][-1].startswith("DENIED: ingress of b:eth0: selected by policy only-db")
    with serving(path(made, "b"), 80):
        found = await traced(made, store, "c", "b", "tcp", port=80)
    assert seen(found) == ROUTED
    assert found["lines"][-1].startswith("ALLOWED: ")
    await made.objects.remove("policy", "blue/only-db")
    await made.reconcile()


@pytest.mark.root
async def test_what_is_not_as_it_should_be_shows(made: NetAgent, store: Store) -> None:
    """A rule that somebody else added, in the middle of the way."""
    rule = "table inet theirs { chain c { type filter hook forward priority -50; ip protocol icmp drop; }; }"
    inside(made, "nft", rule)
    found = await traced(made, store, "a", "c")
    assert (found["allowed"], found["arrived"]) == (True, False)
    assert found["missing"].startswith("the gateway of blue/web routes it")
    inside(made, "nft", "delete", "table", "inet", "theirs")


@pytest.mark.root
@pytest.mark.parametrize("target", ["10.7.0.1", "10.8.0.1"])
async def test_a_gateway_answers_itself(made: NetAgent, store: Store, target: str) -> None:
    found = await traced(made, store, "a", target)
    if target == "10.7.0.1":
        assert found["probe"]["heard"]
        assert seen(found) == ["sent", "security", "taken", "answer"]
    else:
        assert seen(found)[:2] == ["sent", "security"]


@pytest.mark.root
async def test_nobody_has_the_address(made: NetAgent, store: Store) -> None:
    found = await traced(made, store, "a", "10.7.0.77")
    assert "way: on one network, blue/web; no port has 10.7.0.77" in found["lines"]
    assert not found["arrived"]
    assert seen(found) == []


@pytest.mark.root
async def test_the_way_out(made: NetAgent, store: Store) -> None:
    found = await traced(made, store, "a", "192.0.2.9", "udp", port=53)
    assert seen(found) == ["sent", "security", "gateway", "policy", "out"]
    assert (found["allowed"], found["arrived"], found["probe"]["heard"]) == (True, True, False)
    found = await traced(made, store, "d", "192.0.2.9")
    assert found["lines"][-1].startswith("DENIED: network apart is internal")
    assert found["arrived"] is False
    assert unseen(found)[0] == "policy"


@pytest.mark.root
async def test_only_the_probe_is_counted(made: NetAgent, store: Store) -> None:
    """While others speak between the same two ports."""
    stop = asyncio.Event()

    async def speak() -> None:
        while not stop.is_set():
            await asyncio.to_thread(ping, path(made, "a"), address(made, "b"))

    async with asyncio.TaskGroup() as group:
        group.create_task(speak())
        found = await traced(made, store, "a", "b")
        stop.set()
    assert [hop["seen"] for hop in found["hops"]] == [1] * len(ALL)


@pytest.mark.root
async def test_nothing_is_sent_where_only_the_decision_is_asked_for(made: NetAgent, store: Store) -> None:
    found = await traced(made, store, "a", "b", live=False)
    assert (found["probe"], found["hops"], found["allowed"]) == (None, [], True)


@pytest.mark.root
async def test_what_makes_no_sense_is_refused(made: NetAgent, store: Store) -> None:
    for source, target, error, words in (
        ("10.7.0.2", "b", Invalid, "a trace begins at a port"),
        ("nobody", "b", NotFound, "no port is 'nobody'"),
        ("a", "nobody", NotFound, "no port"),
    ):
        with pytest.raises(error, match=words):
            await traced(made, store, source, target)
    with pytest.raises(Invalid, match="no version of IP in common that is IPv6"):
        await traced(made, store, "a", "10.7.0.3", version=6)


@pytest.mark.root
async def test_another_tenants_port_is_nowhere(made: NetAgent, store: Store) -> None:
    await made.create_network({"tenant": "red", "name": "web", "kind": "bridge", "subnets": ["10.7.0.0/24"]})
    await made.make_sandbox("r")
    await made.attach("r", tenant="red", network="web")
    found = await traced(made, store, "a", "r")
    assert found["lines"][-1] == "DENIED: nothing passes between tenants blue and red"
    assert (found["allowed"], found["probe"]) == (False, None)


# over machines


@asynccontextmanager
async def watching(store: Store, found: list[Machine]) -> AsyncIterator[list[Watcher]]:
    watchers = [Watcher(store, machine.net) for machine in found]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watcher.run()) for watcher in watchers]
        yield watchers
        for task in tasks:
            task.cancel()


async def arrived(watcher: Watcher, wish: Wish) -> Document:
    """The trace, as soon as every machine knows of the ports."""
    for _ in range(20):
        found = await watcher.trace(wish)
        if found["probe"]["heard"] and not found["notes"]:
            return found
    raise AssertionError(found)


@pytest.mark.root
@pytest.mark.parametrize("default", Default)
async def test_over_a_tunnel_every_hop_is_seen_from_any_machine(
    machines: list[Machine],  # noqa: F811
    store: Store,
    default: Default,
) -> None:
    m1, m2, m3 = machines
    await m1.net.objects.put(Tenant(name="t", default=default))
    if default is Default.DENY:
        rules = tuple(Rule(direction=direction) for direction in Direction)
        await m1.net.objects.put(
            Policy(tenant="t", name="open", applies=Selector(), directions=tuple(Direction), rules=rules)
        )
    network = await m1.net.create_network(
        {"tenant": "t", "name": "n", "kind": "bridge", "subnets": ["10.0.0.0/24", "fd00::/64"]}
    )
    for machine, name in ((m1, "a"), (m2, "b"), (m3, "c")):
        await machine.box(name, "t", "n")
    policy = default is Default.DENY
    here = ["sent", "security", *(["policy"] if policy else []), "tunnel"]
    there = ["arrives", *(["policy there"] if policy else []), "delivered", "answers"]
    async with watching(store, machines) as watchers:
        for watcher in (watchers[0], watchers[2]):
            found = await arrived(watcher, Wish(source="m1/a:eth0", target="b", timeout=TIMEOUT))
            assert seen(found) == [*here, *there, "answer"]
            assert [hop["machine"] for hop in found["hops"]] == ["m1"] * len(here) + ["m2"] * len(there) + ["m1"]
            tunnel = f"tunnel: from machine m1 to machine m2 at 192.0.2.2, VNI {network.vni}"
            assert tunnel in found["lines"]
        assert (await store.range("/hawser/watch/", prefix=True)).kvs == ()


@pytest.mark.root
async def test_a_cut_between_machines_shows_where(
    machines: list[Machine],  # noqa: F811
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hawser.netd.watch.drivers.tracer.PATIENCE", 2.0)
    m1, m2, _ = machines
    await m1.net.create_network({"tenant": "t", "name": "n", "kind": "bridge", "subnets": ["10.0.0.0/24"]})
    await m1.box("a", "t", "n")
    await m2.box("b", "t", "n")
    wish = Wish(source="a", target="b", timeout=TIMEOUT)
    async with watching(store, [m1, m2]) as watchers:
        await arrived(watchers[0], wish)
        await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "wm2", "down"], check=True)
        found = await watchers[0].trace(wish)
    assert seen(found) == ["sent", "security", "tunnel"]
    assert found["missing"] == f"comes out of the tunnel of t/n, VNI {m1.net.fabric.networks['t/n'].vni}, on machine m2"
    monkeypatch.setattr("hawser.netd.watch.drivers.tracer.PATIENCE", 0.2)
    found = await watchers[0].trace(wish)
    assert found["notes"] == ["hops on machine m2 are not counted: its node does not answer"]
    assert found["last"].startswith("tunnel of t/n to machine m2")
    found = await watchers[0].trace(Wish(source="a", target="b", proto="udp", port=9, timeout=TIMEOUT))
    assert (found["arrived"], found["allowed"]) == (None, True)
    with pytest.raises(NetError, match=r"b:eth0 is on machine m2, which must send the probe: its node does not answer"):
        await watchers[0].trace(Wish(source="b", target="a", timeout=TIMEOUT))


# pure


def hop(name: str, seen: int | None, *, back: bool = False) -> Hop:
    return Hop(machine="m1", name=name, words=name, back=back, seen=seen)


def test_the_last_place_where_it_was_seen() -> None:
    one, two, three = hop("1", 1), hop("2", None), hop("3", 0)
    assert last_seen([one, two, three]) == (one, three)
    assert last_seen([three]) == (None, three)
    assert last_seen([one, hop("2", 2)]) == (hop("2", 2), None)
    assert last_seen([two]) == (None, None)
    assert ordered([one, hop("b", 1, back=True)], [three, hop("c", 1, back=True)]) == (
        one,
        three,
        hop("c", 1, back=True),
        hop("b", 1, back=True),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"proto": "tcp; drop"},
        {"proto": "icmpv6"},
        {"port": 65536},
        {"ident": -1},
        {"source": "10.0.0.1; drop"},
        {"target": "fd00::1"},
    ],
)
def test_a_flow_of_another_machine_is_read_strictly(change: dict[str, Any]) -> None:
    plain = {"source": "10.0.0.1", "target": "10.0.0.2", "proto": "tcp", "port": 80, "ident": 4711}
    assert flow_of(plain).plain() == plain
    assert isinstance(flow_of(plain), Flow)
    with pytest.raises(ValueError, match=r"."):
        flow_of(plain | change)


@pytest.mark.root
async def test_a_limited_port_is_traced_too(made: NetAgent, store: Store) -> None:
    """What it sends goes through a shaper."""
    await made.change_port("a", "eth0", lambda port: limited(port, Qos(ingress=10**6, egress=10**6, dscp=46)))
    found = await traced(made, store, "a", "b", "tcp", port=80)
    assert [hop["seen"] for hop in found["hops"]] == [1] * len(ALL)


KILLED = """
import pickle, sys, time
plane, flow, source, target = pickle.load(sys.stdin.buffer)
with plane.counting(flow, source, target) as read:
    print(len(read()), flush=True)
    time.sleep(1000)
"""


@contextmanager
def counting_elsewhere(plane: BridgeHops, flow: Flow, *ports: Port) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that counts; it is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((plane, flow, *ports)))
        process.stdin.close()
        yield process
        process.kill()


@pytest.mark.root
async def test_who_is_killed_while_it_counts_leaves_nothing(made: NetAgent) -> None:
    ports, one = made.fabric.ports, made.site.machine
    source, target = ports[f"{one}/a:eth0"], ports[f"{one}/b:eth0"]
    ends = source.addresses[0].ip, target.addresses[0].ip
    flow = Flow(source=ends[0], target=ends[1], proto="tcp", port=80, ident=4711)
    with counting_elsewhere(BridgeHops(made.fabric, made.site), flow, source, target) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"5\n"
        assert "_trace_" in inside(made, "nft", "list", "tables")
        assert (await made.plan()) == ()
    assert "_trace_" not in inside(made, "nft", "list", "tables")
