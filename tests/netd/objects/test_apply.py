"""Files applied to a store: everything made, changed and removed, and what happens when something fails."""

from pathlib import Path
from typing import Any

import pytest

from hawser.netd import model
from hawser.netd.errors import Conflict, Invalid, NetError
from hawser.netd.model import Network
from hawser.netd.objects.apply import apply
from hawser.netd.objects.catalogue import Objects
from hawser.netd.objects.document import parse_text
from hawser.store import Store

from .stage import network, policy, router
from .world import Agent, keys, put_network, put_port

EXAMPLE = Path(__file__).parents[3] / "examples" / "network.yaml"
WEB = "{kind: network, tenant: blue, name: web, subnets: [10.0.0.0/24]}\n"
DB = "{kind: network, tenant: blue, name: db, subnets: [10.0.1.0/24]}\n"
CORE = "{kind: router, tenant: blue, name: core, networks: [web, db]}\n"


class Stage:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.objects = Objects(store)
        self.agent = Agent(store, self.objects)

    async def apply(self, *texts: str, **options: Any) -> list[str]:
        done = await apply(self.objects, self.agent, parse_text("---\n".join(texts)), **options)
        return [f"{each.step.verb} {each.step.key}" + (f": {each.error}" if each.error else "") for each in done]


@pytest.fixture
def stage(store: Store) -> Stage:
    return Stage(store)


async def test_the_example_is_applied_and_then_there_is_nothing_to_do(stage: Stage) -> None:
    text = EXAMPLE.read_text()
    assert len(await stage.apply(text)) == len(parse_text(text))
    assert await stage.apply(text) == []
    assert await stage.apply(text, prune=True) == []


async def test_a_dry_run_writes_nothing(stage: Stage) -> None:
    assert await stage.apply(WEB, DB, CORE, dry_run=True) == [
        "create network:blue/db",
        "create network:blue/web",
        "create router:blue/core",
    ]
    assert await keys(stage.store, "/") == []


async def test_a_network_without_subnets_gets_them_and_keeps_them(stage: Stage) -> None:
    text = "{kind: network, tenant: blue, name: web}"
    assert await stage.apply(text) == ["create network:blue/web"]
    made = await stage.objects.get("network", "blue/web")
    assert await stage.apply(text) == []
    assert await stage.apply("{kind: network, tenant: blue, name: web, mtu: 1400}") == ["update network:blue/web"]
    changed = await stage.objects.get("network", "blue/web")
    assert isinstance(made, Network)
    assert isinstance(changed, Network)
    assert (changed.subnets, changed.vni, changed.mtu) == (made.subnets, made.vni, 1400)


async def test_prune_removes_what_this_set_made_and_nothing_else(stage: Stage) -> None:
    await stage.apply(WEB, DB, CORE)
    await stage.objects.put(policy("web", name="by-hand"))
    await stage.apply("{kind: policy, tenant: blue, name: theirs, applies: {}, directions: [egress]}", owner="other")
    assert await stage.apply(WEB) == []
    assert await stage.apply(WEB, prune=True) == ["delete router:blue/core", "delete network:blue/db"]
    assert [each.key for each in await stage.objects.listing("policy")] == [  # type: ignore[union-attr]
        "blue/by-hand",
        "blue/theirs",
    ]
    assert await stage.objects.applied() == {"default": {"network:blue/web"}, "other": {"policy:blue/theirs"}}


async def test_what_was_removed_by_hand_and_made_anew_is_nobodys(stage: Stage) -> None:
    await stage.apply(WEB, DB, CORE)
    await stage.objects.remove("router", "blue/core")
    await stage.objects.put(router("web"))
    assert await stage.apply(WEB, DB, prune=True) == []


async def test_marks_of_what_is_gone_are_dropped(stage: Stage) -> None:
    await stage.apply(WEB, DB)
    await stage.agent.remove_network("blue", "db")  # its remover did not tell
    assert await stage.apply(WEB, prune=True) == []
    assert await stage.objects.applied() == {"default": {"network:blue/web"}}


async def test_an_apply_for_no_set_leaves_no_mark(stage: Stage) -> None:
    await stage.apply(WEB, owner=None)
    assert await stage.objects.applied() == {}


async def test_a_subnet_changes_only_while_nobody_is_there(stage: Stage) -> None:
    await stage.apply(WEB.replace("}", ", plane: ovs, vni: 77}"))
    changed = WEB.replace("10.0.0.0", "10.5.0.0")
    assert await stage.apply(changed) == ["update network:blue/web"]
    now = await stage.objects.get("network", "blue/web")
    assert isinstance(now, Network)
    assert ([str(subnet) for subnet in now.subnets], now.kind, now.vni) == (["10.5.0.0/24"], "ovs", 77)
    assert await stage.objects.applied() == {"default": {"network:blue/web"}}
    await put_port(stage.store)
    with pytest.raises(Conflict, match=r"cannot change subnets 10\.5\.0\.0/24 to 10\.0\.0\.0/24.* while c1 is on it"):
        await stage.apply(WEB)


async def test_what_fails_is_told_and_the_rest_goes_on(stage: Stage) -> None:
    async def refuse(spec: Any) -> Network:
        if spec["name"] == "db":
            raise NetError("the kernel lacks a part")
        return await Agent.create_network(stage.agent, spec)

    stage.agent.create_network = refuse  # type: ignore[method-assign]
    assert await stage.apply(WEB, DB, CORE) == [
        "create network:blue/db: the kernel lacks a part",
        "create network:blue/web",
        "create router:blue/core: router blue/core: network blue/db does not exist; create it first",
    ]
    assert await stage.objects.applied() == {"default": {"network:blue/web"}}


async def test_nothing_is_done_when_the_plan_cannot_be(stage: Stage) -> None:
    with pytest.raises(NetError, match="network blue/db does not exist"):
        await stage.apply(WEB, CORE)
    with pytest.raises(Invalid):
        await stage.apply(WEB, "{kind: tenant}")
    assert await keys(stage.store, "/") == []


async def test_what_apply_stopped_within_is_finished_by_another(stage: Stage) -> None:
    await put_network(stage.store, network(vni=5))
    assert await stage.apply(WEB, DB, CORE) == ["create network:blue/db", "create router:blue/core"]
    assert await stage.objects.applied() == {"default": {"network:blue/web", "network:blue/db", "router:blue/core"}}
    assert await keys(stage.store, model.ROUTERS) == ["blue/core"]


async def test_what_waits_for_an_address_gets_it_when_the_other_has_moved(stage: Stage) -> None:
    def ports(first: str, second: str) -> str:
        return f"""
{{kind: port, tenant: blue, name: a, network: web, addresses: [{first}]}}
---
{{kind: port, tenant: blue, name: b, network: web, addresses: [{second}]}}
"""

    await stage.apply(WEB, ports("10.0.0.5", "10.0.0.6"))
    moved = ports("10.0.0.6", "10.0.0.7")
    assert await stage.apply(WEB, moved) == ["update port:blue/a", "update port:blue/b"]
    assert await stage.apply(WEB, moved) == []
