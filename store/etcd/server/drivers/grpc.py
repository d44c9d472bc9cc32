"""The handlers served over gRPC (gRPC over HTTP/2, its protocol document): calls, messages and statuses.

A call is a stream of http2.py; each is answered by a task of the server's. grpc.aio's server would do the same at
several times the cost of a call, and needs its library.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from struct import Struct
from typing import Any
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

from ....auth import common_name
from ....errors import StoreError
from ...errors import Code, EtcdError, told
from ...services import CALLS, DELETE_RANGE, PUT, TXN
from ..calls import AnyCall, Handlers, ManyToMany, OneToMany, Unary
from ..hpack import encode
from .http2 import Stream

MAX_REQUEST = 3 * 512 * 1024
"""etcd's --max-request-bytes."""
MAX_MESSAGE = MAX_REQUEST + 512 * 1024
"""What gRPC takes at all: a request with what goes around it."""
WRAPPING = 18
"""What etcd adds to a request before it measures it, about."""
_CHANGES: tuple[AnyCall, ...] = (PUT, TXN, DELETE_RANGE)
_PREFIX = Struct(">BI")
_CONTENT = (":status", "200"), ("content-type", "application/grpc")
_HEAD = encode(_CONTENT)
_DONE = encode((("grpc-status", "0"),))
_SERVICES = {call.path.rpartition("/")[0] for call in CALLS}
log = logging.getLogger(__name__)


