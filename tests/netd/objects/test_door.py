"""The objects through the node's API and the command line: what an operator types, and what they read."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from aiohttp import web
from click.testing import CliRunner

from hawser.api import objects as api
from hawser.api.common import NODE
from hawser.api.server import failures
from hawser.cli.apply import apply
from hawser.cli.floating import floating
from hawser.cli.policy import policy
from hawser.cli.port import port
from hawser.cli.router import router
from hawser.cli.tenant import tenant
from hawser.faults import Fault
from hawser.netd.errors import Invalid, Unavailable
from hawser.netd.fabric import Fabric
from hawser.netd.model import Address, Network
from hawser.netd.objects.catalogue import Objects
from hawser.netd.parse import parse_port
from hawser.node import Node
from hawser.store import Store

from .stage import network
from .world import Agent, put_network, put_port

Say = Callable[..., Awaitable[str]]


class Net(Agent):
    """What the routes need of the agent."""

    def __init__(self, store: Store) -> None:
        self.objects = Objects(store)
        self.fabric = Fabric()
        self.own = ip_address("192.0.2.1")
        super().__init__(store, self.objects)

    async def check_floating(self, address: Address) -> None:
        if address == self.own:
            raise Invalid(f"floating {address} is an address of this machine itself; give another")


@pytest.fixture
def agent(store: Store) -> Net:
    return Net(store)


@pytest.fixture
async def say(agent: Net, rundir: Path) -> AsyncIterator[Say]:
    """Runs a command line against a node; its output, or Fault."""
    app = web.Application(middlewares=[failures])
    verbs = SimpleNamespace(listing=lambda every: [{"id": "c1", "name": "front"}])
    app[NODE] = cast(Node, SimpleNamespace(net=agent, verbs=verbs))
    app.add_routes(api.routes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(rundir / "sock")).start()
    nouns = {"apply": apply, "policy": policy, "tenant": tenant, "router": router, "floating": floating, "port": port}
    cli = click.Group("hawser", commands=nouns)

    async def said(*arguments: str, text: str | None = None) -> str:
        obj = {"socket": str(rundir / "sock")}
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=obj, input=text)
        if isinstance(result.exception, Fault):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    yield said
    await runner.cleanup()


async def refused(words: Awaitable[str]) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        await words
    assert "\n" not in str(caught.value)
    return caught.value.kind, str(caught.value)


async def test_tenants(say: Say, store: Store) -> None:
    await say("tenant", "create", "blue", "--default", "deny")
    await put_network(store)
    await put_network(store, Network(tenant="implied", name="n", subnets=(), gateways=()))
    assert (await say("tenant", "ls")).splitlines() == [
        "NAME     DEFAULT  NETWORKS",
        "blue     deny     1",
        "implied  allow    1",
    ]
    await say("tenant", "default", "blue", "allow")
    assert json.loads(await say("tenant", "show", "blue")) == {
        "name": "blue",
        "default": "allow",
        "has": ["network blue/web"],
    }
    assert await refused(say("tenant", "create", "blue")) == (
        *("conflict", "tenant blue exists; choose another name or remove it"),
    )
    assert await refused(say("tenant", "rm", "blue")) == (
        *("conflict", "tenant blue has network blue/web; remove those first"),
    )
    assert await refused(say("tenant", "show", "nobody")) == ("not-found", "tenant nobody does not exist")
    assert (await refused(say("tenant", "create", "B")))[0] == "usage"


async def test_routers(say: Say, store: Store) -> None:
    await put_network(store)
    await put_network(store, network("db", "10.0.1.0/24"))
    hop = ("--route", "172.16.0.0/12=10.0.1.9")
    await say("router", "create", "-t", "blue", "core", "--network", "web", "--network", "db", *hop)
    assert (await say("router", "ls")).splitlines()[1].split() == ["blue", "core", "web,db", "172.16.0.0/12=10.0.1.9"]
    (listed,) = json.loads(await say("router", "ls", "--json"))
    assert json.loads(await say("router", "show", "-t", "blue", "core")) == listed
    assert json.loads(await say("router", "ls", "-t", "green", "--json")) == []
    assert (await refused(say("router", "create", "x", "--network", "blue/web")))[0] == "usage"
    await say("router", "rm", "-t", "blue", "core")
    assert await refused(say("router", "rm", "-t", "blue", "core")) == ("not-found", "router blue/core does not exist")


async def test_reserved_ports(say: Say, store: Store) -> None:
    await put_network(store)
    where = ("-t", "blue", "--network", "web")
    assert (await say("port", "create", *where, "db-1")).split()[0] == "10.0.0.2/24"
    rates = ("--ingress-rate", "10mbit", "--egress-rate", "1000000", "--dscp", "46")
    mac = "02:00:00:00:00:05"
    made = await say("port", "create", *where, "db-2", "--ip", "10.0.0.9", "--mac", mac, "--label", "app=db", *rates)
    assert made == f"10.0.0.9/24 {mac}\n"
    shown = json.loads(await say("port", "show", "-t", "blue", "db-2"))
    assert shown["qos"] == {"ingress": 10_000_000, "egress": 1_000_000, "dscp": 46}
    assert (shown["labels"], shown["used_by"]) == ({"app": "db"}, None)
    await put_port(store, reserved="blue/db-2")
    assert (await say("port", "ls")).splitlines()[2].split()[-1] == "c1"
    assert (await refused(say("port", "rm", "-t", "blue", "db-2")))[0] == "conflict"
    await say("port", "rm", "-t", "blue", "db-1")
    assert (await refused(say("port", "create", *where, "x", "--ip", "10.0.0.9")))[0] == "conflict"
    assert (await refused(say("port", "create", *where, "x", "--ingress-rate", "fast")))[0] == "usage"


async def test_floating_addresses(say: Say, store: Store) -> None:
    await put_network(store)
    where = ("floating", "add", "-t", "blue", "--network", "web")
    await say(*where, "192.0.2.7", "10.0.0.5")
    refusals = {
        "192.0.2.1": "floating 192.0.2.1 is an address of this machine itself; give another",
        "192.0.2.9": "floating 192.0.2.9 is machine m2's own address; give another",
        "10.0.0.9": "floating 10.0.0.9: it is an address of network blue/web; give one of the outside",
    }
    await store.put("/hawser/netd/endpoints/m2", b'{"machine": "m2", "address": "192.0.2.9", "mtu": 1500}')
    for address, words in refusals.items():
        assert await refused(say(*where, address, "10.0.0.6")) == ("usage", words)
    plain = {"kind": "floating", "tenant": "blue", "network": "web", "address": "192.0.2.1", "target": "10.0.0.6"}
    assert (await refused(say("apply", "-f", "-", text=json.dumps(plain))))[1] == refusals["192.0.2.1"]
    assert (await say("floating", "ls")).splitlines()[1].split() == ["192.0.2.7", "blue", "web", "10.0.0.5"]
    assert await refused(say("floating", "rm", "x")) == ("usage", "'x' is no address")
    await say("floating", "rm", "192.0.2.7")
    assert json.loads(await say("floating", "ls", "--json")) == []


async def test_policies(say: Say, store: Store) -> None:
    await put_network(store)
    await put_network(store, network("db", "10.0.1.0/24"))
    allow = (
        "policy",
        "allow",
        "-t",
        "blue",
        "--to",
        "network=web",
        "--from",
        "network=db",
        "--proto",
        "tcp",
        "--port",
        "80",
    )
    assert await say(*allow) == "allow-web-from-db-tcp-80\n"
    await say(*allow)
    await say("policy", "allow", "-t", "blue", "--to", "label=a=b", "--name", "all", "--proto", "icmp")
    assert (await say("policy", "ls")).splitlines()[1:] == [
        "blue    all                       a=b          ingress     1",
        "blue    allow-web-from-db-tcp-80  network=web  ingress     1",
    ]
    shown = json.loads(await say("policy", "show", "-t", "blue", "allow-web-from-db-tcp-80"))
    assert shown["rules"] == [{"direction": "ingress", "from": [{"networks": ["db"]}], "proto": "tcp", "ports": [80]}]
    text = json.dumps({"kind": "policy", **shown, "rules": []})
    assert "update policy blue/allow-web" in await say("policy", "apply", "-f", "-", text=text)
    await say("policy", "rm", "-t", "blue", "all")
    kind, words = await refused(say("policy", "apply", "-f", "-", text="kind: tenant\nname: x"))
    assert (kind, words) == ("usage", "<stdin>: document 1 (line 1): tenant is not among policy; use hawser apply")
    assert (await refused(say("policy", "allow", "--to", "web")))[0] == "usage"
    assert (await refused(say("policy", "allow", "--to", "network=web", "--port", "80")))[0] == "usage"


async def test_the_rule_that_decides_is_explained(say: Say, agent: Net) -> None:
    agent.fabric.networks["blue/web"] = network()
    for sandbox, address in (("c1", "10.0.0.2/24"), ("c2", "10.0.0.3/24")):
        plain: dict[str, Any] = {
            "machine": "m1",
            "sandbox": sandbox,
            "ifname": "eth0",
            "tenant": "blue",
            "network": "web",
        }
        plain |= {"netns": "/run/x", "mac": f"02:00:00:00:00:0{sandbox[1]}", "addresses": [address], "publish": []}
        agent.fabric.put_port(parse_port(plain))
    assert (await say("policy", "explain", "front", "c2", "80")).splitlines()[-1].startswith("ALLOWED: ")
    answer = json.loads(
        await say("policy", "explain", "10.0.0.3", "10.0.0.2", "-t", "blue", "--proto", "icmp", "--json")
    )
    assert answer["allowed"] is True
    assert (await refused(say("policy", "explain", "front", "nobody", "80")))[0] == "not-found"


FILE = """
kind: network
tenant: blue
name: web
---
{kind: router, tenant: blue, name: core, networks: [web]}
"""


async def test_a_file_is_applied(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(FILE)
    wanted = "create network blue/web: is wanted but missing\ncreate router blue/core: is wanted but missing\n"
    assert await say("apply", "-f", str(file), "--dry-run") == wanted
    assert await say("apply", "-f", str(file)) == wanted
    assert await say("apply", "-f", str(file)) == "nothing to do: 2 objects are as wanted\n"
    file.write_text(FILE.partition("---")[0])
    answer = json.loads(await say("apply", "-f", str(file), "--prune", "--json"))
    reason = "set default had it and no longer has it"
    assert answer == {
        "objects": 1,
        "steps": [{"verb": "delete", "kind": "router", "key": "blue/core", "reason": reason}],
    }
    file.write_text("kind: net\n")
    kind, words = await refused(say("apply", "-f", str(file)))
    assert kind == "usage"
    assert words.startswith(f"{file}: document 1 (line 1), net: kind 'net': give tenant, network")
    file.write_bytes(b"\xff\xfe")
    assert await refused(say("apply", "-f", str(file))) == ("usage", f"{file}: is no text")
    file.write_text(FILE)
    assert (await refused(say("apply", "-f", str(file), "--set", "A")))[0] == "usage"


async def test_a_step_that_fails_is_told_with_its_kind(say: Say, agent: Net) -> None:
    async def refuse(spec: object) -> Network:
        raise Unavailable("the kernel lacks a part")

    agent.create_network = refuse  # type: ignore[method-assign]
    missing = "network blue/web does not exist; create it first"
    assert await refused(say("apply", "-f", "-", text=FILE)) == (
        "unavailable",
        f"2 of 2 steps failed: the kernel lacks a part; router blue/core: {missing}; correct that and apply again",
    )


async def test_the_schema_needs_no_node() -> None:
    result = CliRunner().invoke(apply, ["--schema"], obj={"socket": "/nowhere"})
    assert json.loads(result.output)["$defs"]["policy"]["required"] == ["kind", "name", "applies"]
