"""Meshes and traces over the machines of a real cluster: the nodes ask each other through the store."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hawser.netd.drivers import netns
from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import Fleet, Machine, fleet

pytestmark = [pytest.mark.root, needs_etcd]
FAST = ("--count", "2", "--interval", "0.05")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two machines of one cluster, with a port each (`a`, `b`) on network blue/web."""
    directory = tmp_path_factory.mktemp("ns")
    with fleet(2, "seen") as made, ExitStack() as stack:
        made.found(size=2, members=1)
        made[0].client.post(
            "/v1/networks", {"tenant": "blue", "name": "web", "kind": "bridge", "subnets": ["10.7.0.0/24", "fd07::/64"]}
        )
        for machine, name in zip(made.machines, "ab", strict=True):
            path = directory / name
            netns.create(path)
            stack.callback(netns.remove, path)
            attach(machine, name, path)
        until(lambda: all(known(machine) == {"a", "b"} for machine in made.machines), timeout=20, what="both ports")
        yield made
        for machine, name in zip(made.machines, "ab", strict=True):
            machine.client.delete(f"/v1/attachments/{name}/eth0")


def attach(machine: Machine, name: str, path: Path) -> None:
    body = {"sandbox": name, "owner": "attach", "netns": str(path), "tenant": "blue", "network": "web"}
    machine.client.post("/v1/attachments", body)


def known(machine: Machine) -> set[str]:
    """The ports that a machine's mesh has, once all of it can be heard."""
    answer = mesh(machine)
    return {pair["source"] for pair in answer["pairs"] if not answer["surprises"]}


def mesh(machine: Machine) -> Any:
    return json.loads(machine.hawser("net", "ping", "blue/web", *FAST, "-o", "json").out)


def test_every_machines_ports_ask_from_wherever_it_is_wanted(two: Fleet) -> None:
    for machine in two.machines:
        outcome = machine.hawser("net", "ping", "blue/web", *FAST)
        assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "4 sent, 4 received, 0% lost")


def test_a_trace_goes_over_the_tunnel_whoever_asks(two: Fleet) -> None:
    first, second = two.machines
    for machine in two.machines:
        outcome = machine.hawser("net", "trace", "a", "b")
        assert outcome.code == 0, outcome.err
        lines = [line.strip() for line in outcome.out.splitlines()]
        places = [line for line in lines if line.startswith("machine ")]
        assert places == [f"machine {first.id}:", f"machine {second.id}:", f"machine {first.id}:"]
        tunnel = next(line for line in lines if line.startswith("seen  tunnel of blue/web to machine"))
        assert f"to machine {second.id} at {second.ip}, VNI " in tunnel
        assert "seen  port b:eth0 gets it" in lines
        assert lines[-1] == "seen  the answer reaches port a:eth0"


def test_a_machine_whose_node_is_away_is_named(two: Fleet) -> None:
    first, second = two.machines
    second.kill()
    try:
        outcome = first.hawser("net", "ping", "blue/web", *FAST)
        assert outcome.code == 1
        assert f"machine {second.id}: its ports did not ask: its node does not answer" in outcome.out
        assert "2 sent, 2 received, 0% lost" in outcome.out  # the data plane goes on
        outcome = first.hawser("net", "trace", "a", "b")
        assert outcome.code == 0
        assert f"hops on machine {second.id} are not counted: its node does not answer" in outcome.out
        assert "probe: the echo was answered" in outcome.out
    finally:
        second.up("up")
