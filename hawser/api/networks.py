"""Tenant networks and what is attached to them."""

from typing import Any

import msgspec
from aiohttp import web

from hawser.netd.parse import encode_network, parse_network

from ..faults import Fault
from ..workloads.model import HOST, NONE
from .common import body, node_of

routes = web.RouteTableDef()
ONE = "/v1/networks/{tenant}/{name}"


@routes.get("/v1/networks")
async def listing(request: web.Request) -> web.Response:
    found = await node_of(request).net.networks()
    return web.json_response([encode_network(network) for network in found])


@routes.post("/v1/networks")
async def create(request: web.Request) -> web.Response:
    spec = await body(request, dict[str, Any])
    if spec.get("name") in (NONE, HOST):
        raise Fault(f"network {spec['name']!r}: to `hawser run` this name means no network of a tenant", "usage")
    spec = {"tenant": "default"} | {key: value for key, value in spec.items() if value not in (None, [])}
    return web.json_response(encode_network(await node_of(request).net.create_network(spec)))


@routes.get(ONE)
async def show(request: web.Request) -> web.Response:
    tenant, name = request.match_info["tenant"], request.match_info["name"]
    node = node_of(request)
    network = await node.net.network(tenant, name)
    ports = node.verbs.ports_of(tenant, name)
    return web.json_response(encode_network(network) | {"ports": ports})


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What can change while something is attached; None: nothing."""

    encrypted: bool | None = None
    insecure: bool | None = None
    multicast: bool | None = None


@routes.patch(ONE)
async def change(request: web.Request) -> web.Response:
    wanted = await body(request, Change)
    net = node_of(request).net
    network = await net.network(request.match_info["tenant"], request.match_info["name"])
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    if given.get("encrypted") is False:
        given.setdefault("insecure", False)
    changed = parse_network(encode_network(network) | given)
    await net.objects.put(changed)
    return web.json_response(encode_network(changed))


@routes.delete(ONE)
async def remove(request: web.Request) -> web.Response:
    await node_of(request).net.remove_network(request.match_info["tenant"], request.match_info["name"])
    return web.json_response({})
