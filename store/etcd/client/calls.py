"""What carries calls to a cluster, as the parts of the client see it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ...kv import Watch
from .. import etcd_pb2 as pb
from ..services import Call
from .endpoints import Endpoint
from .transport import Q, R, Stream


class Calls(Protocol):
    """One call to whichever endpoint works, or to one. StoreError; OutcomeUnknown when a call that is not `repeatable`
    (twice is the same as once) may have been done. `timeout` seconds are for all of it, `attempt` for one try."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]: ...

    async def call(
        self,
        call: Call[Q, R],
        request: Q,
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        attempt: float | None = None,
        at: Endpoint | None = None,
    ) -> R: ...

    async def move(self, endpoints: Sequence[Endpoint]) -> None:
        """Go on at these endpoints, over new connections; returns when the old ones are closed."""
        ...

    def stream(
        self, call: Call[Q, R], *, at: Endpoint | None = None
    ) -> AbstractAsyncContextManager[tuple[Stream[Q, R], Endpoint, str]]: ...


class Watches(Protocol):
    """Who carries watches."""

    def watch(
        self, request: pb.WatchCreateRequest, first: int, *, known: bool
    ) -> AbstractAsyncContextManager[Watch[bytes]]:
        """Events from revision `first` on; entered when the server has it. `known`: nothing from there on can have been
        compacted yet."""
        ...
