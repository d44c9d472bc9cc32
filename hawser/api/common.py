"""What the routes share: the node behind them, decoding of bodies, streamed answers."""

import json
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import msgspec
from aiohttp import web

from ..client import END
from ..faults import Fault, kind_of
from ..node import Node

NODE = web.AppKey("node", Node)
T = TypeVar("T")


def node_of(request: web.Request) -> Node:
    """The node that serves this request."""
    return request.app[NODE]


def peer(request: web.Request) -> tuple[int, int] | None:
    """Process and user at the other end of the socket, as the kernel saw them at connect (SO_PEERCRED, unix(7))."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid), int(uid)


async def body(request: web.Request, kind: type[T]) -> T:
    """The request's body as `kind`, strictly: unknown fields are refused."""
    text = await request.read() or b"{}"
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise Fault("bad request: its JSON is nested too deeply", "usage") from None


def flag(request: web.Request, name: str) -> bool:
    """A query parameter that is 1 or 0."""
    return request.query.get(name, "0") not in ("0", "", "false")


def number(request: web.Request, name: str) -> int | None:
    """A query parameter that is a whole number, if given."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise Fault(f"{name}={text}: not a number", "usage") from None


async def stream(request: web.Request, documents: AsyncGenerator[object, None]) -> web.StreamResponse:
    """One JSON document a line, sent as it comes; the last line is END, or a failure on the way."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        async with aclosing(documents):
            async for document in documents:
                await response.write(json.dumps(document).encode() + b"\n")
    except ConnectionError:
        return response
    except Exception as error:
        kind = kind_of(error)
        if kind is None:
            raise
        fault = {"kind": kind, "message": str(error), "code": getattr(error, "exit_code", None)}
        await response.write(json.dumps({"error": fault}).encode() + b"\n")
    else:
        await response.write(json.dumps(END).encode() + b"\n")
    await response.write_eof()
    return response
