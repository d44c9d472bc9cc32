"""Rates, DSCP and copies hold for real traffic, and what is there reads back as what was asked for."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hawser.netd.errors import NotFound
from hawser.netd.model import Direction
from hawser.netd.qos.drivers.tc import Tc
from hawser.netd.qos.specs import MirrorSpec, QosSpec
from hawser.store.reconcile import Verb, plan
from tests.netd.machines import ping
from tests.netd.yard import Yard, dscp, frames, say, sniffer, yard

pytestmark = pytest.mark.root

KEY, MBIT = "qos:c1:eth0", 10**6
SPEC = QosSpec(tenant="blue", ifname="h1")
BOTH = (MirrorSpec(direction=Direction.EGRESS, to="h3"), MirrorSpec(direction=Direction.INGRESS, to="h3"))
FULL = replace(SPEC, ingress=20 * MBIT, egress=10 * MBIT, dscp=46, mirrors=BOTH)
Make = Callable[..., Tc]


@pytest.fixture
def place(rundir: Path) -> Iterator[Yard]:
    with yard(rundir) as found:
        yield found


@pytest.fixture
def make(place: Yard, instance: str) -> Iterator[Make]:
    """Drivers of the yard; every trace of them is gone in the end."""
    made: list[Tc] = []

    def one(*, shaping: bool | None = None) -> Tc:
        made.append(Tc(place.place, instance, "blue", shaping=shaping))
        return made[-1]

    yield one
    for tc in made:
        for key, spec in tc.observe().items():
            tc.delete(key, spec)
        tc.close()
    assert place.place.nft.run("list tables") == ""
    assert {link.kind for link in place.place.netlink.links() if link.name != "lo"} == {"bridge", "veth"}


@pytest.mark.parametrize("spec", [
    replace(SPEC, ingress=8000),
    replace(SPEC, ingress=100 * MBIT),
    replace(SPEC, ingress=100_000 * MBIT, egress=100_000 * MBIT),
    replace(SPEC, egress=8000),
    replace(SPEC, egress=10 * MBIT),
    *(replace(SPEC, dscp=value) for value in range(64)),
    replace(SPEC, mirrors=BOTH[:1]),
    replace(SPEC, mirrors=BOTH),
    FULL,
], ids=str)  # fmt: skip
@pytest.mark.parametrize("shaping", [None, False])
def test_what_is_there_reads_back_as_what_was_asked_for(make: Make, spec: QosSpec, shaping: bool | None) -> None:
    if shaping is False and spec.egress is None:
        return
    tc = make(shaping=shaping)
    tc.apply(Verb.CREATE, KEY, spec)
    assert tc.observe() == {KEY: spec}
    tc.apply(Verb.CREATE, KEY, spec)
    assert tc.observe() == {KEY: spec}
    assert plan({KEY: spec}, make().observe()) == ()


@pytest.mark.parametrize("shaping", [None, False])
def test_any_change_leads_from_one_spec_to_another(make: Make, shaping: bool | None) -> None:
    tc = make(shaping=shaping)
    some = [FULL, replace(SPEC, dscp=1), replace(SPEC, egress=8000), replace(SPEC, ingress=8000, mirrors=BOTH[:1])]
    for before in some:
        for after in some:
            tc.apply(Verb.UPDATE, KEY, before)
            tc.apply(Verb.UPDATE, KEY, after)
            assert tc.observe() == {KEY: after}
    tc.apply(Verb.DELETE, KEY, FULL)
    tc.delete(KEY, FULL)
    assert tc.observe() == {}


def test_ports_do_not_know_of_each_other(make: Make) -> None:
    tc, other = make(), replace(FULL, ifname="h2")
    tc.apply(Verb.CREATE, KEY, FULL)
    tc.apply(Verb.CREATE, "qos:c2:eth0", other)
    assert tc.observe() == {KEY: FULL, "qos:c2:eth0": other}
    tc.delete(KEY, FULL)
    assert tc.observe() == {"qos:c2:eth0": other}


def test_a_link_that_is_not_there_is_said_so(make: Make) -> None:
    with pytest.raises(NotFound, match="qos:c1:eth0: link h9: no such device"):
        make().apply(Verb.CREATE, KEY, replace(SPEC, ifname="h9", dscp=1))


@pytest.mark.parametrize("rate", [10 * MBIT, 100 * MBIT])
def test_what_comes_to_a_port_keeps_to_its_rate(place: Yard, make: Make, rate: int) -> None:
    make().apply(Verb.CREATE, KEY, replace(SPEC, ingress=rate))
    assert place.transfer(2, 1) == pytest.approx(rate, rel=0.1)
    assert place.transfer(1, 2, 0.2) > 2 * rate


@pytest.mark.parametrize("rate", [10 * MBIT, 100 * MBIT])
@pytest.mark.parametrize("shaping", [True, False])
def test_what_a_port_sends_keeps_to_its_rate(place: Yard, make: Make, rate: int, shaping: bool) -> None:
    tc = make()
    if shaping and not tc.shaping:
        pytest.skip("this kernel has no ifb, or no fwd")
    tc = make(shaping=shaping)
    tc.apply(Verb.CREATE, KEY, replace(SPEC, egress=rate))
    seconds, warm = (0.8, 0.4) if shaping else (1.6, 0.8)
    near = 0.1 if shaping else 0.15  # without a queue TCP goes up and down
    assert place.transfer(1, 2, seconds, warm) == pytest.approx(rate, rel=near)
    assert place.transfer(2, 1, 0.2) > 2 * rate


@pytest.mark.parametrize("target", ["10.9.0.2", "fd09::2"])
@pytest.mark.parametrize("egress", [None, 10 * MBIT])
def test_what_a_port_sends_is_marked_and_nothing_else(place: Yard, make: Make, target: str, egress: int | None) -> None:
    make().apply(Verb.CREATE, KEY, replace(SPEC, dscp=46, egress=egress))
    with sniffer(place.sandbox(2), "eth0") as seen:
        say(place.sandbox(1), target, b"marked")
        assert [dscp(frame) for frame in frames(seen, b"marked")] == [46]
        say(place.sandbox(3), target, b"unmarked")
        assert [dscp(frame) for frame in frames(seen, b"unmarked")] == [0]
    assert ping(place.sandbox(1), target)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("egress", [None, 10 * MBIT])
def test_a_mirror_gets_one_direction(place: Yard, make: Make, direction: Direction, egress: int | None) -> None:
    assert ping(place.sandbox(1), "10.9.0.2")
    assert ping(place.sandbox(2), "10.9.0.1")
    make().apply(Verb.CREATE, KEY, replace(SPEC, egress=egress, mirrors=(MirrorSpec(direction=direction, to="h3"),)))
    sent, got = ((1, 2), (2, 1)) if direction is Direction.EGRESS else ((2, 1), (1, 2))
    with sniffer(place.sandbox(3), "eth0") as seen, sniffer(place.sandbox(sent[1]), "eth0") as there:
        say(place.sandbox(got[0]), f"10.9.0.{got[1]}", b"not copied")
        say(place.sandbox(sent[0]), f"10.9.0.{sent[1]}", b"copied")
        assert len(frames(there, b"copied")) == 1
        assert frames(seen, b"copied")[0][-6:] == b"copied"
        assert frames(seen, b"not copied", 0.2) == []


def test_two_mirrors_that_face_each_other_do_not_stop_the_kernel(place: Yard, make: Make) -> None:
    tc = make()
    tc.apply(Verb.CREATE, KEY, replace(SPEC, mirrors=(MirrorSpec(direction=Direction.INGRESS, to="h3"),)))
    back = (MirrorSpec(direction=Direction.INGRESS, to="h1"),)
    tc.apply(Verb.CREATE, "qos:c3:eth0", replace(SPEC, ifname="h3", mirrors=back))
    assert ping(place.sandbox(1), "10.9.0.2")


@pytest.mark.parametrize("version", [4, 6])
def test_what_waited_in_a_shaper_is_copied_too(place: Yard, make: Make, version: int) -> None:
    """The kernel spares it nftables' egress hook."""
    target = {4: "10.9.0.1", 6: "fd09::1"}[version]
    tc = make()
    tc.apply(Verb.CREATE, KEY, replace(SPEC, mirrors=(MirrorSpec(direction=Direction.INGRESS, to="h3"),)))
    tc.apply(Verb.CREATE, "qos:c2:eth0", replace(SPEC, ifname="h2", egress=10 * MBIT))
    assert ping(place.sandbox(2), target)
    with sniffer(place.sandbox(3), "eth0") as seen:
        say(place.sandbox(2), target, b"it waited")
        assert len(frames(seen, b"it waited")) == 1