class GrpcCaller:
    """Looks at the call only when it is asked."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def token(self) -> str | None:
        fields = dict(self._stream.fields)
        return fields.get("token", fields.get("authorization"))

    @property
    def common_name(self) -> str | None:
        """ "" of a certificate without one."""
        transport = self._stream.connection.transport
        tls = transport and transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        return common_name(certificate) if certificate else None


class Method:
    """A call and who answers it: `one` where there is one request and one response."""

    __slots__ = ("call", "decode", "encode", "handler", "most", "one")

    def __init__(self, call: AnyCall, handler: Unary | OneToMany | ManyToMany, *, one: bool) -> None:
        self.call, self.handler, self.one = call, handler, one
        self.decode: Callable[[bytes], Message] = call.request.FromString
        self.encode: Callable[[Message], bytes] = call.response.SerializeToString
        self.most = MAX_REQUEST - WRAPPING if call in _CHANGES else MAX_MESSAGE

    def request(self, data: bytes) -> Message:
        """EtcdError."""
        if len(data) > self.most:
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")
        try:
            return self.decode(data)
        except DecodeError as error:
            raise EtcdError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None


class GrpcCalls:
    """Answers streams with tasks of the group."""

    def __init__(self, handlers: Handlers, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._streaming = set[Stream]()
        self._methods: dict[str, Method] = {}
        for call, unary in handlers.unary.items():
            self._methods[call.path] = Method(call, unary, one=True)
        for call, handler in (*handlers.one_to_many.items(), *handlers.many_to_many.items()):
            self._methods[call.path] = Method(call, handler, one=False)

    def end_streams(self) -> None:
        """Tell the clients of streams that they end; what has one answer may still be answered."""
        for stream in list(self._streaming):
            self._fail(stream, EtcdError(Code.UNAVAILABLE, "etcdserver: server stopped"))
            if stream.task is not None:
                stream.task.cancel()

    # what a connection tells

    def begin(self, stream: Stream) -> None:
        fields = dict(stream.fields)
        path = fields.get(":path", "")
        method = stream.method = self._methods.get(path)
        if not fields.get("content-type", "").startswith("application/grpc"):
            stream.finish(encode(((":status", "415"),)))
        elif method is None:
            self._fail(stream, _unknown(path))
        elif method.call.streams_in:
            stream.task = self._tasks.create_task(self._many(stream, method))
        elif stream.heard:
            self.received(stream)

    def received(self, stream: Stream) -> None:
        method = stream.method
        if not isinstance(method, Method) or not stream.open:
            return
        body = stream.body
        while len(body) >= 5:
            packed, size = _PREFIX.unpack_from(body)
            if packed or size > MAX_MESSAGE:
                self._refuse(stream, packed, size)
                return
            if len(body) < 5 + size:
                break
            message = bytes(body[5 : 5 + size])
            del body[: 5 + size]
            stream.inbox.append(message)
        if method.call.streams_in:
            if stream.wake is not None and not stream.wake.done():
                stream.wake.set_result(None)
        elif stream.heard and stream.task is None:
            if body or len(stream.inbox) != 1:
                self._fail(stream, EtcdError(Code.INTERNAL, "grpc: a call has one request, whole"))
            elif method.one:
                stream.task = self._tasks.create_task(self._one(stream, method))
            else:
                stream.task = self._tasks.create_task(self._many(stream, method))

    def lost(self, stream: Stream) -> None:
        if stream.task is not None:
            stream.task.cancel()

    def _refuse(self, stream: Stream, packed: int, size: int) -> None:
        if packed:
            kind = dict(stream.fields).get("grpc-encoding", "")
            error = EtcdError(Code.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{kind}"')
        else:
            text = f"grpc: received message larger than max ({size} vs. {MAX_MESSAGE})"
            error = EtcdError(Code.RESOURCE_EXHAUSTED, text)
        if stream.task is not None:
            stream.task.cancel()
        self._fail(stream, error)

    # answers

    async def _one(self, stream: Stream, method: Method) -> None:
        try:
            request = method.request(stream.inbox.popleft())
            data = method.encode(await method.handler(request, GrpcCaller(stream)))  # type: ignore[call-arg,arg-type]
            stream.reply(_HEAD, _PREFIX.pack(0, len(data)) + data, _DONE)
        except Exception as error:  # whatever it is, it ends this call only
            self._fail(stream, error)

    async def _many(self, stream: Stream, method: Method) -> None:
        async def send(response: Message | bytes) -> None:
            data = response if isinstance(response, bytes) else response.SerializeToString()
            stream.write(_HEAD, _PREFIX.pack(0, len(data)) + data)
            if stream.out or not stream.connection.out.room.is_set():
                await stream.drained()

        handler: Any = method.handler
        self._streaming.add(stream)
        try:
            if method.call.streams_in:
                await handler(_requests(stream, method), GrpcCaller(stream), send)
            else:
                await handler(method.request(stream.inbox.popleft()), GrpcCaller(stream), send)
        except Exception as error:
            self._fail(stream, error)
        else:
            if not stream.started:
                stream.write(_HEAD, b"")
            stream.finish(_DONE)
        finally:
            self._streaming.discard(stream)

    def _fail(self, stream: Stream, error: Exception) -> None:
        if isinstance(error, StoreError):
            failure = told(error)
        elif isinstance(error, EtcdError):
            failure = error
        else:
            log.exception("a call failed: %s", dict(stream.fields).get(":path"), exc_info=error)
            failure = EtcdError(Code.UNKNOWN, f"hawser: {error!r}; please report this")
        fields: Iterable[tuple[str, str]] = () if stream.started else _CONTENT
        text = quote(failure.text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
        stream.finish(encode((*fields, ("grpc-status", str(int(failure.code))), ("grpc-message", text))))


async def _requests(stream: Stream, method: Method) -> AsyncIterator[Message]:
    while True:
        while stream.inbox:
            data = stream.inbox.popleft()
            stream.consumed(len(data) + 5)
            yield method.request(data)
        if stream.heard:
            return
        stream.wake = asyncio.get_running_loop().create_future()
        await stream.wake


def _unknown(path: str) -> EtcdError:
    service, _, name = path.rpartition("/")
    if service in _SERVICES:
        text = f"unknown method {name} for service {service[1:]}"
    else:
        text = f"unknown service {service[1:]}"
    return EtcdError(Code.UNIMPLEMENTED, text)
