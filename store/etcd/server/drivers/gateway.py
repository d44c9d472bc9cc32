"""The same calls as JSON over HTTP/1, as etcd's gRPC gateway has them: POST to each call's path, bytes in base64,
64-bit numbers as strings, what is zero left out; a stream of responses is a line each, `{"result": …}`, and so may
several requests follow each other in a body. Beside them `/health`, `/version`, and older paths that
clients still use. (etcd's documentation, gateway.)

The limits are the server's: a body that is not a stream of requests must come in time, and who reads nothing is let go.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

from aiohttp import web
from google.protobuf.message import Message

from ....errors import StoreError
from ... import etcd_pb2 as pb
from ...errors import Code, EtcdError
from ...services import ALARM, HASH, LEASE_LEASES, LEASE_REVOKE, LEASE_TIME_TO_LIVE
from ..calls import NOBODY, AnyCall, Handlers, ManyToMany, OneToMany, Unary
from ..limits import Limits
from ..maintenance import VERSION
from .crowd import Crowd
from .http1 import Http1
from .plain import STATUS, caller, dumps, failure, messages, text_of

_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-Content-Type": "application/grpc"}
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Gateway:
    """Makes what answers HTTP/1 on a connection (`protocol`), between `open` and `close`."""

    def __init__(self, handlers: Handlers, crowd: Crowd) -> None:
        self._crowd, limits = crowd, crowd.limits
        self._routes: dict[str, Answer] = {"/health": self._health, "/version": self._version}
        self._alarm = handlers.unary[ALARM]
        for call, unary in handlers.unary.items():
            if call is not HASH:  # which shares its path with HashKV
                self._routes[call.gateway] = _one(call, unary, limits)
        for call, one in handlers.one_to_many.items():
            self._routes[call.gateway] = _many(call, one, limits)
        for call, many in handlers.many_to_many.items():
            self._routes[call.gateway] = _many(call, many, limits)
        for call in (LEASE_REVOKE, LEASE_TIME_TO_LIVE, LEASE_LEASES):
            self._routes[f"/v3/kv/lease/{call.gateway.rpartition('/')[2]}"] = self._routes[call.gateway]
        self._server = web.Server(self._answer, handler_cancellation=True)

    def protocol(self) -> asyncio.Protocol:
        return Http1(self._server, self._crowd)

    async def close(self, grace: float) -> None:
        """Streams end after `grace` seconds."""
        await self._server.shutdown(grace)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        client = cast(Http1, request.protocol)
        client.begin()
        try:
            answer = self._routes.get(request.path)
            if answer is None:
                return web.Response(status=404, text="Not Found\n")
            if (request.method == "POST") != request.path.startswith("/v3"):
                return web.Response(status=405, text="Method Not Allowed\n")
            return await answer(request)
        finally:
            client.busy = False

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        """Of an unhealthy server the status is 503; its alarm makes it so."""
        try:
            alarms = cast(pb.AlarmResponse, await self._alarm(pb.AlarmRequest(), NOBODY))
            healthy = not alarms.alarms
        except (StoreError, EtcdError) as error:
            healthy = isinstance(error, EtcdError) and error.code is Code.UNKNOWN  # who asks is not known: it answers
        text = dumps({"health": "true" if healthy else "false"})
        return web.Response(status=200 if healthy else 503, text=text)

    async def _version(self, request: web.BaseRequest) -> web.StreamResponse:
        cluster = VERSION.rpartition(".")[0] + ".0"
        return web.json_response({"etcdserver": VERSION, "etcdcluster": cluster}, dumps=dumps)


def _one(call: AnyCall, handler: Unary, limits: Limits) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await handler(await _only(call, request, limits), caller(request))
            return web.Response(text=await text_of(response), headers=_HEADERS)
        except Exception as error:
            failed = failure(error, request.path)
            body = {"error": failed.text, "message": failed.text, "code": int(failed.code)}
            return web.json_response(body, status=STATUS.get(failed.code, 500), dumps=dumps)

    return answer


def _many(call: AnyCall, handler: OneToMany | ManyToMany, limits: Limits) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        stream = web.StreamResponse(headers=_HEADERS)
        stream.enable_chunked_encoding()

        async def line(text: str) -> None:
            async with asyncio.timeout(limits.stalled):
                if not stream.prepared:
                    await stream.prepare(request)
                await stream.write(text.encode() + b"\n")

        async def send(response: Message | bytes) -> None:
            message = call.response.FromString(response) if isinstance(response, bytes) else response
            await line(await text_of(message, '{"result":%s}'))

        handle: Any = handler
        try:
            asked: AsyncIterator[Message] | Message
            if call.streams_in:
                asked = messages(call, request, cast(Http1, request.protocol).hold)
            else:
                asked = await _only(call, request, limits)
            await handle(asked, caller(request), send)
        except TimeoutError:
            cast(Http1, request.protocol).abort()
            return stream
        except Exception as error:
            failed = failure(error, request.path)
            status = STATUS.get(failed.code, 500)
            said = {"grpc_code": int(failed.code), "http_code": status, "message": failed.text}
            await line(dumps({"error": said}))
        if not stream.prepared:
            await stream.prepare(request)
        await stream.write_eof()
        return stream

    return answer


async def _only(call: AnyCall, request: web.BaseRequest, limits: Limits) -> Message:
    """The one message of a body, an empty one where there is none. EtcdError."""
    hold = cast(Http1, request.protocol).hold
    found: Message | None = None
    try:
        async with asyncio.timeout(limits.frame), aclosing(messages(call, request, hold)) as asked:
            async for each in asked:
                if found is not None:
                    raise EtcdError(Code.INVALID_ARGUMENT, "a call has one request")
                found = each
    except TimeoutError:
        raise EtcdError(Code.DEADLINE_EXCEEDED, "the request did not come to its end") from None
    return call.request() if found is None else found
