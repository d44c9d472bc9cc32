"""Interfaces of others' namespaces on tenants' networks: what the CNI plugin and `hawser net attach` ask for.

A namespace is adopted with its first attachment and let go with its last; one sandbox at a time, so that neither falls
between the other's steps. Who asked is the `owner`; `context` (texts by name) is kept among the port's labels under a
prefix of the node's own. Containers of the node are listed, but not touched here.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import msgspec
from aiohttp import web

from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netns
from hawser.netd.errors import NetError
from hawser.netd.parse import check_ifname, parse_path, parse_publish, parse_qos
from hawser.netd.ports import Attachment

from ..faults import Fault
from ..node import Node
from ..workloads.model import OWN_LABELS
from .common import body, node_of

routes = web.RouteTableDef()
CONTEXT = f"{OWN_LABELS}context."
CONTAINER = "container"
TO_OUTSIDE = "eth0"  # the interface that gets the default routes (netd.compile)
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class Wanted(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One interface `ifname` for the namespace at `netns`, known as `sandbox`; `publish` like
    `[HOST:]PORT:PORT[/PROTO]`, `qos` with `ingress` and `egress` in bit/s and `dscp`."""

    sandbox: str
    owner: Literal["cni", "attach"]
    netns: str
    ifname: str = TO_OUTSIDE
    tenant: str = "default"
    network: str
    addresses: list[str] = []
    publish: list[str] = []
    labels: dict[str, str] = {}
    mac: str | None = None
    qos: dict[str, int | None] = {}
    reserved: str | None = None
    context: dict[str, str] = {}


