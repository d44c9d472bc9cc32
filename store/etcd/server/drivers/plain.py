"""Calls as JSON: a request's body as messages, responses and failures as text."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message

from ....errors import StoreError
from ...errors import Code, EtcdError, told
from ..calls import AnyCall, Known
from ..objects import Objects, parse
from .methods import most, too_large

SMALL = 1 << 16
"""Bytes; what is larger is turned into JSON, and from it, off the loop."""
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
Result = TypeVar("Result")
log = logging.getLogger(__name__)


async def messages(call: AnyCall, request: web.BaseRequest, hold: Callable[[int], None]) -> AsyncGenerator[Message]:
    """Of a body, each as soon as it is whole; `hold` hears of the bytes that wait. EtcdError."""
    objects, held = Objects(), 0
    try:
        async for chunk, _ in request.content.iter_chunks():
            for text in objects.feed(chunk):
                yield await _aside(len(text), _message, call, text)
            hold(len(objects) - held)
            held = len(objects)
        objects.end()
    finally:
        hold(-held)


def _message(call: AnyCall, text: bytes) -> Message:
    found: Any = parse(text)
    try:
        message: Message = json_format.ParseDict(found, call.request(), ignore_unknown_fields=True)
    except (json_format.ParseError, AttributeError, ValueError, TypeError, RecursionError) as error:
        raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from None
    if message.ByteSize() > most(call):
        raise too_large()
    return message


def caller(request: web.BaseRequest) -> Known:
    """A certificate is the gateway's own here, as in etcd: only tokens count."""
    return Known(token=request.headers.get("Grpc-Metadata-Token") or request.headers.get("Authorization"))


async def text_of(message: Message, wrap: str = "%s") -> str:
    """A response as JSON."""
    return wrap % await _aside(message.ByteSize(), _text, message)


def _text(message: Message) -> str:
    return dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))


def dumps(content: object) -> str:
    """As etcd's gateway writes it."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


async def _aside(size: int, work: Callable[..., Result], *given: object) -> Result:
    return work(*given) if size < SMALL else await asyncio.to_thread(work, *given)


def failure(error: Exception, path: str) -> EtcdError:
    """What a call that failed is told."""
    if isinstance(error, StoreError):
        return told(error)
    if isinstance(error, EtcdError):
        return error
    log.exception("a call failed: %s", path, exc_info=error)
    return EtcdError(Code.UNKNOWN, f"hawser: {error!r}; please report this")
