"""The laws of the door to the kernel, kept by the real one and by the one in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hawser.netd import compile as compiler
from hawser.netd import parse, specs
from hawser.netd.drivers.world import World
from hawser.netd.errors import Exists, NetError, NotFound
from hawser.netd.fabric import Fabric
from hawser.netd.intent import Sandbox
from hawser.netd.model import Direction, Mirror, Network, Port, Qos, interface, mac_of
from hawser.netd.qos.specs import QosSpec
from hawser.netd.rounds import creation
from hawser.netd.site import Site
from hawser.netd.specs import PortSpec, Spec, TableSpec
from hawser.netd.world import Kernel
from hawser.store.reconcile import Step, Verb

from .fake import FakeWorld


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
def kernel(request: pytest.FixtureRequest, instance: str, rundir: Path) -> Iterator[Kernel]:
    made: Kernel = (World if request.param == "kernel" else FakeWorld)(instance, rundir)
    yield made
    for step in specs.steps({}, made.observe()):
        made.apply(step)
    assert made.observe() == {}
    made.close()


@pytest.fixture
def network() -> Network:
    subnets = ["10.9.0.0/24", "fd00:9::/64"]
    return parse.parse_network({"tenant": "t", "name": "n", "subnets": subnets, "internal": True})


@pytest.fixture
def desired(instance: str, rundir: Path, network: Network) -> dict[str, Spec]:
    """A network with two ports, one of them published, limited, and mirrored to the other."""
    paths = {name: str(rundir / "netns" / name) for name in ("a", "b")}
    ports = [
        Port(
            machine="m",
            sandbox=name,
            ifname="eth0",
            tenant="t",
            network="n",
            netns=path,
            mac=mac_of(instance, name),
            addresses=tuple(interface(s.network_address + 5 + i, s) for s in network.subnets),
            qos=Qos(ingress=10**7, egress=5 * 10**6, dscp=46) if i else Qos(),
            mirrors=tuple(Mirror(direction=direction, to="a:eth0") for direction in Direction) if i else (),
            publish=(parse.parse_publish("8080:80"), parse.parse_publish("127.0.0.1:53:53/udp")) if i else (),
        )
        for i, (name, path) in enumerate(paths.items())
    ]
    fabric = Fabric(networks={network.key: network})
    fabric.set_ports(ports)
    site = Site(machine="m", instance=instance, tenants=str(rundir / "tenants"), mtu=1500, numbers={"t": 0})
    return compiler.compile_intent(fabric, site, {name: Sandbox(path=path) for name, path in paths.items()})


def build(kernel: Kernel, desired: dict[str, Spec]) -> None:
    for step in specs.steps(desired, kernel.observe()):
        kernel.apply(step)


def delete(key: str, spec: Spec) -> Step[Spec]:
    return Step(verb=Verb.DELETE, key=key, reason="test", spec=spec)


def test_what_was_applied_is_what_is_seen(kernel: Kernel, desired: dict[str, Spec]) -> None:
    assert kernel.observe() == {}
    build(kernel, desired)
    assert kernel.observe() == desired
    assert specs.steps(desired, kernel.observe()) == ()


def test_deleting_what_is_gone_is_no_failure(kernel: Kernel, desired: dict[str, Spec]) -> None:
    for key, spec in desired.items():
        kernel.apply(delete(key, spec))
    assert kernel.observe() == {}


def test_everything_can_be_removed_in_the_plans_order(kernel: Kernel, desired: dict[str, Spec]) -> None:
    build(kernel, desired)
    for step in specs.steps({}, kernel.observe()):
        kernel.apply(step)
    assert kernel.observe() == {}


def test_a_table_made_anew_has_its_elements_at_once(kernel: Kernel, desired: dict[str, Spec]) -> None:
    build(kernel, desired)
    table = desired["table:"]
    assert isinstance(table, TableSpec)
    kernel.apply(creation({"table:": table}, "again")[0])
    assert kernel.observe() == desired


def test_a_table_that_goes_takes_its_elements(kernel: Kernel, desired: dict[str, Spec]) -> None:
    build(kernel, desired)
    kernel.apply(delete("table:", desired["table:"]))
    left = kernel.observe()
    assert left == {key: spec for key, spec in desired.items() if not key.startswith("rule::") and key != "table:"}


def test_a_port_needs_its_bridge_and_its_sandbox(kernel: Kernel, desired: dict[str, Spec]) -> None:
    port = creation({"port:a:eth0": desired["port:a:eth0"]}, "too early")[0]
    kernel.apply(creation({"sandbox:a": desired["sandbox:a"]}, "first")[0])
    with pytest.raises(NotFound):
        kernel.apply(port)
    kernel.apply(delete("sandbox:a", desired["sandbox:a"]))
    for key in ("tenant:t", "bridge:t/n"):
        kernel.apply(creation({key: desired[key]}, "first")[0])
    with pytest.raises(NotFound):
        kernel.apply(port)
    assert set(kernel.observe()) == {"tenant:t", "bridge:t/n"}


def test_what_is_there_cannot_be_created_again(kernel: Kernel, desired: dict[str, Spec]) -> None:
    build(kernel, desired)
    for key in ("bridge:t/n", "port:a:eth0"):
        with pytest.raises(Exists):
            kernel.apply(creation({key: desired[key]}, "again")[0])
    assert "port:a:eth0" not in kernel.observe() or kernel.observe() == desired


def test_a_prepared_port_is_not_the_port_until_it_is_applied(kernel: Kernel, desired: dict[str, Spec]) -> None:
    desired = {key: spec for key, spec in desired.items() if not isinstance(spec, QosSpec)}
    build(kernel, {key: spec for key, spec in desired.items() if key != "port:a:eth0"})
    port = desired["port:a:eth0"]
    assert isinstance(port, PortSpec)
    kernel.prepare("port:a:eth0", replace(port, addresses=()))
    assert [(step.verb, step.key) for step in specs.steps(desired, kernel.observe())] == [
        ("delete", "new:port:a:eth0"),
        ("create", "port:a:eth0"),
    ]
    kernel.apply(creation({"port:a:eth0": port}, "complete it")[0])
    assert kernel.observe() == desired


def test_limits_need_their_port_and_those_it_is_mirrored_to(kernel: Kernel, desired: dict[str, Spec]) -> None:
    limits = creation({"qos:b:eth0": desired["qos:b:eth0"]}, "too early")[0]
    for missing in ("port:a:eth0", "port:b:eth0"):
        build(kernel, {key: spec for key, spec in desired.items() if key not in (missing, "qos:b:eth0")})
        with pytest.raises(NotFound):
            kernel.apply(limits)
        build(kernel, {key: spec for key, spec in desired.items() if key not in (missing, "qos:b:eth0")})
    build(kernel, desired)
    assert kernel.observe() == desired


def test_a_rule_needs_the_table(kernel: Kernel, desired: dict[str, Spec]) -> None:
    key = next(key for key in desired if key.startswith("rule:"))
    with pytest.raises(NetError):
        kernel.apply(creation({key: desired[key]}, "too early")[0])
    assert kernel.observe() == {}
