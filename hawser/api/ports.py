"""Limits and mirrors of the ports of this machine, changed while they are in use.

A port is named by its sandbox, which may be a container's name, and its interface. Whoever is attached by a reservation
has the reservation's limits, so that is what is changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import msgspec
from aiohttp import web

from hawser.netd.model import Direction, Port, Reservation
from hawser.netd.objects import forms
from hawser.netd.parse import encode_mirrors, encode_qos
from hawser.netd.qos.change import limited, mirrored, unmirrored

from ..faults import Fault
from ..node import Node
from .common import body, node_of

routes = web.RouteTableDef()
ONE = "/v1/ports/{sandbox}/{ifname}"


class Mirroring(msgspec.Struct, forbid_unknown_fields=True):
    """From where (`sandbox`, `ifname`) to where, both directions unless one is named."""

    sandbox: str
    ifname: str
    to_sandbox: str
    to_ifname: str
    direction: Literal["ingress", "egress", "both"] = "both"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """One or both."""
        return tuple(Direction) if self.direction == "both" else (Direction(self.direction),)


def sandbox_of(node: Node, name: str) -> str:
    """A sandbox by its id, or a container by its name or the beginning of its id. Fault (not-found, conflict)."""
    if any(port.sandbox == name for port in node.net.fabric.at(node.machine).values()):
        return name
    return node.containers.find(name).id


def port_of(node: Node, sandbox: str, ifname: str) -> Port:
    """A port of this machine. Fault (not-found)."""
    found = node.net.fabric.ports.get(f"{node.machine}/{sandbox_of(node, sandbox)}:{ifname}")
    if found is None or found.leaving:
        raise Fault(f"{sandbox} has no interface {ifname}; see: hawser net show", "not-found")
    return found


def document(port: Port) -> Mapping[str, Any]:
    """A port with its limits and mirrors."""
    return {
        "sandbox": port.sandbox,
        "ifname": port.ifname,
        "tenant": port.tenant,
        "network": port.network,
        "addresses": [str(address) for address in port.addresses],
        "reserved": port.reserved,
        "limits": encode_qos(port.qos),
        "mirrors": encode_mirrors(port.mirrors),
    }


@routes.get("/v1/ports")
async def listing(request: web.Request) -> web.Response:
    node = node_of(request)
    found = sorted(node.net.fabric.at(node.machine).values(), key=lambda port: port.id)
    return web.json_response([document(port) for port in found if not port.leaving])


@routes.get(ONE)
async def show(request: web.Request) -> web.Response:
    info = request.match_info
    return web.json_response(document(port_of(node_of(request), info["sandbox"], info["ifname"])))


@routes.put(ONE + "/limits")
async def limit(request: web.Request) -> web.Response:
    """Change the limits that are named (null: none), keep the others; with `replace` those that are not named go."""
    node, info = node_of(request), request.match_info
    port, wanted = port_of(node, info["sandbox"], info["ifname"]), await body(request, dict[str, Any])
    before = {} if request.query.get("replace") == "1" else encode_qos(port.qos)
    named = {name: value for name, value in (before | wanted).items() if value is not None}
    qos = forms.whole_form(forms.QOS, f"limits of {port.id}", named)
    if port.reserved is None:
        return web.json_response(
            document(await node.net.change_port(port.sandbox, port.ifname, lambda there: limited(there, qos)))
        )
    reservation = await node.net.objects.get("port", port.reserved)
    assert isinstance(reservation, Reservation)
    await node.net.objects.put(replace(reservation, qos=qos))
    await node.net.reconcile()
    return web.json_response(document(port_of(node, port.sandbox, port.ifname)))


@routes.get("/v1/mirrors")
async def mirrors(request: web.Request) -> web.Response:
    node = node_of(request)
    ports = sorted(node.net.fabric.at(node.machine).values(), key=lambda port: port.id)
    there, names = {port.id for port in ports if not port.leaving}, node.verbs.names()

    def named(port: str) -> str:
        sandbox, _, ifname = port.partition(":")
        return f"{names.get(sandbox, sandbox)}:{ifname}"

    return web.json_response(
        [
            {
                "tenant": port.tenant,
                "from": port.id,
                "from_name": named(port.id),
                "to": mirror.to,
                "to_name": named(mirror.to),
                "direction": str(mirror.direction),
                "active": mirror.to in there,
            }
            for port in ports
            for mirror in port.mirrors
        ]
    )


@routes.post("/v1/mirrors")
async def mirror(request: web.Request) -> web.Response:
    node, wanted = node_of(request), await body(request, Mirroring)
    port = port_of(node, wanted.sandbox, wanted.ifname)
    to = port_of(node, wanted.to_sandbox, wanted.to_ifname).id
    changed = await node.net.change_port(
        port.sandbox, port.ifname, lambda there: mirrored(node.net.fabric, there, to, wanted.directions)
    )
    return web.json_response(document(changed))


@routes.post("/v1/mirrors/remove")
async def unmirror(request: web.Request) -> web.Response:
    """Remove a mirror; the port that it leads to need not be there."""
    node, wanted = node_of(request), await body(request, Mirroring)
    port = port_of(node, wanted.sandbox, wanted.ifname)
    to = f"{_once(node, wanted.to_sandbox)}:{wanted.to_ifname}"
    changed = await node.net.change_port(
        port.sandbox, port.ifname, lambda there: unmirrored(there, to, wanted.directions)
    )
    return web.json_response(document(changed))


def _once(node: Node, sandbox: str) -> str:
    try:
        return sandbox_of(node, sandbox)
    except Fault:
        return sandbox