class Kept(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An attachment that stays."""

    sandbox: str
    ifname: str


class Collect(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an owner still has on a network of his (`context.network`)."""

    owner: Literal["cni", "attach"]
    network: str
    keep: list[Kept]


@routes.get("/v1/attachments")
async def listing(request: web.Request) -> web.Response:
    net, owner = node_of(request).net, request.query.get("owner")
    owners = net.owners()
    found = net.attachments(request.query.get("sandbox"))
    mine = [one for one in found if owner in (None, owners.get(one.sandbox, CONTAINER))]
    return web.json_response([document(net, one) for one in mine])


@routes.post("/v1/attachments")
async def attach(request: web.Request) -> web.Response:
    node, wanted = node_of(request), await body(request, Wanted)
    labels = labels_of(wanted)
    publish = [parse_publish(text) for text in wanted.publish]
    qos = parse_qos(wanted.qos)
    async with turn(wanted.sandbox):
        await _make_ready(node, wanted)
        try:
            await _check_free(node.net, wanted)
            made = await node.net.attach(
                wanted.sandbox,
                tenant=wanted.tenant,
                network=wanted.network,
                ifname=wanted.ifname,
                addresses=wanted.addresses,
                publish=publish,
                labels=labels,
                mac=wanted.mac,
                qos=qos,
                reserved=wanted.reserved,
            )
        except BaseException:
            await _let_go(node.net, wanted.sandbox)
            raise
    node.names.refresh()
    return web.json_response(document(node.net, made))


@routes.get("/v1/attachments/ready")
async def ready(request: web.Request) -> web.Response:
    """Whether a network could be attached to, and what of it fails on this machine."""
    net = node_of(request).net
    network = await net.network(request.query.get("tenant", "default"), request.query.get("network", ""))
    there = [one for one in net.attachments(None) if (one.tenant, one.network) == (network.tenant, network.name)]
    keys = {f"network:{network.key}", f"tenant:{network.tenant}", *(_key(one) for one in there)}
    failures = [f"{status.key}: {status.reason}" for status in net.statuses() if status.key in keys]
    return web.json_response({"failures": failures})


@routes.delete("/v1/attachments/{sandbox}/{ifname}")
async def detach(request: web.Request) -> web.Response:
    """Take an interface away; with `owner` and `network` only if it is theirs."""
    node, sandbox, ifname = node_of(request), request.match_info["sandbox"], request.match_info["ifname"]
    async with turn(sandbox):
        owner, network = node.net.owners().get(sandbox), request.query.get("network")
        found = [one for one in node.net.attachments(sandbox) if one.ifname == ifname]
        mine = owner is not None and request.query.get("owner", owner) == owner
        if not mine or not found or network not in (None, context_of(found[0]).get("network")):
            if mine:
                await _let_go(node.net, sandbox)
            raise Fault(f"{sandbox} has no interface {ifname} of this kind; see: hawser net show", "not-found")
        await _detach(node, sandbox, ifname)
    return web.json_response({})


@routes.post("/v1/attachments/gc")
async def collect(request: web.Request) -> web.Response:
    """Remove an owner's attachments on a network of his, but for those that stay; one failure keeps the others not."""
    node, wanted = node_of(request), await body(request, Collect)
    keep = {(one.sandbox, one.ifname) for one in wanted.keep}
    removed, failures = [], []
    for sandbox in _of(node.net, wanted.owner):
        async with turn(sandbox):
            for one in node.net.attachments(sandbox):
                if context_of(one).get("network") != wanted.network or (sandbox, one.ifname) in keep:
                    continue
                try:
                    await _detach(node, sandbox, one.ifname)
                    removed.append({"sandbox": sandbox, "ifname": one.ifname})
                except NetError as error:
                    failures.append(f"{sandbox} {one.ifname}: {error}")
            await _let_go(node.net, sandbox)
    return web.json_response({"removed": removed, "failures": failures})


@asynccontextmanager
async def turn(sandbox: str) -> AsyncIterator[None]:
    """One caller at a time for a sandbox, in the order they come."""
    lock = _turns.setdefault(sandbox, asyncio.Lock())
    async with lock:
        yield


async def _make_ready(node: Node, wanted: Wanted) -> None:
    """Adopt the namespace. One that was adopted under this id and is another by now has gone without a word: it and
    its attachments are let go."""
    net, owner = node.net, node.net.owners().get(wanted.sandbox)
    if wanted.sandbox in net.sandboxes() or owner not in (None, wanted.owner):
        raise Fault(f"sandbox {wanted.sandbox} is not {wanted.owner}'s; choose another id", "conflict")
    check_ifname(wanted.ifname)
    source = Path(parse_path(wanted.netns))
    kept = node.config.run / "netns" / wanted.sandbox
    if owner is not None and not await asyncio.to_thread(same, kept, source):
        await net.remove_sandbox(wanted.sandbox)
    await net.adopt_sandbox(wanted.sandbox, wanted.netns, wanted.owner)


def same(one: Path, other: Path) -> bool:
    """Whether two paths keep the same namespace; a path that cannot be looked at keeps none."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


async def _check_free(net: NetAgent, wanted: Wanted) -> None:
    """Conflict when the namespace has such an interface, whoever made it."""
    names = await asyncio.to_thread(netns.inside, Path(wanted.netns), socket.if_nameindex)
    if wanted.ifname in {name for _, name in names}:
        raise Fault(f"{wanted.netns} has an interface {wanted.ifname}; remove it, or choose another name", "conflict")


async def _detach(node: Node, sandbox: str, ifname: str) -> None:
    """Take it away; what is on its way out is gone for whoever asks: the node's rounds see to the rest."""
    try:
        await node.net.detach(sandbox, ifname)
    except NetError:
        if any(one.ifname == ifname for one in node.net.attachments(sandbox)):
            raise
    await _let_go(node.net, sandbox)
    node.names.refresh()


async def _let_go(net: NetAgent, sandbox: str) -> None:
    """Forget a namespace that is attached to nothing any more."""
    if sandbox in net.owners() and not net.attachments(sandbox):
        try:
            await net.remove_sandbox(sandbox)
        except NetError:
            if sandbox in net.owners():
                raise


def _of(net: NetAgent, owner: str) -> list[str]:
    return sorted(sandbox for sandbox, whose in net.owners().items() if whose == owner)


def labels_of(wanted: Wanted) -> dict[str, str]:
    """The port's labels, its context among them. Fault (usage)."""
    for name in wanted.labels:
        if name.startswith(OWN_LABELS):
            message = f"label {name!r}: names that begin with {OWN_LABELS} are hawser's own; choose another"
            raise Fault(message, "usage")
    return wanted.labels | {f"{CONTEXT}{name}": text for name, text in wanted.context.items()}


def context_of(attachment: Attachment) -> dict[str, str]:
    """What its owner noted with an attachment."""
    found = attachment.labels.items()
    return {name.removeprefix(CONTEXT): text for name, text in found if name.startswith(CONTEXT)}


def document(net: NetAgent, attachment: Attachment) -> Mapping[str, Any]:
    """An attachment as the API shows it; `routes` are the gateways of its default routes, `trouble` why it fails."""
    trouble = {status.key: status.reason for status in net.statuses()}
    gateways = [str(gateway) for gateway in attachment.gateways]
    return {
        "sandbox": attachment.sandbox,
        "owner": net.owners().get(attachment.sandbox, CONTAINER),
        "ifname": attachment.ifname,
        "tenant": attachment.tenant,
        "network": attachment.network,
        "addresses": [str(address) for address in attachment.addresses],
        "gateways": gateways,
        "routes": gateways if attachment.ifname == TO_OUTSIDE else [],
        "mac": attachment.mac,
        "mtu": attachment.mtu,
        "publish": [str(publish) for publish in attachment.publish],
        "labels": {name: text for name, text in attachment.labels.items() if not name.startswith(CONTEXT)},
        "context": context_of(attachment),
        "trouble": trouble.get(_key(attachment), ""),
    }


def _key(attachment: Attachment) -> str:
    return f"port:{attachment.sandbox}:{attachment.ifname}"
