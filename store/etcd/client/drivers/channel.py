"""The way to one endpoint over gRPC (grpc.aio), every call made from the table of services.

The connection is made first and by itself, so that a request that could not be sent is known not to have been. A
connection that stays silent is asked for a sign of life (HTTP/2 ping), also under streams that wait: a member that
vanished without a word is noticed within `SILENCE` + `PATIENCE` seconds; etcd allows no more than a ping each 5 s.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic

import grpc

from ...errors import Code, EtcdError
from ...services import Call
from ..endpoints import Endpoint
from ..tls import Tls
from ..transport import UNBELIEVED, UNWELCOME, Failed, Metadata, Q, R
from .certificates import context, pem

SILENCE, PATIENCE = 6.0, 3.0
CONNECT = 2.0
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT * 1000)),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", int(SILENCE * 1000)),
    ("grpc.keepalive_timeout_ms", int(PATIENCE * 1000)),
    ("grpc.http2.ping_timeout_ms", int(PATIENCE * 1000)),  # a minute otherwise, whatever the line above says
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
)
_READY, _IDLE, _CONNECTING = (
    grpc.ChannelConnectivity.READY,
    grpc.ChannelConnectivity.IDLE,
    grpc.ChannelConnectivity.CONNECTING,
)
_UNSENT = ("failed to connect to all addresses", "DNS resolution failed", "empty address list")
_ALERT, _OTHER_NAME = "TSI_DATA_CORRUPTED", "Hostname Verification Check failed"
_TRANSPORTS_OWN = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})
# words of gRPC's under codes that a server's errors have too
_BROKEN = ("RST_STREAM", "Internal error from Core")
_CLOSED = "the connection was closed here"


class Channel:
    """A `Transport` over gRPC."""

    shares = True

    def __init__(self, endpoint: Endpoint, tls: Tls | None = None) -> None:
        target = f"unix:{endpoint.path}" if endpoint.path else endpoint.netloc
        options: list[tuple[str, Any]] = list(_OPTIONS)
        if endpoint.secure:
            tls = tls or Tls()
            if tls.server_name:
                options.append(("grpc.ssl_target_name_override", tls.server_name))
            self._channel = grpc.aio.secure_channel(target, _credentials(tls), options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._unary: dict[str, Any] = {}
        self._greeted = False  # whether the server has said anything since it was connected to

    async def unary(self, call: Call[Q, R], request: Q, *, timeout: float, metadata: Metadata) -> R:
        """One request and one response. A call that streams is ended by what ends ours, so it gives one as well."""
        with _closed_beneath():
            await self._connected(timeout)
            multi = self._unary.get(call.path)
            if multi is None:
                multi = self._unary[call.path] = self._channel.unary_unary(
                    call.path,
                    request_serializer=call.request.SerializeToString,
                    response_deserializer=call.response.FromString,
                )
            try:
                response: R = await multi(request, timeout=timeout, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                raise self._failure(error) from None
        self._greeted = True
        return response

    @asynccontextmanager
    async def stream(
        self, call: Call[Q, R], *, timeout: float, metadata: Metadata
    ) -> AsyncIterator["ChannelStream[Q, R]"]:
        with _closed_beneath():
            await self._connected(timeout)
            write, read = call.request.SerializeToString, call.response.FromString
            rpc = self._channel.stream_stream(call.path, write, read)(metadata=metadata)
        try:
            yield ChannelStream(rpc, one=not call.streams_in)
        finally:
            rpc.cancel()

    async def _connected(self, timeout: float) -> None:
        """Wait for the connection; return also when it failed, for then a call fails at once and says why."""
        if self._channel.get_state(try_to_connect=True) is _READY:
            return
        self._greeted, seconds = False, min(timeout, CONNECT)
        try:
            async with asyncio.timeout(seconds):
                while (state := self._channel.get_state(try_to_connect=True)) in (_IDLE, _CONNECTING):
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            raise Failed(f"no connection within {seconds:g} s", sent=False) from None

    def _failure(self, error: grpc.aio.AioRpcError) -> EtcdError | Failed:
        failure = _told(error.code().value[0], error.details() or "")
        if isinstance(failure, Failed) and _ALERT in failure.reason and not self._greeted:
            # the server ends its side of the greeting (TLS 1.3) only when the client has sent its first request
            return Failed(UNWELCOME, sent=False, final=True)
        return failure

    async def close(self) -> None:
        await self._channel.close()


class ChannelStream(Generic[Q, R]):
    """A `Stream` over gRPC; of a call with `one` request, the first sent is the last."""

    def __init__(self, rpc: Any, *, one: bool) -> None:
        self._rpc, self._one = rpc, one

    async def send(self, request: Q) -> None:
        try:
            with _closed_beneath():
                await self._rpc.write(request)
                if self._one:
                    await self._rpc.done_writing()
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        except asyncio.InvalidStateError:
            raise Failed("the stream has ended", sent=True) from None

    async def receive(self) -> R | None:
        try:
            with _closed_beneath():
                response = await self._rpc.read()
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        except asyncio.InvalidStateError:
            raise Failed("the stream has ended", sent=True) from None
        if response is not grpc.aio.EOF:
            found: R = response
            return found
        code = await self._rpc.code()
        if code is grpc.StatusCode.OK:
            return None
        raise _told(code.value[0], await self._rpc.details() or "")


@contextmanager
def _closed_beneath() -> Iterator[None]:
    """Of a call whose connection is closed (`close`) gRPC says that it was cancelled. Who waits for it was not, and
    would end without a word; Task.cancelling tells them apart, when it counts more than before. Failed."""
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        yield
    except grpc.aio.UsageError:  # closed before
        raise Failed(_CLOSED, sent=False) from None
    except asyncio.CancelledError:
        if task is None or task.cancelling() > before:
            raise
        raise Failed(_CLOSED, sent=True) from None


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    context(tls)
    return grpc.ssl_channel_credentials(pem(tls.ca), pem(tls.key), pem(tls.cert))


def _failure(error: grpc.aio.AioRpcError) -> EtcdError | Failed:
    return _told(error.code().value[0], error.details() or "")


def _told(code: int, text: str) -> EtcdError | Failed:
    """gRPC's own failures have the codes that etcd's errors have; only these say whose they are."""
    if "etcdserver: " in text or (code not in _TRANSPORTS_OWN and not any(words in text for words in _BROKEN)):
        return EtcdError(code, text)
    unsent = text.startswith(_UNSENT)
    reason = reason_of(text) or Code(code).name.lower().replace("_", " ")
    final = unsent and ("CERTIFICATE_VERIFY_FAILED" in text or _OTHER_NAME in text)
    return Failed(reason, sent=not unsent, final=final)


def reason_of(text: str) -> str:
    """What of gRPC's words says why: the last cause of its chain."""
    last = re.split(r"last error: |; ", text)[-1]
    last = re.sub(r"^(?:[A-Z_]+: |ipv[46]:\S+: |unix:\S+: )+", "", last)
    if found := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", last):
        return f"{UNBELIEVED}: {found[1].strip()}"
    if _OTHER_NAME in last:
        return f"{UNBELIEVED}: it is for another name"
    return re.sub(r"^Failed to connect to remote host: (?:connect: )?", "", last).strip()
