"""Containers: what `hawser run` and its relatives ask for."""

from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from ..workloads import view
from ..workloads.model import ExecRequest, Interface, KillRequest, RunRequest, StopRequest
from .common import body, flag, node_of, number, stream

routes = web.RouteTableDef()
ONE = "/v1/containers/{container}"


@routes.get("/v1/containers")
async def listing(request: web.Request) -> web.Response:
    return web.json_response(node_of(request).verbs.listing(every=flag(request, "all")))


@routes.post("/v1/containers")
async def run(request: web.Request) -> web.Response:
    wanted = await body(request, RunRequest)
    return web.json_response({"id": await node_of(request).verbs.run(wanted)})


@routes.post("/v1/containers/attached")
async def attached(request: web.Request) -> web.StreamResponse:
    wanted = await body(request, RunRequest)
    return await stream(request, node_of(request).verbs.attached(wanted))


@routes.get(ONE)
async def show(request: web.Request) -> web.Response:
    return web.json_response(node_of(request).verbs.show(request.match_info["container"]))


@routes.delete(ONE)
async def remove(request: web.Request) -> web.Response:
    await node_of(request).containers.remove(request.match_info["container"], force=flag(request, "force"))
    return web.json_response({})


@routes.post(ONE + "/start")
async def start(request: web.Request) -> web.Response:
    await node_of(request).verbs.start(request.match_info["container"])
    return web.json_response({})


@routes.post(ONE + "/stop")
async def stop(request: web.Request) -> web.Response:
    wanted = await body(request, StopRequest)
    await node_of(request).verbs.stop(request.match_info["container"], wanted.timeout)
    return web.json_response({})


@routes.post(ONE + "/kill")
async def kill(request: web.Request) -> web.Response:
    wanted = await body(request, KillRequest)
    await node_of(request).verbs.kill(request.match_info["container"], wanted)
    return web.json_response({})


@routes.post(ONE + "/wait")
async def wait(request: web.Request) -> web.Response:
    return web.json_response({"code": await node_of(request).verbs.wait(request.match_info["container"])})


@routes.post(ONE + "/exec")
async def execute(request: web.Request) -> web.Response:
    wanted = await body(request, ExecRequest)
    return web.json_response(await node_of(request).verbs.execute(request.match_info["container"], wanted))


@routes.get(ONE + "/logs")
async def logs(request: web.Request) -> web.StreamResponse:
    lines = node_of(request).verbs.logs(
        request.match_info["container"], follow=flag(request, "follow"), tail=number(request, "tail")
    )

    async def documents() -> AsyncGenerator[dict[str, Any], None]:
        async for line in lines:
            yield view.line(line)

    return await stream(request, documents())


@routes.post(ONE + "/interfaces")
async def attach(request: web.Request) -> web.Response:
    wanted = await body(request, Interface)
    node = node_of(request)
    addresses = await node.verbs.attach(request.match_info["container"], wanted)
    node.names.refresh()
    return web.json_response({"addresses": [str(address) for address in addresses]})


@routes.delete(ONE + "/interfaces/{ifname}")
async def detach(request: web.Request) -> web.Response:
    node = node_of(request)
    await node.verbs.detach(request.match_info["container"], request.match_info["ifname"])
    node.names.refresh()
    return web.json_response({})
