"""A store with networks as the agent writes them, and hands that make and remove networks as it does."""

import json
from collections.abc import Mapping
from typing import Any

from hawser.netd import model, parse
from hawser.netd.errors import Conflict, Exists, NotFound
from hawser.netd.model import Network, Port
from hawser.netd.objects.catalogue import Objects
from hawser.store import PutOp, Store

from .stage import network


class Agent:
    """The part of the agent that apply needs, without a kernel."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self._store = store
        self._objects = objects

    async def create_network(self, spec: Mapping[str, Any]) -> Network:
        if not spec.get("subnets"):
            spec = {**spec, "subnets": ["10.77.0.0/24"]}
        made = parse.parse_network({"vni": 5, **spec})
        if await self._store.get(model.NETWORKS + made.key):
            raise Exists(f"network {made.key} exists")
        await put_network(self._store, made)
        return made

    async def remove_network(self, tenant: str, name: str) -> None:
        if await self._store.get(f"{model.NETWORKS}{tenant}/{name}") is None:
            raise NotFound(f"network {tenant}/{name} does not exist")
        if users := await self._objects.users_of_network(tenant, name):
            raise Conflict(f"network {tenant}/{name} is used by {', '.join(users)}; remove those first")
        compares = await self._objects.unused(tenant, name)
        assert (await self._store.txn(compares, [])).succeeded
        await self._store.delete(f"{model.NETWORKS}{tenant}/{name}")


async def put_network(store: Store, thing: Network | None = None) -> Network:
    thing = thing or network()
    await store.put(model.NETWORKS + thing.key, json.dumps(parse.encode_network(thing)).encode())
    return thing


async def put_port(store: Store, sandbox: str = "c1", **more: Any) -> Port:
    """A port on blue/web, with its claims as `claims` makes them."""
    plain = {
        "machine": "m1",
        "sandbox": sandbox,
        "ifname": "eth0",
        "tenant": "blue",
        "network": "web",
        "netns": f"/run/{sandbox}",
        "mac": "02:00:00:00:00:99",
        "addresses": [],
        "publish": [],
        **more,
    }
    port = parse.parse_port(plain)
    ops = [PutOp(model.PORTS + port.key, json.dumps(parse.encode_port(port)).encode())]
    if port.reserved:
        ops.append(PutOp(f"{model.RESERVED}{port.reserved}/bound", port.key.encode()))
    else:
        ops += [PutOp(f"{model.ADDRESSES}{port.on}/{one.ip}", port.key.encode()) for one in port.addresses]
    await store.txn([], ops)
    return port


async def keys(store: Store, prefix: str) -> list[str]:
    return [entry.key.removeprefix(prefix) for entry in (await store.range(prefix, prefix=True)).kvs]
