"""Limits and mirrors of ports are the agent's to keep: made with the port, changed in place, repaired, removed."""

import subprocess
from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.errors import Conflict, Invalid, NetError, NotFound
from hawser.netd.model import PORTS, Direction, Mirror, Port, Qos, Reservation
from hawser.netd.qos.change import limited, mirrored, unmirrored
from hawser.netd.qos.specs import MirrorSpec, QosSpec
from hawser.netd.site import port_name
from hawser.store import Store
from hawser.store.reconcile import Verb
from tests.netd.fake import FakeWorld

MBIT = 10**6
LIMITS = Qos(ingress=10 * MBIT, egress=5 * MBIT, dscp=46)
NETWORK = {"tenant": "blue", "name": "web", "kind": "bridge", "subnets": ["10.7.0.0/24", "fd07::/64"], "internal": True}
KEY = "qos:c1:eth0"
BOTH = tuple(Direction)


@pytest.fixture
async def made(net: NetAgent) -> NetAgent:
    """Three ports on one network, `c1` limited from its beginning."""
    await net.create_network(NETWORK)
    for name in ("c1", "c2", "c3"):
        await net.make_sandbox(name)
        await net.attach(name, tenant="blue", network="web", qos=LIMITS if name == "c1" else None)
    return net


def wanted(net: NetAgent, **more: object) -> QosSpec:
    ifname = port_name(net.site.instance, "c1:eth0")
    limits = {"ingress": LIMITS.ingress, "egress": LIMITS.egress, "dscp": LIMITS.dscp} | more
    return QosSpec(tenant="blue", ifname=ifname, **limits)  # type: ignore[arg-type]


def inside(net: NetAgent, *command: str) -> str:
    whole = ["nsenter", f"--net={net.tenant_path('blue')}", *command]
    return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=10).stdout


async def there(net: NetAgent) -> dict[str, QosSpec]:
    """What the kernel has, after nothing was left to do."""
    assert await net.plan() == ()
    return {key: spec for key, spec in net._shared.standing.items() if isinstance(spec, QosSpec)}


@pytest.mark.root
async def test_limits_are_made_with_the_port_and_go_with_it(made: NetAgent) -> None:
    assert await there(made) == {KEY: wanted(made)}
    await made.detach("c1", "eth0")
    assert await there(made) == {}
    assert "ifb" not in inside(made, "ip", "-d", "link")
    assert "netdev" not in inside(made, "nft", "list", "tables")


@pytest.mark.root
async def test_limits_change_in_place(made: NetAgent) -> None:
    for qos in (Qos(), Qos(ingress=20 * MBIT), LIMITS, Qos(dscp=1)):
        await made.change_port("c1", "eth0", lambda port, qos=qos: limited(port, qos))  # type: ignore[misc]
        expected = {KEY: wanted(made, ingress=qos.ingress, egress=qos.egress, dscp=qos.dscp)}
        assert await there(made) == (expected if qos != Qos() else {})


@pytest.mark.root
@pytest.mark.parametrize("act", ["queue", "rules", "shaper", "port", "rate"])
async def test_what_is_done_by_hand_is_repaired_in_one_round(made: NetAgent, act: str) -> None:
    await made.change_port("c1", "eth0", lambda port: mirrored(made.fabric, port, "c2:eth0", BOTH))
    before = await there(made)
    end, other = wanted(made).ifname, port_name(made.site.instance, "c2:eth0")
    if act == "queue":
        inside(made, "tc", "qdisc", "del", "dev", end, "root")
    elif act == "rate":
        inside(made, "tc", "qdisc", "replace", "dev", end, "root", "tbf", "rate", "1gbit", "burst", "1m", "limit", "1m")
    elif act == "rules":
        inside(made, "nft", "delete", "table", "netdev", f"hawser_{made.site.instance}")
    elif act == "shaper":
        name = next(
            line.split(":")[1].strip() for line in inside(made, "ip", "-o", "link").splitlines() if "hwq" in line
        )
        inside(made, "ip", "link", "del", name)
    else:
        inside(made, "ip", "link", "del", other)
    assert KEY in {step.key for step in await made.plan()}
    await made.reconcile()
    assert await there(made) == before


@pytest.mark.root
async def test_a_mirror_is_as_long_as_both_ports_are(made: NetAgent) -> None:
    await made.change_port("c1", "eth0", lambda port: mirrored(made.fabric, port, "c2:eth0", [Direction.EGRESS]))
    copy = MirrorSpec(direction=Direction.EGRESS, to=port_name(made.site.instance, "c2:eth0"))
    assert await there(made) == {KEY: wanted(made, mirrors=(copy,))}
    await made.detach("c2", "eth0")
    await made.reconcile()
    assert await there(made) == {KEY: wanted(made)}
    await made.attach("c2", tenant="blue", network="web")
    await made.reconcile()
    assert await there(made) == {KEY: wanted(made, mirrors=(copy,))}
    await made.change_port("c1", "eth0", lambda port: unmirrored(port, "c2:eth0", BOTH))
    assert await there(made) == {KEY: wanted(made)}


