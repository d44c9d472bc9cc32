"""A real etcd to compare with, called through its own protocol by a few lines that share nothing with the store's
client: operations out, results and errors back as the store's, revisions counted from where `empty` left off."""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

from hawser.store import (
    Compacted,
    Compare,
    DeleteOp,
    DeleteResult,
    Event,
    EventKind,
    KeyValue,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Result,
    Target,
    TxnOp,
    TxnResult,
    WatchBatch,
)
from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd import services
from hawser.store.etcd.errors import meant
from hawser.store.etcd.services import Call, Request, Response
from tests.etcd import member

SIGN = {"=": pb.Compare.EQUAL, "!=": pb.Compare.NOT_EQUAL, "<": pb.Compare.LESS, ">": pb.Compare.GREATER}
FIELD = {
    Target.VERSION: "version",
    Target.CREATE: "create_revision",
    Target.MOD: "mod_revision",
    Target.VALUE: "value",
    Target.LEASE: "lease",
}
KIND = {PutOp: "request_put", DeleteOp: "request_delete_range", RangeOp: "request_range", TxnOp: "request_txn"}
CALL: dict[type, Call[Any, Any]] = {
    PutOp: services.PUT,
    DeleteOp: services.DELETE_RANGE,
    RangeOp: services.RANGE,
    TxnOp: services.TXN,
}
SKIP = {EventKind.PUT: pb.WatchCreateRequest.NOPUT, EventKind.DELETE: pb.WatchCreateRequest.NODELETE}


@contextmanager
def running(*options: str) -> Iterator["RealEtcd"]:
    """An etcd of its own; nothing of it stays."""
    with member(*options) as etcd, grpc.insecure_channel(etcd.address) as channel:
        yield RealEtcd(channel)


class RealEtcd:
    """Revisions counted from `offset`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel, self.offset = channel, 0

    def call(self, call: Call[Request, Response], request: Request) -> Response:
        """One call. StoreError."""
        method = self.channel.unary_unary(call.path, call.request.SerializeToString, call.response.FromString)
        try:
            return method(request, timeout=10)
        except grpc.RpcError as error:
            raise meant(error.code().value[0], error.details() or "") from error

    def stream(self, call: Call[Any, Any]) -> Any:
        """A call of streams both ways."""
        return self.channel.stream_stream(call.path, call.request.SerializeToString, call.response.FromString)

    def empty(self) -> None:
        """No key, no lease, nothing of the past: as an empty store compacted at revision 1."""
        for lease in self.leases():
            self.lease_revoke(lease)
        self.call(services.PUT, pb.PutRequest(key=b"x"))
        everything = pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        self.offset = self.call(services.DELETE_RANGE, everything).header.revision - 1
        self.compact(1)

    def apply(self, op: Op[bytes]) -> Result[bytes]:
        return told(op, self.call(CALL[type(op)], asked(op, self.offset)), self.offset)

    def compact(self, revision: int) -> None:
        self.call(services.COMPACT, pb.CompactionRequest(revision=revision + self.offset))

    def hash(self, revision: int) -> tuple[int, int]:
        answer = self.call(services.HASH_KV, pb.HashKVRequest(revision=revision))
        return answer.hash, answer.compact_revision

    def lease_grant(self, ttl: int, lease: int) -> int:
        return int(self.call(services.LEASE_GRANT, pb.LeaseGrantRequest(TTL=ttl, ID=lease)).TTL)

    def lease_revoke(self, lease: int) -> None:
        self.call(services.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease))

    def lease_keepalive(self, lease: int) -> int:
        """Its ttl; 0 when it has ended, which etcd does not call an error."""
        answers = self.stream(services.LEASE_KEEP_ALIVE)(iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=10)
        return int(next(answers).TTL)

    def lease_time_to_live(self, lease: int) -> tuple[int, tuple[bytes, ...]]:
        """The seconds it was granted, 0 when it has ended, which etcd does not call an error; and its keys, sorted."""
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=True)
        answer = self.call(services.LEASE_TIME_TO_LIVE, request)
        return int(answer.grantedTTL), tuple(sorted(answer.keys))

    def leases(self) -> tuple[int, ...]:
        answer = self.call(services.LEASE_LEASES, pb.Empty())
        return tuple(sorted(lease.ID for lease in answer.leases))

    @contextmanager
    def watch(
        self, key: bytes, end: bytes | None, first: int, skips: Sequence[EventKind]
    ) -> Iterator[Iterator[WatchBatch[bytes]]]:
        """Batches from a revision on, with what was there before; each within 10 s. Compacted."""
        asks = queue.SimpleQueue[pb.WatchRequest | None]()
        create = pb.WatchCreateRequest(key=key, range_end=end or b"", start_revision=first + self.offset, prev_kv=True)
        create.filters.extend(SKIP[kind] for kind in skips)
        asks.put(pb.WatchRequest(create_request=create))
        answers = self.stream(services.WATCH)(iter(asks.get, None), timeout=10)
        assert next(answers).created
        try:
            yield self._batches(answers)
        finally:
            asks.put(None)
            answers.cancel()

    def _batches(self, answers: Iterator[pb.WatchResponse]) -> Iterator[WatchBatch[bytes]]:
        for answer in answers:
            if answer.canceled:
                raise Compacted(answer.cancel_reason, answer.compact_revision - self.offset)
            events: dict[int, list[Event[bytes]]] = {}
            for event in answer.events:
                told = happened(event, self.offset)
                events.setdefault(told.kv.mod_revision, []).append(told)
            for revision, batch in events.items():
                yield WatchBatch(revision=revision, events=tuple(batch))


def asked(op: Op[bytes], offset: int) -> Any:
    """An operation as etcd's request."""

    def revision(number: int) -> int:
        return number + offset if number else 0

    if isinstance(op, TxnOp):
        return pb.TxnRequest(
            compare=[compared(compare, offset) for compare in op.compares],
            success=[pb.RequestOp(**{KIND[type(inner)]: asked(inner, offset)}) for inner in op.then],
            failure=[pb.RequestOp(**{KIND[type(inner)]: asked(inner, offset)}) for inner in op.otherwise],
        )
    if isinstance(op, PutOp):
        put = pb.PutRequest(key=op.key, value=op.value, lease=op.lease, prev_kv=op.prev_kv)
        put.ignore_value, put.ignore_lease = op.ignore_value, op.ignore_lease
        return put
    if isinstance(op, DeleteOp):
        return pb.DeleteRangeRequest(key=op.key, range_end=op.end or b"", prev_kv=op.prev_kv)
    request = pb.RangeRequest(key=op.key, range_end=op.end or b"", limit=op.limit, revision=revision(op.revision))
    request.keys_only, request.count_only = op.keys_only, op.count_only
    request.min_mod_revision, request.max_mod_revision = revision(op.min_mod), revision(op.max_mod)
    request.min_create_revision, request.max_create_revision = revision(op.min_create), revision(op.max_create)
    if op.sort is not None or op.descending:
        request.sort_target = getattr(pb.RangeRequest, op.sort.name if op.sort else "KEY")
        request.sort_order = pb.RangeRequest.DESCEND if op.descending else pb.RangeRequest.ASCEND
    return request


