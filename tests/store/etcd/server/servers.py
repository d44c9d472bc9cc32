"""Servers to ask: ours within the test, and the real etcd as a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from hawser.store.embedded.memory import MemoryEngine
from hawser.store.etcd import services
from hawser.store.etcd.errors import EtcdError
from hawser.store.etcd.server import Settings, serving
from hawser.store.etcd.services import Call
from tests.etcd import member

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Client:
    """Any server, through grpc.aio."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None = None) -> None:
        self.channel, self.token = channel, token

    async def __call__(self, call: Call[Request, Response], request: Request, wait: float = 10) -> Response:
        """EtcdError."""
        ask = self.channel.unary_unary(
            call.path,
            request_serializer=call.request.SerializeToString,
            response_deserializer=call.response.FromString,
        )
        metadata = (("token", self.token),) if self.token else ()
        try:
            answer: Response = await ask(request, timeout=wait, metadata=metadata)
            return answer
        except grpc.aio.AioRpcError as error:
            raise EtcdError(error.code().value[0], error.details() or "") from None

    def stream(self, call: Call[Any, Any]) -> "grpc.aio.StreamStreamCall[Any, Any]":
        open_stream = self.channel.stream_stream(
            call.path,
            request_serializer=call.request.SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return open_stream(metadata=(("token", self.token),) if self.token else ())

    async def receive(self, call: Call[Any, Any], request: Message) -> list[Any]:
        """Every response of a call that streams them."""
        open_stream = self.channel.unary_stream(
            call.path,
            request_serializer=call.request.SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return [response async for response in open_stream(request)]

    def by(self, token: str) -> "Client":
        """The same server, asked by somebody."""
        return Client(self.channel, token)


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield Client(channel)


@contextlib.asynccontextmanager
async def our_server(engine: Any = None, settings: Settings | None = None) -> AsyncIterator[str]:
    """Its address; over a new engine in memory when none is given."""
    own = engine is None
    engine = MemoryEngine() if own else engine
    async with serving(engine, ["127.0.0.1:0"], settings=settings, grace=0.2) as served:
        yield served.addresses[0]
    if own:
        await engine.close()


@contextlib.contextmanager
def real_etcd() -> Iterator[str]:
    """Its address."""
    with member("--bcrypt-cost", "4") as running:
        yield running.address


async def refused(answer: Any) -> tuple[int, str]:
    """The code and text of what a call says no with."""
    try:
        await asyncio.wait_for(answer, 10)
    except EtcdError as error:
        return int(error.code), error.text
    raise AssertionError("this was not refused")


__all__ = ["Client", "connected", "our_server", "real_etcd", "refused", "services"]
