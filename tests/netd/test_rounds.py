"""The planner's promises, on a kernel in memory: it converges, whatever was there and wherever it was cut off."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd import compile as compiler
from hawser.netd import parse, rounds, specs
from hawser.netd.errors import Conflict
from hawser.netd.fabric import Fabric
from hawser.netd.intent import Sandbox
from hawser.netd.model import Port, interface, mac_of
from hawser.netd.site import Site, bridge_name
from hawser.netd.specs import BridgeSpec, RuleSpec, Spec
from hawser.store.reconcile import Verb

from .fake import FakeWorld

NETWORKS = {
    name: parse.parse_network({"tenant": "t", "name": name, "subnets": [f"10.0.{i}.0/24"], "internal": i == 2})
    for i, name in enumerate(("n0", "n1", "n2"))
}


@st.composite
def intents(draw: st.DrawFn) -> dict[str, Spec]:
    """Some networks, sandboxes and ports, some published."""
    networks = draw(st.sets(st.sampled_from(sorted(NETWORKS)), max_size=3))
    sandboxes = draw(st.sets(st.sampled_from(["a", "b", "c", "d"]), max_size=4))
    ports = []
    for i, sandbox in enumerate(sorted(sandboxes)):
        for network in sorted(draw(st.sets(st.sampled_from(sorted(networks))))) if networks else ():
            publish = (parse.parse_publish(f"80{i}{network[1]}:80"),) if draw(st.booleans()) else ()
            subnet = NETWORKS[network].subnets[0]
            ports.append(
                Port(
                    machine="m",
                    sandbox=sandbox,
                    ifname=f"eth{network[1]}",
                    tenant="t",
                    network=network,
                    netns=f"/run/{sandbox}",
                    mac=mac_of("i", sandbox + network),
                    addresses=(interface(subnet.network_address + 10 + i, subnet),),
                    publish=publish,
                )
            )
    mtu = draw(st.sampled_from([1500, 1400]))
    fabric = Fabric(networks={f"t/{name}": NETWORKS[name] for name in networks})
    fabric.set_ports(ports)
    site = Site(machine="m", instance="i", tenants="/run/tenants", mtu=mtu, numbers={"t": 0})
    return compiler.compile_intent(fabric, site, {name: Sandbox(path=f"/run/{name}") for name in sandboxes})


def world(things: Mapping[str, Spec]) -> FakeWorld:
    made = FakeWorld("i", Path("/run"))
    made.things = dict(things)
    return made


def one_network() -> dict[str, Spec]:
    """What one port needs."""
    subnet = NETWORKS["n0"].subnets[0]
    port = Port(
        machine="m",
        sandbox="a",
        ifname="eth0",
        tenant="t",
        network="n0",
        netns="/run/a",
        mac=mac_of("i", "a"),
        addresses=(interface(subnet.network_address + 10, subnet),),
    )
    fabric = Fabric(networks={"t/n0": NETWORKS["n0"]})
    fabric.set_ports([port])
    site = Site(machine="m", instance="i", tenants="/run/tenants", mtu=1500, numbers={"t": 0})
    return compiler.compile_intent(fabric, site, {"a": Sandbox(path="/run/a")})


@given(intents(), intents())
@settings(max_examples=100)
def test_one_round_converges_from_anything_and_the_second_plan_is_empty(
    before: dict[str, Spec], after: dict[str, Spec]
) -> None:
    kernel = world(before)
    outcome = rounds.run(specs.steps(after, kernel.observe()), kernel.apply)
    assert outcome.failures == {}
    assert kernel.observe() == after
    assert specs.steps(after, kernel.observe()) == ()


@given(intents(), intents(), st.integers(0, 40))
@settings(max_examples=100)
def test_a_crash_after_any_prefix_is_finished_by_planning_again(
    before: dict[str, Spec], after: dict[str, Spec], cut: int
) -> None:
    kernel = world(before)
    for step in specs.steps(after, kernel.observe())[:cut]:
        kernel.apply(step)
    rounds.run(specs.steps(after, kernel.observe()), kernel.apply)
    assert kernel.observe() == after


@given(intents(), st.data())
@settings(max_examples=100)
def test_a_failure_stays_with_its_key_and_what_needs_it(after: dict[str, Spec], data: st.DataObject) -> None:
    bad = data.draw(st.sampled_from(sorted(after)))
    kernel = world({})
    kernel.refuse = {bad}
    outcome = rounds.run(specs.steps(after, {}), kernel.apply)
    assert bad in outcome.failures
    for key in set(after) - set(outcome.failures):
        assert key in kernel.things, "what does not need it is made"
    for key in set(outcome.failures) - {bad}:
        assert any(need in outcome.failures for need in specs.needs(key, after[key])), f"{key} failed for nothing"
    kernel.refuse = set()
    assert rounds.run(specs.steps(after, kernel.observe()), kernel.apply).failures == {}
    assert kernel.observe() == after


@given(intents(), intents())
@settings(max_examples=50)
def test_a_bridge_is_never_there_without_the_rules_that_shut_it(
    before: dict[str, Spec], after: dict[str, Spec]
) -> None:
    kernel = world({})
    rounds.run(specs.steps(before, {}), kernel.apply)
    for step in specs.steps(after, kernel.observe()):
        kernel.apply(step)
        shut = {spec.element for spec in kernel.things.values() if isinstance(spec, RuleSpec) and spec.set == "bridges"}
        assert {spec.ifname for spec in kernel.things.values() if isinstance(spec, BridgeSpec)} <= shut


def test_a_bridge_that_cannot_be_removed_keeps_its_rules() -> None:
    before = one_network()
    after = {key: spec for key, spec in before.items() if key in ("table:", "table:t", "tenant:t")}
    kernel = world(before)
    kernel.refuse = {"bridge:t/n0"}
    outcome = rounds.run(specs.steps(after, before), kernel.apply)
    assert "rule:t:bridges:" + bridge_name("i", "t/n0") in kernel.things
    assert "waits for bridge:t/n0" in {str(error) for error in outcome.failures.values()}


def test_a_key_that_is_not_due_is_left_alone_with_what_needs_it() -> None:
    after = one_network()
    kernel = world({})
    outcome = rounds.run(specs.steps(after, {}), kernel.apply, not_due={"table:"})
    assert set(kernel.things) <= {"sandbox:a"}
    assert "table:" not in outcome.failures


@given(intents(), st.data())
@settings(max_examples=50)
def test_all_or_nothing_leaves_nothing(after: dict[str, Spec], data: st.DataObject) -> None:
    steps = specs.steps(after, {})
    kernel = world({})
    kernel.refuse = {data.draw(st.sampled_from(sorted(after)))}
    with pytest.raises(Conflict, match="refused"):
        rounds.all_or_nothing(steps, kernel.apply)
    assert kernel.things == {}


def test_the_plan_says_why() -> None:
    after = one_network()
    bridge = after["bridge:t/n0"]
    assert isinstance(bridge, BridgeSpec)
    (step,) = specs.steps(after, {**after, "bridge:t/n0": replace(bridge, mtu=1400)})
    assert step.verb is Verb.UPDATE
    assert str(step) == "update bridge:t/n0: mtu is 1400, wanted 1500"
