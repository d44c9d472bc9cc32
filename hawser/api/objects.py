"""The declared objects of tenants' networks: one by one, and all of a file's at once."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import msgspec
from aiohttp import web

from hawser.netd.errors import Invalid
from hawser.netd.model import Direction, Network, Reservation, Rule, Tenant
from hawser.netd.objects import allow, checks, document, forms, kinds, policies
from hawser.netd.objects.apply import Done, apply
from hawser.netd.objects.catalogue import Objects
from hawser.netd.objects.kinds import KINDS, Object, key_of, kind_of
from hawser.netd.objects.schema import schema
from hawser.netd.parse import check_label
from hawser.netd.policy.explain import explain

from ..faults import Fault
from ..node import Node
from ..workloads.model import NAME_LABEL
from .common import body, node_of, number

routes = web.RouteTableDef()
PLACES = {
    "routers": "router",
    "policies": "policy",
    "reservations": "port",
    "floating": "floating",
    "tenants": "tenant",
}
SET = "/v1/{place:routers|policies|reservations|floating|tenants}"
OWNED = "/v1/{place:routers|policies|reservations}/{tenant}/{name}"
ALONE = "/v1/{place:floating|tenants}/{name}"


class Apply(msgspec.Struct, forbid_unknown_fields=True):
    """What to apply: one `text` of YAML or JSON, texts of `files` by name, or `documents`; `set` None applies for no
    set; `only` these kinds."""

    text: str | None = None
    files: dict[str, str] | None = None
    documents: list[Any] | None = None
    dry_run: bool = False
    prune: bool = False
    set: str | None = document.DEFAULT_SET
    only: list[str] | None = None


class Allow(msgspec.Struct, forbid_unknown_fields=True):
    """Who may speak to whom, each as `network=NAME`, `label=KEY=VALUE` or `cidr=SUBNET`."""

    to: str
    tenant: str = forms.DEFAULT_TENANT
    sources: list[str] = []
    proto: str | None = None
    ports: list[str | int] = []
    name: str | None = None


def _objects(request: web.Request) -> Objects:
    return node_of(request).net.objects


def _where(request: web.Request) -> tuple[str, str]:
    """The kind's word and the object's key."""
    info = request.match_info
    word, key = PLACES[info["place"]], info["name"]
    if "tenant" in info:
        return word, f"{info['tenant']}/{key}"
    if word == "floating":
        try:
            key = str(ip_address(key))
        except ValueError:
            raise Invalid(f"{key!r} is no address") from None
    return word, key


def _encoded(thing: Object, bound: Mapping[str, str] | None = None) -> dict[str, Any]:
    plain = kind_of(thing).encode(thing)
    return plain if bound is None else plain | {"used_by": bound.get(key_of(thing))}


@routes.get("/v1/tenants")
async def tenants(request: web.Request) -> web.Response:
    """Those with a record, and those that have networks."""
    world = await _objects(request).world()
    things = world.things.values()
    networks = [thing.tenant for thing in things if isinstance(thing, Network)]
    found = {name: Tenant(name=name) for name in networks}
    found |= {thing.name: thing for thing in things if isinstance(thing, Tenant)}
    return web.json_response([_encoded(found[name]) | {"networks": networks.count(name)} for name in sorted(found)])


@routes.get("/v1/tenants/{name}")
async def tenant(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    world = await _objects(request).world()
    record, has = world.things.get(f"tenant:{name}"), checks.belongings(name, world)
    if record is None and not has:
        raise Fault(f"tenant {name} does not exist", "not-found")
    return web.json_response(_encoded(record or Tenant(name=name)) | {"has": list(has)})


@routes.get("/v1/policies/explain")
async def explanation(request: web.Request) -> web.Response:
    query = request.query
    for name in ("src", "dst"):
        if name not in query:
            raise Fault(f"{name} is missing", "usage")
    node = node_of(request)
    lines = explain(
        node.net.fabric,
        _end(node, query["src"], query.get("tenant")),
        _end(node, query["dst"], query.get("tenant")),
        query.get("proto", "tcp"),
        number(request, "port"),
        number(request, "icmp_type"),
        tenant=query.get("tenant"),
    )
    return web.json_response({"allowed": lines[-1].startswith("ALLOWED"), "lines": lines})


def _end(node: Node, name: str, tenant: str | None) -> str:
    """A container's name as its sandbox's id, another machine's as its port's key; what else there is as it is."""
    named = [entry["id"] for entry in node.verbs.listing(every=True) if entry.get("name") == name]
    if not named:
        ports = [port for port in node.net.fabric.ports.values() if tenant in (None, port.tenant)]
        named = [port.key for port in ports if port.labels.get(NAME_LABEL) == name and not port.leaving]
    return str(named[0]) if len(named) == 1 else name


@routes.post("/v1/policies/allow")
async def allowing(request: web.Request) -> web.Response:
    wanted = await body(request, Allow)
    objects = _objects(request)
    plain = {name: value for name, value in (("proto", wanted.proto), ("ports", wanted.ports)) if value}
    rule: Rule = forms.whole_form(policies.RULE, "policy", {"direction": str(Direction.INGRESS), **plain})
    made = allow.policies(
        await objects.world(),
        check_label(wanted.tenant, "tenant"),
        allow.parse_peer(wanted.to),
        [allow.parse_peer(source) for source in wanted.sources],
        rule,
        wanted.name or allow.name_of(wanted.to, wanted.sources, wanted.proto, list(map(str, wanted.ports))),
    )
    return web.json_response([_encoded(await objects.put(policy)) for policy in made])


@routes.get(SET)
async def listing(request: web.Request) -> web.Response:
    objects, word = _objects(request), PLACES[request.match_info["place"]]
    bound = await objects.bound() if word == "port" else None
    return web.json_response([_encoded(thing, bound) for thing in await objects.listing(word)])


@routes.post(SET)
async def create(request: web.Request) -> web.Response:
    """Make an object that must be new."""
    return await _put(request, PLACES[request.match_info["place"]], new=True)


@routes.put(SET)
async def replace(request: web.Request) -> web.Response:
    """Write an object that may be there."""
    return await _put(request, PLACES[request.match_info["place"]], new=False)


async def _put(request: web.Request, word: str, *, new: bool) -> web.Response:
    plain = await body(request, dict[str, Any])
    thing: Object = forms.whole_form(KINDS[word].form, word, plain)
    return web.json_response(_encoded(await _objects(request).put(thing, new=new)))


@routes.get(OWNED)
@routes.get(ALONE)
async def show(request: web.Request) -> web.Response:
    objects, (word, key) = _objects(request), _where(request)
    thing = await objects.get(word, key)
    return web.json_response(_encoded(thing, await objects.bound() if isinstance(thing, Reservation) else None))


@routes.delete(OWNED)
@routes.delete(ALONE)
async def remove(request: web.Request) -> web.Response:
    await _objects(request).remove(*_where(request))
    return web.json_response({})


@routes.get("/v1/schema")
async def published(request: web.Request) -> web.Response:
    return web.json_response(schema())


@routes.post("/v1/apply")
async def applying(request: web.Request) -> web.Response:
    asked = await body(request, Apply)
    if [asked.text, asked.files, asked.documents].count(None) != 2:
        raise Fault("give one of text, files and documents", "usage")
    owner = asked.set if asked.set is None else check_label(asked.set, "set")
    if asked.prune and owner is None:
        raise Fault("prune needs the name of a set", "usage")
    if asked.documents is not None:
        wanted = document.parse_plain(asked.documents)
    else:
        # pure, and slow with long texts
        wanted = await asyncio.to_thread(document.parse_files, asked.files or {"": asked.text or ""})
    for each in wanted:
        word = kinds.kind_of(each.thing).word
        if asked.only is not None and word not in asked.only:
            raise Fault(f"{each.where}: {word} is not among {', '.join(asked.only)}; use hawser apply", "usage")
    node = node_of(request)
    done = await apply(node.net.objects, node.net, wanted, owner=owner, prune=asked.prune, dry_run=asked.dry_run)
    return web.json_response({"steps": [_step(each) for each in done], "objects": len(wanted)})


def _step(done: Done) -> dict[str, Any]:
    word, _, key = done.step.key.partition(":")
    plain: dict[str, Any] = {"verb": str(done.step.verb), "kind": word, "key": key, "reason": done.step.reason}
    if done.error is not None:
        plain |= {"error": {"kind": done.error.kind, "message": str(done.error)}}
    return plain
