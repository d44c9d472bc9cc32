"""The node itself: its state, what it would do next, and its end."""

from aiohttp import web

from .common import node_of

routes = web.RouteTableDef()


@routes.get("/v1/status")
async def status(request: web.Request) -> web.Response:
    return web.json_response(await node_of(request).status())


@routes.get("/v1/plan")
async def plan(request: web.Request) -> web.Response:
    area = request.query.get("area")
    steps = await node_of(request).plan()
    documents = [
        {"area": where, "verb": str(step.verb), "key": step.key, "reason": step.reason}
        for where, step in steps
        if area in (None, where)
    ]
    return web.json_response(documents)


@routes.post("/v1/leave")
async def leave(request: web.Request) -> web.Response:
    await node_of(request).leave()
    return web.json_response({})
