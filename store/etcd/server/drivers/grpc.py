"""The handlers served over gRPC (gRPC over HTTP/2, its protocol document): calls, messages, deadlines and statuses.

A call is a stream of http2.py; each is answered by a task of the server's. grpc.aio's server would do the same at
several times the cost of a call, and needs its library.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from struct import Struct
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message

from ....errors import StoreError
from ...errors import Code, EtcdError, told
from ..calls import Handlers
from ..frames import CANCEL
from ..hpack import encode
from ..limits import MAX_ERROR, MAX_MESSAGE
from .methods import GrpcCaller, Method, methods, unknown
from .streams import Stream

_PREFIX = Struct(">BI")
_CONTENT = (":status", "200"), ("content-type", "application/grpc")
_HEAD = encode(_CONTENT)
_DONE = encode((("grpc-status", "0"),))
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
log = logging.getLogger(__name__)


class GrpcCalls:
    """Answers streams with tasks of the group."""

    def __init__(self, handlers: Handlers, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._streaming = set[Stream]()
        self._methods = methods(handlers)

    def end_streams(self) -> None:
        """Tell the clients of streams that they end; what has one answer may still be answered."""
        for stream in list(self._streaming):
            self._end(stream, EtcdError(Code.UNAVAILABLE, "etcdserver: server stopped"))

    # what a connection tells

    def begin(self, stream: Stream) -> None:
        said = stream.head
        method = stream.method = self._methods.get(said.path)
        if said.method != "POST":
            stream.finish(encode(((":status", "405"),)))
        elif not said.grpc:
            stream.finish(encode(((":status", "415"),)))
        elif method is None:
            self._fail(stream, unknown(said.path))
        elif said.timeout is not None and said.timeout < 0:
            self._fail(stream, EtcdError(Code.INTERNAL, "grpc: malformed grpc-timeout"))
        else:
            if said.timeout is not None:
                stream.timer = asyncio.get_running_loop().call_later(said.timeout, self._late, stream)
            if method.call.streams_in:
                stream.task = self._tasks.create_task(self._many(stream, method))
            elif stream.heard:
                self.received(stream)

    def received(self, stream: Stream) -> None:
        method = stream.method
        if not isinstance(method, Method) or not stream.open:
            return
        if not self._unpack(stream, method):
            return
        if method.call.streams_in:
            if stream.heard and stream.body:
                self._end(stream, _not_whole())
            elif stream.wake is not None and not stream.wake.done():
                stream.wake.set_result(None)
        elif stream.heard and stream.task is None:
            if stream.body or len(stream.inbox) != 1:
                self._fail(stream, _not_whole())
            else:
                answer = self._one if method.one else self._many
                stream.task = self._tasks.create_task(answer(stream, method))

    def lost(self, stream: Stream) -> None:
        if stream.task is not None:
            stream.task.cancel()

    def _unpack(self, stream: Stream, method: Method) -> bool:
        """Put whole messages into the inbox; False when there is something that makes no sense."""
        body = stream.body
        while len(body) >= 5:
            packed, size = _PREFIX.unpack_from(body)
            if packed:
                text = f'grpc: Decompressor is not installed for grpc-encoding "{stream.head.encoding}"'
                self._end(stream, EtcdError(Code.UNIMPLEMENTED, text))
            elif size > MAX_MESSAGE:
                text = f"grpc: received message larger than max ({size} vs. {MAX_MESSAGE})"
                self._end(stream, EtcdError(Code.RESOURCE_EXHAUSTED, text))
            elif stream.inbox and not method.call.streams_in:
                self._end(stream, _not_whole())
            elif len(body) < 5 + size:
                return True
            else:
                stream.inbox.append(bytes(body[5 : 5 + size]))
                del body[: 5 + size]
                continue
            return False
        return True

    def _late(self, stream: Stream) -> None:
        if stream.out:  # and what waits to be read waits no longer
            stream.connection.reset(stream.id, CANCEL)
        else:
            self._end(stream, EtcdError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))

    def _end(self, stream: Stream, error: EtcdError) -> None:
        """Whatever it is doing."""
        self._fail(stream, error)
        if stream.task is not None:
            stream.task.cancel()

    # answers

    async def _one(self, stream: Stream, method: Method) -> None:
        try:
            calm = stream.connection.out.calm
            while not calm.is_set():  # what the client asked for before comes first
                await calm.wait()
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
            log.exception("a call failed: %s", stream.head.path, exc_info=error)
            failure = EtcdError(Code.UNKNOWN, f"hawser: {error!r}; please report this")
        fields: Iterable[tuple[str, str]] = () if stream.started else _CONTENT
        text = quote(failure.text[:MAX_ERROR], safe=_PRINTABLE)
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


def _not_whole() -> EtcdError:
    return EtcdError(Code.INTERNAL, "grpc: a call has one request, whole")
