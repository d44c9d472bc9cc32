"""The store by hand: values travel as base64, revisions as numbers."""

import base64
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from aiohttp import web

from hawser.store import Event, KeyValue

from ..faults import Fault
from .common import body, flag, node_of, number, stream

routes = web.RouteTableDef()
OWN = "/hawser/"


class Put(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    value: str
    lease: int = 0


class Grant(msgspec.Struct, forbid_unknown_fields=True):
    ttl: float


def _document(entry: KeyValue) -> dict[str, Any]:
    return {
        "key": entry.key,
        "value": base64.b64encode(entry.value).decode(),
        "create_revision": entry.create_revision,
        "mod_revision": entry.mod_revision,
        "version": entry.version,
        "lease": entry.lease,
    }


def _key(request: web.Request) -> str:
    key = request.query.get("key", "")
    if not key and not flag(request, "prefix"):
        raise Fault("an empty key names nothing; give a key", "usage")
    return key


def _not_ours(key: str, prefix: bool = False) -> None:
    """Refuse a change of what the node keeps for itself: its parts watch it and would act on it."""
    if key.startswith(OWN) or (prefix and OWN.startswith(key)):
        raise Fault(f"keys below {OWN} are the node's own; use its commands, or another prefix", "denied")


@routes.get("/v1/kv")
async def get(request: web.Request) -> web.Response:
    found = await node_of(request).store.range(_key(request), prefix=flag(request, "prefix"))
    return web.json_response({"revision": found.revision, "kvs": [_document(entry) for entry in found.kvs]})


@routes.put("/v1/kv")
async def put(request: web.Request) -> web.Response:
    wanted = await body(request, Put)
    if not wanted.key:
        raise Fault("an empty key names nothing; give a key", "usage")
    _not_ours(wanted.key)
    try:
        value = base64.b64decode(wanted.value, validate=True)
    except ValueError as error:
        raise Fault(f"the value of {wanted.key} is no base64: {error}", "usage") from None
    return web.json_response({"revision": await node_of(request).store.put(wanted.key, value, lease=wanted.lease)})


@routes.delete("/v1/kv")
async def delete(request: web.Request) -> web.Response:
    key, prefix = _key(request), flag(request, "prefix")
    _not_ours(key, prefix)
    deleted = await node_of(request).store.delete(key, prefix=prefix)
    return web.json_response({"deleted": deleted})


@routes.get("/v1/kv/watch")
async def watch(request: web.Request) -> web.StreamResponse:
    store = node_of(request).store
    key, prefix, revision = _key(request), flag(request, "prefix"), number(request, "revision")

    async def documents() -> AsyncGenerator[dict[str, Any], None]:
        async with store.watch(key, prefix=prefix, from_revision=revision) as batches:
            async for batch in batches:
                for event in batch.events:
                    yield _event(event)

    return await stream(request, documents())


def _event(event: Event) -> dict[str, Any]:
    return {"kind": str(event.kind)} | _document(event.kv)


@routes.post("/v1/kv/leases")
async def grant(request: web.Request) -> web.Response:
    lease = await node_of(request).store.lease_grant((await body(request, Grant)).ttl)
    return web.json_response({"id": lease.id, "ttl": lease.ttl})


@routes.post("/v1/kv/leases/{lease:[0-9]+}")
async def keep_alive(request: web.Request) -> web.Response:
    lease = await node_of(request).store.lease_keepalive(int(request.match_info["lease"]))
    return web.json_response({"id": lease.id, "ttl": lease.ttl})


@routes.delete("/v1/kv/leases/{lease:[0-9]+}")
async def revoke(request: web.Request) -> web.Response:
    await node_of(request).store.lease_revoke(int(request.match_info["lease"]))
    return web.json_response({})