COPY = ("dev", "h1", "egress", "pref", "18519")


def _copy(*where: str) -> None:
    everything, to = ("bpf", "bytecode", "1,6 0 0 4294967295"), ("action", "mirred", "egress", "mirror", "dev", "h2")
    _run("tc", "filter", *where, *everything, *to)


BREAKS: dict[str, Callable[[Yard, str], None]] = {
    "the queue": lambda yard, table: yard.place.inside(lambda: _tc("del dev h1 root")),
    "the rate": lambda yard, table: yard.place.inside(
        lambda: _tc("replace dev h1 root handle 4857: tbf rate 1mbit burst 5000 limit 9000")
    ),
    "the shaper": lambda yard, table: yard.place.inside(lambda: _run("ip", "link", "del", _shaper(yard))),
    "the table": lambda yard, table: _nft(yard, f"delete table netdev {table}"),
    "the rules": lambda yard, table: _nft(yard, f"flush table netdev {table}"),
    "one more rule": lambda yard, table: _nft(yard, f"add rule netdev {table} {_hook(yard, table)} dup to h2"),
    "a strange rule": lambda yard, table: _nft(
        yard, f"insert rule netdev {table} {_hook(yard, table)} meta mark set 1"
    ),
    "a way past": lambda yard, table: _nft(yard, f"insert rule netdev {table} {_hook(yard, table)} accept"),
    "a copy": lambda yard, table: yard.place.inside(lambda: _run("tc", "filter", "del", *COPY)),
    "where a copy goes": lambda yard, table: yard.place.inside(lambda: _copy("replace", *COPY, "handle", "1")),
    "one more copy": lambda yard, table: yard.place.inside(lambda: _copy("add", *COPY[:-1], "18520")),
    "the hook": lambda yard, table: yard.place.inside(lambda: _tc("del dev h1 clsact")),
    "a wall": lambda yard, table: _nft(yard, f"insert rule netdev {table} {_hook(yard, table)} drop"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_somebody_broke_is_seen_and_mended(place: Yard, make: Make, instance: str, broken: str) -> None:
    tc = make()
    if broken == "the shaper" and not tc.shaping:
        pytest.skip("this kernel has no ifb, or no fwd")
    tc.apply(Verb.CREATE, KEY, FULL)
    BREAKS[broken](place, f"hawser_{instance}")
    steps = plan({KEY: FULL}, tc.observe())
    assert [step.key for step in steps] == [KEY]
    tc.apply(steps[0].verb, KEY, steps[0].spec)
    assert tc.observe() == {KEY: FULL}
    assert ping(place.sandbox(1), "10.9.0.2")


def test_a_port_that_went_leaves_nothing_when_its_spec_goes(place: Yard, make: Make) -> None:
    tc = make()
    tc.apply(Verb.CREATE, KEY, FULL)
    place.place.inside(lambda: _run("ip", "link", "del", "h1"))
    for key, spec in tc.observe().items():
        tc.delete(key, spec)
    assert tc.observe() == {}


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=10, capture_output=True)


def _tc(words: str) -> None:
    _run("tc", "qdisc", *words.split())


def _nft(yard: Yard, commands: str) -> None:
    yard.place.inside(lambda: yard.place.nft.run(commands))


def _shaper(yard: Yard) -> str:
    return next(link.name for link in yard.place.netlink.links() if link.kind == "ifb")


def _hook(yard: Yard, table: str) -> str:
    chains = [entry["chain"] for entry in yard.place.nft.table(table, "netdev") or () if "chain" in entry]
    return next(str(chain["name"]) for chain in chains if chain.get("hook") == "ingress")
