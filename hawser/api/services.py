"""Services: announcements made here, and what everybody announced."""

from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from hawser.mesh.model import SERVICES, Instance, decode_instance, parse_announcement
from hawser.store import EventKind

from ..faults import Fault
from ..workloads.model import check_labels
from .common import body, node_of, stream

routes = web.RouteTableDef()
ONE = "/v1/services/{tenant}/{service}"


def document(instance: Instance) -> dict[str, Any]:
    """One instance as the API shows it."""
    return {
        "tenant": instance.tenant,
        "service": instance.service,
        "id": instance.id,
        "addresses": [str(address) for address in instance.addresses],
        "port": instance.port,
        "healthy": instance.healthy,
        "reason": instance.reason,
        "machine": instance.machine,
        "labels": dict(instance.labels),
    }


@routes.get("/v1/services")
async def listing(request: web.Request) -> web.Response:
    return web.json_response([document(instance) for instance in node_of(request).mesh.instances()])


@routes.post("/v1/services")
async def announce(request: web.Request) -> web.Response:
    spec = await body(request, dict[str, Any])
    announcement = parse_announcement({key: value for key, value in spec.items() if value is not None})
    check_labels(announcement.labels)
    await node_of(request).mesh.announce(announcement)
    return web.json_response({"id": announcement.id})


@routes.get("/v1/services/watch")
async def watch(request: web.Request) -> web.StreamResponse:
    store, tenant = node_of(request).store, request.query.get("tenant")

    async def documents() -> AsyncGenerator[dict[str, Any], None]:
        prefix = f"{SERVICES}{tenant}/" if tenant else SERVICES
        there = await store.range(prefix, prefix=True)
        for entry in there.kvs:
            yield {"event": "put"} | document(decode_instance(entry.value))
        async with store.watch(prefix, prefix=True, from_revision=there.revision + 1) as batches:
            async for batch in batches:
                for event in batch.events:
                    if event.kind is EventKind.PUT:
                        yield {"event": "put"} | document(decode_instance(event.kv.value))
                    else:
                        who, service, name = event.kv.key.removeprefix(SERVICES).split("/")
                        yield {"event": "gone", "tenant": who, "service": service, "id": name}

    return await stream(request, documents())


@routes.get(ONE)
async def show(request: web.Request) -> web.Response:
    tenant, service = request.match_info["tenant"], request.match_info["service"]
    found = node_of(request).mesh.instances(tenant, service)
    if not found:
        raise Fault(f"no service {service} of tenant {tenant}; see: hawser svc ls", "not-found")
    return web.json_response([document(instance) for instance in found])


@routes.delete(ONE + "/{id}")
async def withdraw(request: web.Request) -> web.Response:
    await node_of(request).mesh.withdraw(*_names(request))
    return web.json_response({})


@routes.post(ONE + "/{id}/beat")
async def beat(request: web.Request) -> web.Response:
    await node_of(request).mesh.beat(*_names(request))
    return web.json_response({})


def _names(request: web.Request) -> tuple[str, str, str]:
    return request.match_info["tenant"], request.match_info["service"], request.match_info["id"]
