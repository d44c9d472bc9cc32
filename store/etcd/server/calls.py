"""What a handler is: it takes a request and who asks, and gives a response or raises. No transport is known here.

A call with one request and one response gets a message and returns one; any other writes its responses with `send`, as
messages or encoded already, and reads the requests of a stream one by one. `send` returns when the transport took the
response: who reads slowly is sent to slowly. A handler of a stream ends when it is cancelled, or returns.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from ..services import Call


class Caller(Protocol):
    """Who asks: the token that came with the call, and the common name of the client's verified certificate."""

    @property
    def token(self) -> str | None: ...
    @property
    def common_name(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A caller of whom everything is known beforehand."""

    token: str | None = None
    common_name: str | None = None


NOBODY = Known()
Send = Callable[["Message | bytes"], Awaitable[None]]
Unary = Callable[[Any, Caller], Awaitable[Message]]
OneToMany = Callable[[Any, Caller, Send], Awaitable[None]]
ManyToMany = Callable[[AsyncIterator[Any], Caller, Send], Awaitable[None]]
AnyCall = Call[Any, Any]


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who answers which call."""

    unary: Mapping[AnyCall, Unary] = field(default_factory=dict)
    one_to_many: Mapping[AnyCall, OneToMany] = field(default_factory=dict)
    many_to_many: Mapping[AnyCall, ManyToMany] = field(default_factory=dict)
