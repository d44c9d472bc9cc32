"""The machines of the cluster, and where its store is."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from ..faults import Fault
from ..node import Node
from .common import node_of

routes = web.RouteTableDef()


@routes.get("/v1/store")
async def store(request: web.Request) -> web.Response:
    return web.json_response(node_of(request).backing.document())


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
