"""What the client asks of a way to one endpoint: one call, or one stream of calls; and how such a call can fail.

Two kinds of failure are told apart because a caller must: etcd answered with an error (`EtcdError`), or nobody
answered (`Failed`), and then whether the request can have reached a server at all.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from ..services import Call

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)
Q_in = TypeVar("Q_in", bound=Message, contravariant=True)
R_out = TypeVar("R_out", bound=Message, covariant=True)
Metadata = tuple[tuple[str, str], ...]
UNBELIEVED = "its certificate is not accepted"
UNWELCOME = "it does not accept this client's certificate, or the lack of one"


class Failed(Exception):
    """No answer. `sent`: the request may have reached a server; `final`: no use to try this endpoint again (it is not
    who it should be); `mute`: it hung up without a word, as the gateways of some versions do about a token that they do
    not take."""

    def __init__(self, reason: str, *, sent: bool, final: bool = False, mute: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.sent, self.final, self.mute = reason, sent, final, mute


class Stream(Protocol[Q_in, R_out]):
    """Requests one way, responses the other. One task sends, one receives; either may raise EtcdError or Failed."""

    async def send(self, request: Q_in) -> None: ...

    async def receive(self) -> R_out | None:
        """The next response; None when the server has no more."""
        ...


class Transport(Protocol):
    """The way to one endpoint; connects when it is used. `shares`: a stream takes requests at any time, so that one
    carries many watches; otherwise it takes one, before the first response."""

    shares: bool

    async def unary(self, call: Call[Q, R], request: Q, *, timeout: float, metadata: Metadata) -> R:
        """One request, one response within `timeout` seconds; of a call that streams, the first. EtcdError, Failed."""
        ...

    def stream(
        self, call: Call[Q, R], *, timeout: float, metadata: Metadata
    ) -> AbstractAsyncContextManager[Stream[Q, R]]:
        """Open a stream; connecting takes at most `timeout` seconds. Leaving ends it. EtcdError, Failed."""
        ...

    async def close(self) -> None: ...
