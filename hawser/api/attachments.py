"""Interfaces of others' namespaces on tenants' networks: what the CNI plugin and `hawser net attach` ask for.

A namespace is adopted with its first attachment and let go with its last; one sandbox at a time, so that neither falls
between the other's steps. Who asked is the `owner`; `context` (texts by name) is kept among the port's labels under a
prefix of the node's own. Containers of the node are listed, but not touched here.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

from hawser.netd.agent import NetAgent
from hawser.netd.errors import NetError
from hawser.netd.model import LINK, OWN_LABELS
from hawser.netd.objects.words import parse_rate
from hawser.netd.parse import encode_qos, parse_publish, parse_qos
from hawser.netd.ports import Attachment

from ..faults import Fault
from ..guests import OWNER, turn
from ..node import Node
from ..workloads.containers import DOMAIN
from ..workloads.model import NAME_LABEL, check_labels, named
from ..workloads.view import resolv_conf
from . import placing
from .common import body, node_of, peer
from .placing import TO_OUTSIDE

routes = web.RouteTableDef()
CONTEXT = f"{OWN_LABELS}context."
CONTAINER = "container"
POD = "io.kubernetes.pod.name"


class Wanted(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One interface `ifname` (else the next free `ethN`) for the namespace at `netns`, or that process `pid` is in (0:
    the caller), known as `sandbox` (made up for owner `attach`); or a `link` of the host becomes the port. `publish`
    like `[HOST:]PORT:PORT[/PROTO]`, `qos` with `ingress` and `egress` in bit/s and `dscp`."""

    sandbox: str = ""
    owner: Literal["cni", "attach"]
    netns: str | None = None
    pid: int | None = None
    link: str | None = None
    ifname: str | None = None
    tenant: str = "default"
    network: str = ""
    addresses: list[str] = []
    publish: list[str] = []
    labels: dict[str, str] = {}
    mac: str | None = None
    qos: dict[str, int | str | None] = {}
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
    publish = [parse_publish(text) for text in wanted.publish]
    qos = parse_qos({name: limit(value) for name, value in wanted.qos.items()})
    if wanted.owner == OWNER:
        await node.guests.collect()  # or what a caller has just left could stand in his own way
    place = await placing.find(node, wanted, peer(request))
    labels = labels_of(wanted, place.sandbox)
    if wanted.owner == OWNER and not wanted.reserved:
        await node.containers.ensure_network(wanted.tenant, wanted.network)
    async with turn(place.sandbox):
        ifname = await placing.make_ready(node, wanted, place)
        try:
            made = await node.net.attach(
                place.sandbox,
                tenant=wanted.tenant,
                network=wanted.network,
                ifname=ifname,
                addresses=wanted.addresses,
                publish=publish,
                labels=labels,
                mac=wanted.mac,
                qos=qos,
                reserved=wanted.reserved,
            )
        except BaseException:
            await _let_go(node.net, place.sandbox)
            raise
    node.guests.wake()
    node.names.refresh()
    return web.json_response({**document(node.net, made), "resolv_conf": resolv_conf(made, DOMAIN)})


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


async def _detach(node: Node, sandbox: str, ifname: str) -> None:
    """Take it away; what is on its way out is gone for whoever asks: the node's rounds see to the rest. Of a link of
    the host's it is told that it is not back yet."""
    try:
        await node.net.detach(sandbox, ifname)
    except NetError:
        there = any(one.ifname == ifname for one in node.net.attachments(sandbox))
        if there or node.net.source(sandbox).startswith(LINK):
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


def labels_of(wanted: Wanted, sandbox: str) -> dict[str, str]:
    """The port's labels, its context and what names it among them. Fault (usage)."""
    check_labels(wanted.labels)
    name = sandbox if wanted.owner == OWNER else wanted.labels.get(POD, "")
    return wanted.labels | named(name) | {f"{CONTEXT}{key}": text for key, text in wanted.context.items()}


def limit(value: int | str | None) -> int | None:
    """A rate in bit/s, also written like `10mbit`. Fault (usage)."""
    try:
        return parse_rate(value) if isinstance(value, str) else value
    except ValueError as error:
        raise Fault(f"rate {value!r}: {error}", "usage") from None


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
        "name": attachment.labels.get(NAME_LABEL, ""),
        "owner": net.owners().get(attachment.sandbox, CONTAINER),
        "source": net.source(attachment.sandbox),
        "ifname": attachment.ifname,
        "tenant": attachment.tenant,
        "network": attachment.network,
        "addresses": [str(address) for address in attachment.addresses],
        "gateways": gateways,
        "routes": gateways if attachment.ifname == TO_OUTSIDE else [],
        "mac": attachment.mac,
        "mtu": attachment.mtu,
        "publish": [str(publish) for publish in attachment.publish],
        "labels": {name: text for name, text in attachment.labels.items() if not name.startswith(OWN_LABELS)},
        "qos": encode_qos(attachment.qos),
        "context": context_of(attachment),
        "trouble": trouble.get(_key(attachment), ""),
    }


def _key(attachment: Attachment) -> str:
    return f"port:{attachment.sandbox}:{attachment.ifname}"
