"""The API's frame: who may call, how failures look, where it listens.

Callers are identified by the kernel (SO_PEERCRED, unix(7)): root, or the user the node runs as. Every foreseen error
is `{"error": {"kind", "message"}}` with the status of its kind; an unforeseen one is logged whole and shown short.

A caller that goes away ends what only it was waiting for (listings, watches, `exec`, `wait`); what changes something is
brought to its end all the same, in a task of the API's own group.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from ..faults import HTTP, Fault, kind_of
from ..node import Node
from . import (
    attachments,
    containers,
    images,
    machines,
    networks,
    objects,
    ports,
    services,
    system,
    units,
    visibility,
)
from .common import NODE, peer

log = logging.getLogger("hawser.api")
WAITING = (containers.attached, containers.wait, containers.execute)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EAGAIN)
BODY_LIMIT = 16 << 20
LONGEST_PATH = 107
GRACE = 1.0


class Changes:
    """Requests under way that change something: tasks that outlive their callers, but not the API."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[web.StreamResponse]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Accept requests for the duration of the context; its end cancels what does not end within GRACE seconds."""
        async with asyncio.TaskGroup() as self._group:
            yield
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE)
            for task in self._tasks:
                task.cancel()

    async def complete(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request to its end, even when the caller does not wait for it."""
        assert self._group is not None
        task = self._group.create_task(_handle(request, handler), name=f"{request.method} {request.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


CHANGES = web.AppKey("changes", Changes)


async def _handle(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


def application(node: Node) -> web.Application:
    """Every route of the node."""
    app = web.Application(middlewares=[completion, failures, peers], client_max_size=BODY_LIMIT)
    app[NODE] = node
    app[CHANGES] = Changes()
    for module in (
        attachments,
        system,
        containers,
        images,
        networks,
        objects,
        services,
        units,
        machines,
        ports,
        visibility,
    ):
        app.add_routes(module.routes)
    return app


@asynccontextmanager
async def listening(node: Node, path: Path) -> AsyncIterator[None]:
    """Serve the API on `path` (mode 0600) for the duration of the context."""
    check_path(path)
    _make_room(path)
    app = application(node)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    async with app[CHANGES].open():
        try:
            before = os.umask(0o177)
            try:
                await web.UnixSite(runner, str(path)).start()
            except OSError as error:
                raise Fault(f"API socket {path}: {error.strerror or error}; choose another with --run") from error
            finally:
                os.umask(before)
            yield
        finally:
            await runner.cleanup()
            _remove(path)


def check_path(path: Path) -> None:
    """Fault when no socket can be made at a path: too long (unix(7)), or a file of another kind is there."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise Fault(f"API socket {path}: a path of at most {LONGEST_PATH} bytes; choose another with --run", "usage")
    if path.exists() and not path.is_socket():
        raise Fault(f"API socket {path}: a file is there that is no socket; choose another place", "conflict")


def _make_room(path: Path) -> None:
    """Remove the socket of a node that is no more; Fault when one answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise Fault(f"API socket {path}: another node answers there; stop it or choose another place", "conflict")
    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


@web.middleware
async def completion(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request that changes something outlive its caller."""
    if request.method == "GET" or request.match_info.handler in WAITING:
        return await handler(request)
    return await request.app[CHANGES].complete(request, handler)


@web.middleware
async def peers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse every caller but root and the node's own user."""
    caller = peer(request)
    uid = caller[1] if caller else None
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
    except (web.RequestPayloadError, ConnectionError) as error:
        # as a rule nobody reads this: the caller went away before its request was whole
        return _error("usage", f"bad request: its body cannot be read: {error}")
    except web.HTTPException as error:
        return _error("usage", f"{request.method} {request.path}: {error.reason}")
    except Exception as error:
        kind = kind_of(error)
        if kind is None and isinstance(error, OSError) and error.errno in SCARCE:
            return _error("unavailable", f"{error.strerror}; remove what is not needed, or raise the limit")
        if kind is None:
            log.exception("%s %s", request.method, request.path)
            return _error("failed", f"unexpected {type(error).__name__}: {error}; the node's log has the details")
        return _error(kind, str(error), getattr(error, "exit_code", None))


def _error(kind: str, message: str, code: int | None = None) -> web.Response:
    return web.json_response({"error": {"kind": kind, "message": message, "code": code}}, status=HTTP[kind])