def compared(compare: Compare[bytes], offset: int) -> pb.Compare:
    """A condition as etcd's."""
    value = compare.value
    if compare.target in (Target.CREATE, Target.MOD) and isinstance(value, int) and value:
        value += offset
    there = pb.Compare(key=compare.key, range_end=compare.end or b"", result=SIGN[compare.op])
    there.target = getattr(pb.Compare, compare.target.name)
    setattr(there, FIELD[compare.target], value)
    return there


def entry(have: Any, offset: int) -> KeyValue[bytes]:
    """A key as the store's."""
    return KeyValue(
        key=have.key,
        value=have.value,
        create_revision=have.create_revision - offset if have.create_revision else 0,
        mod_revision=have.mod_revision - offset,
        version=have.version,
        lease=have.lease,
    )


def happened(event: Any, offset: int) -> Event[bytes]:
    """An event as the store's."""
    kind = EventKind.DELETE if event.type == pb.Event.DELETE else EventKind.PUT
    prev = entry(event.prev_kv, offset) if event.HasField("prev_kv") else None
    return Event(kind=kind, kv=entry(event.kv, offset), prev=prev)


def told(op: Op[bytes], answer: Any, offset: int) -> Result[bytes]:
    """etcd's answer as the store's; a nested transaction's has no revision (0)."""
    revision = answer.header.revision - offset if answer.header.revision else 0
    if isinstance(op, TxnOp):
        ran = zip(op.then if answer.succeeded else op.otherwise, answer.responses, strict=True)
        results = tuple(told(inner, getattr(got, got.WhichOneof("response")), offset) for inner, got in ran)
        return TxnResult(succeeded=answer.succeeded, revision=revision, results=results)
    if isinstance(op, PutOp):
        prev = entry(answer.prev_kv, offset) if answer.HasField("prev_kv") else None
        return PutResult(revision=revision, prev=prev) if op.prev_kv else revision
    if isinstance(op, DeleteOp):
        gone = tuple(entry(have, offset) for have in answer.prev_kvs)
        return DeleteResult(count=answer.deleted, prev=gone) if op.prev_kv else int(answer.deleted)
    kvs = tuple(entry(have, offset) for have in answer.kvs)
    return RangeResult(kvs=kvs, revision=revision, more=answer.more, count=answer.count)
