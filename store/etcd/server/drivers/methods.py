"""What calls there are over gRPC, how their messages are read, and who asks."""

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError, Message

from ....auth.certificates import common_name
from ...errors import Code, EtcdError
from ...services import CALLS, DELETE_RANGE, PUT, TXN
from ..calls import AnyCall, Handlers, ManyToMany, OneToMany, Unary
from ..limits import MAX_MESSAGE, MAX_REQUEST
from .streams import Stream

WRAPPING = 18
"""What etcd adds to a request before it measures it, about."""
_CHANGES: tuple[AnyCall, ...] = (PUT, TXN, DELETE_RANGE)
_SERVICES = {call.path.rpartition("/")[0] for call in CALLS}


def most(call: AnyCall) -> int:
    """Bytes of a call's request."""
    return MAX_REQUEST - WRAPPING if call in _CHANGES else MAX_MESSAGE


def too_large() -> EtcdError:
    """What a larger one is told."""
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")


class GrpcCaller:
    """Looks at the call only when it is asked."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def token(self) -> str | None:
        return self._stream.head.token

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
        self.most = most(call)

    def request(self, data: bytes) -> Message:
        """EtcdError."""
        if len(data) > self.most:
            raise too_large()
        try:
            return self.decode(data)
        except DecodeError as error:
            raise EtcdError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None


def methods(handlers: Handlers) -> Mapping[str, Method]:
    """By path."""
    found = {call.path: Method(call, handler, one=True) for call, handler in handlers.unary.items()}
    for call, many in (*handlers.one_to_many.items(), *handlers.many_to_many.items()):
        found[call.path] = Method(call, many, one=False)
    return found


def unknown(path: str) -> EtcdError:
    """There is no such call."""
    service, _, name = path.rpartition("/")
    if service in _SERVICES:
        text = f"unknown method {name} for service {service[1:]}"
    else:
        text = f"unknown service {service[1:]}"
    return EtcdError(Code.UNIMPLEMENTED, text)
