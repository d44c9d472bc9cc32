"""Images: a tarball comes as the body of a POST, streamed to a file first."""

import asyncio
import tempfile
from typing import Any

from aiohttp import web

from ..faults import Fault
from .common import node_of

routes = web.RouteTableDef()


def _document(image: Any) -> dict[str, object]:
    return {"name": image.name, "id": image.id, "size": image.size, "created": image.created}


@routes.get("/v1/images")
async def listing(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(node_of(request).images.ls)
    return web.json_response([_document(image) for image in found])


@routes.post("/v1/images")
async def import_(request: web.Request) -> web.Response:
    name = request.query.get("name", "")
    node = node_of(request)
    try:
        with tempfile.TemporaryFile(dir=node.config.data) as spool:
            async for block in request.content.iter_chunked(1 << 18):
                await asyncio.to_thread(spool.write, block)
            spool.seek(0)
            image = await asyncio.to_thread(node.images.import_tar, spool, name)
    except OSError as error:
        raise Fault(f"image {name}: {error.strerror} in {node.config.data}; free some space", "unavailable") from error
    return web.json_response(_document(image))


@routes.get("/v1/images/{name}")
async def show(request: web.Request) -> web.Response:
    return web.json_response(_document(node_of(request).images.get(request.match_info["name"])))


@routes.delete("/v1/images/{name}")
async def remove(request: web.Request) -> web.Response:
    node = node_of(request)
    name = request.match_info["name"]
    await asyncio.to_thread(node.images.remove, name)
    return web.json_response({})
