"""The same calls as JSON over HTTP/1, as etcd's gRPC gateway has them: POST to each call's path, bytes in base64,
64-bit numbers as strings, what is zero left out; a stream of responses is a line each, `{"result": …}`, and so may
several requests follow each other in a body. Beside them `/health`, `/version`, and older paths that
clients still use. (etcd's documentation, gateway.)
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message

from ....errors import StoreError
from ... import etcd_pb2 as pb
from ...errors import Code, EtcdError, told
from ...services import ALARM, HASH, LEASE_LEASES, LEASE_REVOKE, LEASE_TIME_TO_LIVE
from ..calls import NOBODY, AnyCall, Handlers, Known, ManyToMany, OneToMany, Unary
from ..maintenance import VERSION

MAX_BODY = 4 << 20
STATUS = {
    Code.CANCELLED: 408,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 412,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}
"""HTTP's status for each of gRPC's that is not 500."""
_HEADERS = {"Grpc-Metadata-Content-Type": "application/grpc"}
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)


class Gateway:
    """Makes what answers HTTP/1 on a connection (`protocol`), between `open` and `close`."""

    def __init__(self, handlers: Handlers) -> None:
        self._routes: dict[str, Answer] = {"/health": self._health, "/version": self._version}
        self._alarm = handlers.unary[ALARM]
        for call, unary in handlers.unary.items():
            if call is not HASH:  # which shares its path with HashKV
                self._routes[call.gateway] = _one(call, unary)
        for call, one in handlers.one_to_many.items():
            self._routes[call.gateway] = _many(call, one)
        for call, many in handlers.many_to_many.items():
            self._routes[call.gateway] = _many(call, many)
        for call in (LEASE_REVOKE, LEASE_TIME_TO_LIVE, LEASE_LEASES):
            self._routes[f"/v3/kv/lease/{call.gateway.rpartition('/')[2]}"] = self._routes[call.gateway]
        self._server = web.Server(self._answer, handler_cancellation=True, access_log=None)

    def protocol(self) -> asyncio.Protocol:
        return self._server()

    async def close(self, grace: float) -> None:
        """Streams end after `grace` seconds."""
        await self._server.shutdown(grace)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = self._routes.get(request.path)
        if answer is None:
            return web.Response(status=404, text="Not Found\n")
        if (request.method == "POST") != request.path.startswith("/v3"):
            return web.Response(status=405, text="Method Not Allowed\n")
        return await answer(request)

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        """Of an unhealthy server the status is 503; its alarm makes it so."""
        try:
            answer = await self._alarm(pb.AlarmRequest(), NOBODY)
            healthy = not json_format.MessageToDict(answer)
        except (StoreError, EtcdError) as error:
            healthy = isinstance(error, EtcdError) and error.code is Code.UNKNOWN  # who asks is not known: it answers
        text = json.dumps({"health": "true" if healthy else "false"}, separators=(",", ":"))
        return web.Response(status=200 if healthy else 503, text=text)

    async def _version(self, request: web.BaseRequest) -> web.StreamResponse:
        cluster = VERSION.rpartition(".")[0] + ".0"
        return web.json_response({"etcdserver": VERSION, "etcdcluster": cluster}, dumps=_dumps)


def _one(call: AnyCall, handler: Unary) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            (message,) = [each async for each in _messages(call, request)] or [call.request()]
            response = await handler(message, _caller(request))
        except Exception as error:
            failure = _failure(error, request.path)
            body = {"error": failure.text, "message": failure.text, "code": int(failure.code)}
            return web.json_response(body, status=STATUS.get(failure.code, 500), dumps=_dumps)
        return web.json_response(_plain(response), headers=_HEADERS, dumps=_dumps)

    return answer


def _many(call: AnyCall, handler: OneToMany | ManyToMany) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json", **_HEADERS})
        stream.enable_chunked_encoding()

        async def line(content: dict[str, Any]) -> None:
            if not stream.prepared:
                await stream.prepare(request)
            await stream.write(_dumps(content).encode() + b"\n")

        async def send(response: Message | bytes) -> None:
            message = call.response.FromString(response) if isinstance(response, bytes) else response
            await line({"result": _plain(message)})

        handle: Any = handler
        messages = _messages(call, request)
        try:
            asked = messages if call.streams_in else await anext(messages, call.request())
            await handle(asked, _caller(request), send)
        except Exception as error:
            failure = _failure(error, request.path)
            status = STATUS.get(failure.code, 500)
            await line({"error": {"grpc_code": int(failure.code), "http_code": status, "message": failure.text}})
        if not stream.prepared:
            await stream.prepare(request)
        await stream.write_eof()
        return stream

    return answer


async def _messages(call: AnyCall, request: web.BaseRequest) -> AsyncIterator[Message]:
    """The JSON objects of a body, each as soon as it is whole. EtcdError."""
    decoder, text = json.JSONDecoder(), ""
    async for chunk, _ in request.content.iter_chunks():
        text += chunk.decode(errors="replace")
        if len(text) > MAX_BODY:
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")
        while text := text.lstrip():
            try:
                found, end = decoder.raw_decode(text)
            except ValueError:
                break
            text = text[end:]
            yield _message(call, found)
    if text:
        try:
            decoder.decode(text)
        except ValueError as error:
            raise EtcdError(Code.INVALID_ARGUMENT, f"the body is not JSON: {error}") from None


def _message(call: AnyCall, found: object) -> Message:
    try:
        message: Message = json_format.ParseDict(found, call.request(), ignore_unknown_fields=True)  # type: ignore[arg-type]
    except (json_format.ParseError, AttributeError) as error:
        raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from None
    return message


def _caller(request: web.BaseRequest) -> Known:
    """A certificate is the gateway's own here, as in etcd: only tokens count."""
    return Known(token=request.headers.get("Grpc-Metadata-Token") or request.headers.get("Authorization"))


def _plain(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _dumps(content: object) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _failure(error: Exception, path: str) -> EtcdError:
    if isinstance(error, StoreError):
        return told(error)
    if isinstance(error, EtcdError):
        return error
    log.exception("a call failed: %s", path, exc_info=error)
    return EtcdError(Code.UNKNOWN, f"hawser: {error!r}; please report this")
