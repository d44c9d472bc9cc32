"""A transport that does what a test says: each endpoint answers from a list, then for ever as its last."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.client.endpoints import Endpoint
from hawser.store.etcd.client.transport import Failed, Metadata, Q, R, Stream
from hawser.store.etcd.errors import EtcdError
from hawser.store.etcd.services import AUTHENTICATE, Call

Answer = EtcdError | Failed | float | None


class Fake:
    """Answers: an error to raise, seconds of silence, or None: an empty response."""

    shares = True

    def __init__(self, endpoint: Endpoint, script: list[Answer], log: list[tuple[str, str, str]]) -> None:
        self.endpoint, self.script, self.log, self.closed = endpoint, script, log, False
        self.tokens = 0

    async def unary(self, call: Call[Q, R], request: Q, *, timeout: float, metadata: Metadata) -> R:
        """Log who was asked what with which token, and do what the script says."""
        if call.path == AUTHENTICATE.path:
            self.log.append((self.endpoint.host, call.name, ""))
            self.tokens += 1
            await asyncio.sleep(0)
            response = call.response()
            assert isinstance(response, pb.AuthenticateResponse)
            response.token = f"t{self.tokens}"
            return response
        self.log.append((self.endpoint.host, call.name, dict(metadata).get("token", "")))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, float):
            try:
                await asyncio.wait_for(asyncio.sleep(answer), timeout)
            except TimeoutError:
                raise Failed("deadline exceeded", sent=True) from None
        elif answer is not None:
            raise answer
        return call.response()

    @asynccontextmanager
    async def stream(self, call: Call[Q, R], *, timeout: float, metadata: Metadata) -> AsyncIterator[Stream[Q, R]]:
        raise Failed("no streams here", sent=False)
        yield  # type: ignore[unreachable]

    async def close(self) -> None:
        self.closed = True


def network(scripts: Mapping[str, list[Answer]], log: list[tuple[str, str, str]]) -> Callable[[Endpoint], Fake]:
    """Transports by their endpoints' hosts."""
    return lambda endpoint: Fake(endpoint, list(scripts[endpoint.host]), log)