@pytest.mark.root
async def test_without_the_sandbox_nothing_is_left(made: NetAgent) -> None:
    await made.remove_sandbox("c1")
    assert await there(made) == {}


# on the kernel in memory


@pytest.fixture
def kernel(instance: str, rundir: Path) -> FakeWorld:
    return FakeWorld(instance, rundir)


@pytest.fixture
async def quick(store: Store, kernel: FakeWorld, instance: str, rundir: Path) -> NetAgent:
    """As `made`, with a network of another tenant that `d1` is on."""
    agent = NetAgent(store, instance, rundir, machine="m1", kernel=lambda *_: kernel)
    await agent.open()
    await agent.create_network(NETWORK)
    await agent.create_network({"tenant": "red", "name": "web", "kind": "bridge", "subnets": ["10.7.0.0/24"]})
    for name, tenant in (("c1", "blue"), ("c2", "blue"), ("d1", "red")):
        await agent.make_sandbox(name)
        await agent.attach(name, tenant=tenant, network="web", qos=LIMITS if name == "c1" else None)
    return agent


async def test_a_port_without_limits_has_no_step(quick: NetAgent, kernel: FakeWorld) -> None:
    assert [key for key in kernel.things if key.startswith("qos:")] == [KEY]


async def test_what_the_kernel_refuses_is_not_written(quick: NetAgent, kernel: FakeWorld, store: Store) -> None:
    kernel.refuse.add(KEY)
    before = await store.get(f"{PORTS}m1/c1:eth0")
    with pytest.raises(NetError, match="refused"):
        await quick.change_port("c1", "eth0", lambda port: limited(port, Qos(dscp=9)))
    after = await store.get(f"{PORTS}m1/c1:eth0")
    assert before is not None
    assert after is not None
    assert after.value == before.value
    kernel.refuse.clear()
    assert await quick.plan() == ()


async def test_limits_that_fail_undo_the_whole_port(quick: NetAgent, kernel: FakeWorld, store: Store) -> None:
    await quick.make_sandbox("c9")
    kernel.refuse.add("qos:c9:eth0")
    before = kernel.observe()
    with pytest.raises(NetError, match="refused"):
        await quick.attach("c9", tenant="blue", network="web", qos=Qos(dscp=1))
    assert kernel.observe() == before
    assert await store.get(f"{PORTS}m1/c9:eth0") is None


async def test_a_mirror_survives_the_record_and_the_agent(quick: NetAgent, store: Store, kernel: FakeWorld) -> None:
    changed = await quick.change_port("c1", "eth0", lambda port: mirrored(quick.fabric, port, "c2:eth0", BOTH))
    assert changed.mirrors == tuple(Mirror(direction=one, to="c2:eth0") for one in sorted(BOTH))
    assert await quick.plan() == ()
    assert quick.fabric.ports["m1/c1:eth0"] == changed


@pytest.mark.parametrize(
    ("port", "to", "error", "words"),
    [
        ("c1", "c1:eth0", Invalid, "is mirrored to itself"),
        ("c1", "d1:eth0", NotFound, "tenant blue has no port d1:eth0"),
        ("c1", "c9:eth0", NotFound, "tenant blue has no port c9:eth0"),
        ("c2", "c1:eth0", Invalid, "lead back to it"),
        ("c9", "c1:eth0", NotFound, "c9 has no interface eth0"),
    ],
)
async def test_a_mirror_that_makes_no_sense_changes_nothing(
    quick: NetAgent, kernel: FakeWorld, port: str, to: str, error: type[NetError], words: str
) -> None:
    await quick.change_port("c1", "eth0", lambda there: mirrored(quick.fabric, there, "c2:eth0", BOTH))
    before = kernel.observe()
    with pytest.raises(error, match=words):
        await quick.change_port(port, "eth0", lambda there: mirrored(quick.fabric, there, to, BOTH))
    assert kernel.observe() == before
    assert await quick.plan() == ()


async def test_a_reserved_ports_limits_are_the_reservations(quick: NetAgent) -> None:
    await quick.objects.put(Reservation(tenant="blue", name="r", network="web", mac="", addresses=(), qos=Qos(dscp=3)))
    await quick.detach("c2", "eth0")
    await quick.attach("c2", tenant="blue", network="web", reserved="r")
    assert quick.fabric.ports["m1/c2:eth0"].qos == Qos(dscp=3)

    def other(port: Port) -> Port:
        return limited(port, Qos())

    with pytest.raises(Conflict, match="has its limits from the reserved port blue/r"):
        await quick.change_port("c2", "eth0", other)


async def test_a_change_waits_for_its_link(quick: NetAgent, kernel: FakeWorld) -> None:
    """Limits are made after the port, also when it is made anew."""
    del kernel.things["port:c1:eth0"]
    steps = [step for step in await quick.plan() if step.key.endswith("c1:eth0")]
    assert [(step.verb, step.key) for step in steps] == [(Verb.CREATE, "port:c1:eth0"), (Verb.CREATE, KEY)]
