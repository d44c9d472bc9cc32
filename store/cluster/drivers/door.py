"""The cluster's door: HTTPS on each machine that has the CA's key. `GET /v1/ca` for who wants to check whom it talks
to, `POST /v1/join` with a token, `POST /v1/renew` with the machine's present certificate.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from aiohttp import web

from ...errors import StoreError, Unavailable
from ..joining import Doorkeeper, JoinRequest, RenewRequest
from ..model import UNREADABLE
from .home import Home

PORT = 7379
BODY = 1 << 16
STATUS = {"usage": 400, "denied": 403, "not-found": 404, "conflict": 409, "unavailable": 503}
T = TypeVar("T", bound=msgspec.Struct)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def door(keeper: Doorkeeper, home: Home, address: str, port: int = PORT) -> AsyncIterator[None]:
    """Open for the duration of the context, with the certificate that there is now. Unavailable when the address is
    taken."""
    app = web.Application(client_max_size=BODY, middlewares=[_failures])

    async def ca(_: web.Request) -> web.Response:
        return web.Response(body=keeper.bundle, content_type="application/x-pem-file")

    async def join(request: web.Request) -> web.Response:
        return _json(await keeper.join(await _body(request, JoinRequest)))

    async def renew(request: web.Request) -> web.Response:
        return _json(keeper.renew(_shown(request), await _body(request, RenewRequest)))

    app.add_routes([web.get("/v1/ca", ca), web.post("/v1/join", join), web.post("/v1/renew", renew)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, port, ssl_context=context(home)).start()
        except OSError as error:
            raise Unavailable(f"cannot listen on {address} port {port}: {error.strerror}; is it in use?") from error
        yield
    finally:
        await runner.cleanup()


def context(home: Home) -> ssl.SSLContext:
    """A server's that takes certificates of the cluster's machines, and callers without one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(home.certificate)
    made.load_verify_locations(home.ca)
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


def _shown(request: web.Request) -> bytes | None:
    """The caller's certificate, as PEM."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    der = tls.getpeercert(binary_form=True) if tls else None
    return ssl.DER_cert_to_PEM_cert(der).encode() if der else None


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except UNREADABLE as error:
        raise web.HTTPBadRequest(text=f"bad request: {error}") from error


def _json(answer: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


@web.middleware
async def _failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StoreError as error:
        return web.Response(status=STATUS.get(error.kind, 500), text=str(error))
