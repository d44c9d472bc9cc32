"""The handlers served with grpc.aio: registered by path from the table of calls, no generated stubs.

Requests are taken as bytes and decoded here, so that what is too large is answered in etcd's words.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from ....errors import StoreError, Unavailable
from ...errors import Code, EtcdError, told
from ...services import DELETE_RANGE, PUT, TXN, Call
from ..calls import AnyCall, Handlers, ManyToMany, OneToMany, Unary

Context = grpc.aio.ServicerContext[Any, Any]
Serve = Callable[[Any, Context], Awaitable[Any]]
MAX_REQUEST = 3 * 512 * 1024
"""etcd's --max-request-bytes."""
MAX_MESSAGE = MAX_REQUEST + 512 * 1024
"""What gRPC takes at all: a request with what goes around it."""
WRAPPING = 18
"""What etcd adds to a request before it measures it, about."""
_TAKEN = 64 << 20
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_CHANGES: tuple[AnyCall, ...] = (PUT, TXN, DELETE_RANGE)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM contents; with `authority`, clients must show a certificate that it signed."""

    certificate: bytes
    key: bytes
    authority: bytes | None = None

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority, require_client_auth=self.authority is not None
        )


class GrpcCaller:
    """Looks at the call only when it is asked."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def token(self) -> str | None:
        found = None
        for name, value in self._context.invocation_metadata() or ():
            if name == "token" or (name == "authorization" and found is None):
                found = value if isinstance(value, str) else value.decode(errors="replace")
        return found

    @property
    def common_name(self) -> str | None:
        """ "" of a certificate without one."""
        about = self._context.auth_context()
        if "x509_pem_cert" not in about:
            return None
        names = list(about.get("x509_common_name", ()))
        return names[-1].decode(errors="replace") if names else ""


def decoder(call: AnyCall) -> Callable[[bytes], Message]:
    """Decodes a call's requests. EtcdError."""
    most = MAX_REQUEST - WRAPPING if call in _CHANGES else MAX_MESSAGE
    decode: Callable[[bytes], Message] = call.request.FromString

    def decoded(data: bytes) -> Message:
        if len(data) > most:
            if len(data) <= MAX_MESSAGE:
                raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")
            text = f"grpc: received message larger than max ({len(data)} vs. {MAX_MESSAGE})"
            raise EtcdError(Code.RESOURCE_EXHAUSTED, text)
        try:
            return decode(data)
        except DecodeError as error:
            text = f"grpc: error while unmarshalling: {error}"
            raise EtcdError(Code.INTERNAL, text) from None

    return decoded


async def _fail(context: Context, error: StoreError | EtcdError) -> NoReturn:
    failure = error if isinstance(error, EtcdError) else told(error)
    await context.abort(_CODES[failure.code], failure.text)
    raise AssertionError("not reached")


def _unary(call: AnyCall, handler: Unary) -> Serve:
    decode = decoder(call)
    encode: Callable[[Message], bytes] = call.response.SerializeToString

    async def serve(data: bytes, context: Context) -> bytes:
        try:
            return encode(await handler(decode(data), GrpcCaller(context)))
        except (StoreError, EtcdError) as error:
            await _fail(context, error)

    return serve


def _one_to_many(call: AnyCall, handler: OneToMany) -> Serve:
    decode = decoder(call)

    async def serve(data: bytes, context: Context) -> None:
        try:
            await handler(decode(data), GrpcCaller(context), _sender(context))
        except (StoreError, EtcdError) as error:
            await _fail(context, error)

    return serve


def _many_to_many(call: AnyCall, handler: ManyToMany) -> Serve:
    decode = decoder(call)

    async def requests(context: Context) -> AsyncIterator[Message]:
        while (data := await context.read()) is not grpc.aio.EOF:
            yield decode(data)

    async def serve(_: Any, context: Context) -> None:
        try:
            await handler(requests(context), GrpcCaller(context), _sender(context))
        except (StoreError, EtcdError) as error:
            await _fail(context, error)

    return serve


def _sender(context: Context) -> Callable[[Message | bytes], Awaitable[None]]:
    async def send(response: Message | bytes) -> None:
        await context.write(response if isinstance(response, bytes) else response.SerializeToString())

    return send


class _Unknown(grpc.GenericRpcHandler):
    """Whatever is no call of ours, in etcd's words."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        service, _, name = details.method.removeprefix("/").rpartition("/")
        text = f"unknown method {name} for service {service}"
        if service not in self._services:
            text = f"unknown service {service}"

        async def refuse(requests: Any, context: Context) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

        return grpc.stream_stream_rpc_method_handler(refuse)


class GrpcServer:
    """Listens on `host:port` and `unix:path`; port 0 is any (`ports`)."""

    def __init__(self, handlers: Handlers) -> None:
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", _TAKEN),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_time_ms", 7_200_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            )
        )
        methods: dict[str, dict[str, Any]] = {}
        for call, handler in _registered(handlers):
            service, _, name = call.path[1:].partition("/")
            methods.setdefault(service, {})[name] = handler
        self._server.add_generic_rpc_handlers(
            (*(grpc.method_handlers_generic_handler(*each) for each in methods.items()), _Unknown(methods.keys()))
        )
        self.ports: list[int] = []

    async def start(self, listen: Sequence[str], tls: Tls | None = None) -> None:
        """Unavailable when an address cannot be had."""
        for address in listen:
            try:
                if tls is None:
                    port = self._server.add_insecure_port(address)
                else:
                    port = self._server.add_secure_port(address, tls.credentials())
            except RuntimeError as error:
                raise Unavailable(f"cannot listen on {address}; is it in use? choose another") from error
            self.ports.append(port)
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Answer what was asked, for at most so many seconds; streams end then."""
        await self._server.stop(grace)


def _registered(handlers: Handlers) -> list[tuple[AnyCall, Any]]:
    found = list[tuple[Call[Any, Any], Any]]()
    for call, unary in handlers.unary.items():
        found.append((call, grpc.unary_unary_rpc_method_handler(_unary(call, unary))))
    for call, one in handlers.one_to_many.items():
        found.append((call, grpc.unary_stream_rpc_method_handler(_one_to_many(call, one))))
    for call, many in handlers.many_to_many.items():
        found.append((call, grpc.stream_stream_rpc_method_handler(_many_to_many(call, many))))
    return found
