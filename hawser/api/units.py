"""Units: submitted as text, moved by verbs, shown with their states."""

from typing import Any

import msgspec
from aiohttp import web

from hawser.sched.model import Desired

from ..faults import Fault
from .common import body, node_of

routes = web.RouteTableDef()
ONE = "/v1/units/{name}"
VERBS = {
    "load": Desired.LOADED,
    "start": Desired.LAUNCHED,
    "stop": Desired.LOADED,
    "unload": Desired.INACTIVE,
}


class Submit(msgspec.Struct, forbid_unknown_fields=True):
    """A unit file's text."""

    text: str


@routes.get("/v1/units")
async def listing(request: web.Request) -> web.Response:
    return web.json_response(await node_of(request).units.listing())


@routes.put(ONE)
async def submit(request: web.Request) -> web.Response:
    wanted = await body(request, Submit)
    await node_of(request).units.submit(request.match_info["name"], wanted.text)
    return web.json_response({})


@routes.get(ONE)
async def show(request: web.Request) -> web.Response:
    return web.json_response(await node_of(request).units.show(request.match_info["name"]))


@routes.get(ONE + "/file")
async def text(request: web.Request) -> web.Response:
    return web.json_response({"text": await node_of(request).units.text(request.match_info["name"])})


@routes.post(ONE + "/{verb}")
async def verb(request: web.Request) -> web.Response:
    units, name, wanted = node_of(request).units, request.match_info["name"], request.match_info["verb"]
    if wanted in VERBS:
        await units.set_desired(name, VERBS[wanted])
    elif wanted == "restart":
        await units.restart(name)
    elif wanted == "destroy":
        await units.destroy(name)
    else:
        raise Fault(f"no verb {wanted}; known: {', '.join([*VERBS, 'restart', 'destroy'])}", "usage")
    answer: dict[str, Any] = {}
    return web.json_response(answer)
