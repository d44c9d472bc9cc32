"""The way to one endpoint over etcd's JSON gateway (aiohttp): for where gRPC's library is not.

Every call is a POST of the request as JSON; a stream is one POST whose answer goes on, an object a line, so it takes
one request: a watch is a stream of its own, and each beat of a lease one call. What went wrong is in the body, whose
form and HTTP status differ between etcd's versions while code and message do not. Some versions hang up without a word
when they do not take a token (etcd #15256, #20332): `Failed.mute`.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic

import aiohttp
from google.protobuf import json_format

from ...errors import Code, EtcdError
from ...services import Call
from ..endpoints import Endpoint
from ..tls import Tls
from ..transport import UNBELIEVED, UNWELCOME, Failed, Metadata, Q, R
from .certificates import context

CONNECT = 2.0
CONNECTIONS = 64  # for calls; a stream has one of its own


class Gateway:
    """A `Transport` over HTTP."""

    shares = False

    def __init__(self, endpoint: Endpoint, tls: Tls | None = None) -> None:
        tls = tls or Tls()
        self._base = "http://localhost" if endpoint.path else endpoint.url
        self._server_name = tls.server_name if endpoint.secure else None
        checked = context(tls) if endpoint.secure else True

        def session(limit: int) -> aiohttp.ClientSession:
            if endpoint.path:
                return aiohttp.ClientSession(connector=aiohttp.UnixConnector(endpoint.path, limit=limit))
            return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit, ssl=checked))

        self._calls, self._streams = session(CONNECTIONS), session(0)
        self._open = set[GatewayStream[Any, Any]]()

    async def unary(self, call: Call[Q, R], request: Q, *, timeout: float, metadata: Metadata) -> R:
        """One request and one response; of a call that streams, its first."""
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT))
        try:
            async with self.post(self._calls, call, request, metadata, limits) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(error) from None
        told = _parsed(body.partition(b"\n")[0] if call.streams_out else body, response.status)
        return _message(call, told.get("result", {}) if call.streams_out and "error" not in told else told)

    @asynccontextmanager
    async def stream(
        self, call: Call[Q, R], *, timeout: float, metadata: Metadata
    ) -> AsyncIterator["GatewayStream[Q, R]"]:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, CONNECT))
        stream = GatewayStream(call, lambda request: self.post(self._streams, call, request, metadata, limits))
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)
            stream.close()

    def post(
        self,
        http: aiohttp.ClientSession,
        call: Call[Q, R],
        request: Q,
        metadata: Metadata,
        limits: aiohttp.ClientTimeout,
    ) -> Any:
        return http.post(
            self._base + call.gateway,
            data=json.dumps(json_format.MessageToDict(request, preserving_proto_field_name=True)),
            headers={_HEADERS.get(name, f"Grpc-Metadata-{name}"): value for name, value in metadata},
            timeout=limits,
            server_hostname=self._server_name,
        )

    async def close(self) -> None:
        for stream in tuple(self._open):  # who reads one would wait for ever: aiohttp tells it nothing
            stream.close()
        await self._calls.close()
        await self._streams.close()


_HEADERS = {"token": "Authorization"}


class GatewayStream(Generic[Q, R]):
    """A `Stream` over one POST: it takes one request, and gives what the server says until it ends."""

    def __init__(self, call: Call[Q, R], post: Callable[[Q], Any]) -> None:
        self._call, self._post = call, post
        self._begun = asyncio.Event()
        self._response: aiohttp.ClientResponse | None = None
        self._rest = b""

    async def send(self, request: Q) -> None:
        if self._response is not None:
            raise Failed("a stream over the gateway takes one request", sent=False)
        try:
            self._response = await self._post(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(error) from None
        self._begun.set()

    async def receive(self) -> R | None:
        await self._begun.wait()
        assert self._response is not None
        try:
            while b"\n" not in self._rest:
                part = await self._response.content.readany()
                if not part:
                    break
                self._rest += part
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(error) from None
        line, _, self._rest = self._rest.partition(b"\n")
        if not line:
            return None
        told = _parsed(line, self._response.status)
        return _message(self._call, told if "error" in told else told.get("result", {}))

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


def _parsed(body: bytes, status: int) -> dict[str, Any]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        code = Code.UNIMPLEMENTED if status == 404 else Code.UNAVAILABLE
        raise EtcdError(code, f"the gateway answered with HTTP status {status}") from None
    return told if isinstance(told, dict) else {}


def _message(call: Call[Q, R], told: dict[str, Any]) -> R:
    """A response, or the error that the body is: {"error", "message", "code"}, without "error" since etcd 3.6, within
    "error" in a stream."""
    wrong = told.get("error", told if "code" in told and "message" in told else None)
    if isinstance(wrong, str):
        wrong = {"message": wrong} | told
    if isinstance(wrong, dict):
        numbers = [int(wrong[name]) for name in ("grpc_code", "code") if name in wrong]
        raise _error(next(iter(numbers), int(Code.UNKNOWN)), str(wrong.get("message", "")))
    return json_format.ParseDict(told, call.response(), ignore_unknown_fields=True)


def _error(code: int, text: str) -> EtcdError | Failed:
    """The gateway reaches its own etcd over gRPC: what goes wrong there was sent."""
    if code in (Code.UNAVAILABLE, Code.CANCELLED, Code.DEADLINE_EXCEEDED) and "etcdserver: " not in text:
        return Failed(text, sent=True)
    return EtcdError(code, text)


def _failure(error: Exception) -> Failed:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        why = getattr(inner, "verify_message", "") or str(inner)
        return Failed(f"{UNBELIEVED}: {why}", sent=False, final=True)
    if isinstance(error, OSError) and re.search("alert.*certificate", str(error)):
        return Failed(UNWELCOME, sent=False, final=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return Failed(os.strerror(number) if number and number > 0 else str(error.os_error), sent=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failed(f"no connection within {CONNECT:g} s", sent=False)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Failed("it hung up", sent=True, mute=True)
    if isinstance(error, TimeoutError):
        return Failed("deadline exceeded", sent=True)
    return Failed(str(error) or type(error).__name__, sent=True)
