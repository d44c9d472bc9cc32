"""The API's frame: who may call, how failures look, where it listens.

Callers are identified by the kernel (SO_PEERCRED, unix(7)): root, or the user the node runs as. Every foreseen error
is `{"error": {"kind", "message"}}` with the status of its kind; an unforeseen one is logged whole and shown short.
"""

import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from ..faults import HTTP, Fault, kind_of
from ..node import Node
from . import containers, images, kv, networks, services, system, units
from .common import NODE

log = logging.getLogger("hawser.api")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_LIMIT = 16 << 20


def application(node: Node) -> web.Application:
    """Every route of the node."""
    app = web.Application(middlewares=[failures, peers], client_max_size=BODY_LIMIT)
    app[NODE] = node
    for module in (system, containers, images, networks, services, units, kv):
        app.add_routes(module.routes)
    return app


@asynccontextmanager
async def listening(node: Node, path: Path) -> AsyncIterator[None]:
    """Serve the API on `path` (mode 0600) for the duration of the context."""
    _make_room(path)
    runner = web.AppRunner(application(node), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    try:
        yield
    finally:
        await runner.cleanup()
        _make_room(path)


def _make_room(path: Path) -> None:
    """No socket of an earlier node; only the holder of the run directory comes here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def peer_uid(request: web.Request) -> int | None:
    """The user at the other end of the socket, as the kernel saw it at connect."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


@web.middleware
async def peers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse every caller but root and the node's own user."""
    uid = peer_uid(request)
    if uid not in (0, os.geteuid()):
        raise Fault(f"user {uid} may not use this node; run as root", "denied")
    return await handler(request)


@web.middleware
async def failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into their JSON form."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _error("not-found", f"no such thing: {request.method} {request.path}")
    except web.HTTPRequestEntityTooLarge:
        return _error("usage", f"the request is larger than {BODY_LIMIT} bytes")
    except msgspec.ValidationError as error:
        return _error("usage", f"bad request: {error}")
    except msgspec.DecodeError as error:
        return _error("usage", f"bad request: not JSON: {error}")
    except web.HTTPException as error:
        return _error("usage", f"{request.method} {request.path}: {error.reason}")
    except Exception as error:
        kind = kind_of(error)
        if kind is None:
            log.exception("%s %s", request.method, request.path)
            return _error("failed", f"unexpected {type(error).__name__}: {error}; the node's log has the details")
        return _error(kind, str(error), getattr(error, "exit_code", None))


def _error(kind: str, message: str, code: int | None = None) -> web.Response:
    return web.json_response({"error": {"kind": kind, "message": message, "code": code}}, status=HTTP[kind])
