"""The cluster: its machines, where its store is, and tokens to join it."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from hawser.store.cluster import joining, tokens
from hawser.store.cluster.model import Role

from ..backing import Etcd
from ..clustering.clustered import Clustered
from ..faults import Fault
from ..node import Node
from .common import body, node_of, stream

routes = web.RouteTableDef()


@routes.get("/v1/store")
async def store(request: web.Request) -> web.Response:
    return web.json_response(node_of(request).where().document())


class Target(msgspec.Struct, forbid_unknown_fields=True):
    """Where the store goes: an etcd, or without endpoints the machine's own."""

    endpoints: tuple[str, ...] = ()
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = None
    overwrite: bool = False

    def etcd(self) -> Etcd | None:
        if not self.endpoints:
            return None
        cacert, cert, key = (Path(path) if path else None for path in (self.cacert, self.cert, self.key))
        return Etcd(endpoints=self.endpoints, cacert=cacert, cert=cert, key=key, user=self.user, password=self.password)


@routes.post("/v1/store/migrate")
async def migrate(request: web.Request) -> web.StreamResponse:
    target = await body(request, Target)
    return await stream(request, _moving(node_of(request), target))


async def _moving(node: Node, target: Target) -> AsyncGenerator[object, None]:
    move = node.begin_move(target.etcd())
    try:
        async with aclosing(move.copy(overwrite=target.overwrite)) as told:
            async for progress in told:
                yield asdict(progress)
    except BaseException as error:
        node.move = None
        await move.give_up()
        if isinstance(error, BaseExceptionGroup):
            raise error.exceptions[0] from None
        raise
    node.stop()
    async for progress in move.rest():
        yield asdict(progress)
    moved = await move.result
    yield {"moved": moved.count, "sha256": moved.sha256}


@routes.get("/v1/machines")
async def machines(request: web.Request) -> web.Response:
    return web.json_response(await _documents(node_of(request)))


@routes.get("/v1/machines/{machine}")
async def machine(request: web.Request) -> web.Response:
    wanted = request.match_info["machine"]
    found = [each for each in await _documents(node_of(request)) if each["id"].startswith(wanted)]
    exact = [each for each in found if each["id"] == wanted]
    if len(found) > 1 and not exact:
        raise Fault(f"{len(found)} machines begin with {wanted}; write more of the id", "usage")
    if not found:
        raise Fault(f"no machine {wanted}; see: hawser machine ls", "not-found")
    return web.json_response((exact or found)[0])


async def _documents(node: Node) -> list[dict[str, Any]]:
    leader = await node.leader()
    known = sorted(node.machines.known.values(), key=lambda each: each.id)
    return [asdict(each) | {"leader": each.id == leader, "here": each.id == node.machine} for each in known]


class Minting(msgspec.Struct, forbid_unknown_fields=True):
    ttl: float = tokens.TTL
    uses: int = 1
    role: Role = Role.MEMBER


@routes.post("/v1/tokens")
async def make_token(request: web.Request) -> web.Response:
    wanted = await body(request, Minting)
    token = await _cluster(node_of(request)).mint(wanted.ttl, wanted.uses, wanted.role)
    return web.json_response({"token": token})


@routes.get("/v1/tokens")
async def list_tokens(request: web.Request) -> web.Response:
    listed = await joining.list_tokens(_cluster(node_of(request)).store, time.time())
    return web.json_response(
        [
            {
                "id": each.record.id,
                "state": each.state,
                "role": each.record.role,
                "expires": each.record.expires,
                "left": each.record.left,
                "machines": [use.machine for use in each.record.used],
            }
            for each in listed
        ]
    )


@routes.delete("/v1/tokens/{token}")
async def revoke_token(request: web.Request) -> web.Response:
    await joining.revoke_token(_cluster(node_of(request)).store, request.match_info["token"])
    return web.json_response({})


def _cluster(node: Node) -> Clustered:
    if node.clustered is None:
        raise Fault("this machine is of no cluster of hawser's; found one: hawser node up --cluster-init 1", "usage")
    return node.clustered
