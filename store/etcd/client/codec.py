"""Operations as etcd's messages, and etcd's messages as results. Pure.

etcd has no empty key, so ours, the smallest there can be, is its "\\0"; and what an operation asks is checked before it
is sent by the engines' own rules, so that a mistake is told in the same words whatever the store is.
"""

from collections.abc import Collection

from ...embedded.keyspace import NO_END, bounds
from ...embedded.ranges import check_range
from ...embedded.requests import check_put, check_txn
from ...errors import Invalid, TtlTooLarge
from ...kv import (
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
    SortBy,
    Target,
    TxnOp,
    TxnResult,
)
from .. import etcd_pb2 as pb

MAX_TTL = 9_000_000_000
_SIGNS = {
    "=": pb.Compare.CompareResult.EQUAL,
    ">": pb.Compare.CompareResult.GREATER,
    "<": pb.Compare.CompareResult.LESS,
    "!=": pb.Compare.CompareResult.NOT_EQUAL,
}
_TARGETS = {
    Target.VERSION: pb.Compare.CompareTarget.VERSION,
    Target.CREATE: pb.Compare.CompareTarget.CREATE,
    Target.MOD: pb.Compare.CompareTarget.MOD,
    Target.VALUE: pb.Compare.CompareTarget.VALUE,
    Target.LEASE: pb.Compare.CompareTarget.LEASE,
}
_SORTS = {
    SortBy.KEY: pb.RangeRequest.SortTarget.KEY,
    SortBy.VERSION: pb.RangeRequest.SortTarget.VERSION,
    SortBy.CREATE: pb.RangeRequest.SortTarget.CREATE,
    SortBy.MOD: pb.RangeRequest.SortTarget.MOD,
    SortBy.VALUE: pb.RangeRequest.SortTarget.VALUE,
}
_FILTERS = {
    EventKind.PUT: pb.WatchCreateRequest.FilterType.NOPUT,
    EventKind.DELETE: pb.WatchCreateRequest.FilterType.NODELETE,
}


def interval(key: bytes, end: bytes | None, prefix: bool) -> tuple[bytes, bytes]:
    """etcd's key and range_end of a selection. Invalid."""
    low, high = bounds(key, end, prefix)
    if not prefix and end is None:
        return key, b""
    low = low or b"\0"
    if high is None:
        return low, NO_END
    if high <= low:  # nothing; but etcd means the key alone by an empty end, and everything after it by "\0"
        low = high = max(low, b"\1")
    return low, high


def range_request(op: RangeOp[bytes]) -> pb.RangeRequest:
    """A read. Invalid."""
    check_range(op)
    key, end = interval(op.key, op.end, op.prefix)
    order = pb.RangeRequest.SortOrder.NONE
    if op.sort is not None or op.descending:
        order = pb.RangeRequest.SortOrder.DESCEND if op.descending else pb.RangeRequest.SortOrder.ASCEND
    return pb.RangeRequest(
        key=key,
        range_end=end,
        limit=op.limit,
        revision=op.revision,
        sort_order=order,
        sort_target=_SORTS[op.sort or SortBy.KEY],
        keys_only=op.keys_only,
        count_only=op.count_only,
        min_mod_revision=op.min_mod,
        max_mod_revision=op.max_mod,
        min_create_revision=op.min_create,
        max_create_revision=op.max_create,
    )


def put_request(op: PutOp[bytes]) -> pb.PutRequest:
    """A put. Invalid."""
    check_put(op)
    return _put(op)


def _put(op: PutOp[bytes]) -> pb.PutRequest:
    return pb.PutRequest(
        key=op.key,
        value=op.value,
        lease=op.lease,
        prev_kv=op.prev_kv,
        ignore_value=op.ignore_value,
        ignore_lease=op.ignore_lease,
    )


def delete_request(op: DeleteOp[bytes]) -> pb.DeleteRangeRequest:
    """A delete. Invalid."""
    key, end = interval(op.key, op.end, op.prefix)
    return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=op.prev_kv)


def txn_request(op: TxnOp[bytes]) -> pb.TxnRequest:
    """A transaction. Invalid, TooManyOps, DuplicateKey, TooLarge."""
    check_txn(op)
    return _txn(op)


def _txn(op: TxnOp[bytes]) -> pb.TxnRequest:
    return pb.TxnRequest(
        compare=[_compare(each) for each in op.compares],
        success=[_op(each) for each in op.then],
        failure=[_op(each) for each in op.otherwise],
    )


def _op(op: Op[bytes]) -> pb.RequestOp:
    if isinstance(op, PutOp):
        return pb.RequestOp(request_put=_put(op))
    if isinstance(op, RangeOp):
        return pb.RequestOp(request_range=range_request(op))
    if isinstance(op, DeleteOp):
        return pb.RequestOp(request_delete_range=delete_request(op))
    return pb.RequestOp(request_txn=_txn(op))


def _compare(compare: Compare[bytes]) -> pb.Compare:
    key, end = interval(compare.key, compare.end, compare.prefix)
    message = pb.Compare(key=key, range_end=end, result=_SIGNS[compare.op], target=_TARGETS[compare.target])
    value = compare.value
    if isinstance(value, bytes):
        message.value = value
    elif compare.target is Target.VERSION:
        message.version = value
    elif compare.target is Target.CREATE:
        message.create_revision = value
    elif compare.target is Target.MOD:
        message.mod_revision = value
    else:
        message.lease = value
    return message


def watch_request(key: bytes, end: bytes | None, prefix: bool, skips: Collection[EventKind]) -> pb.WatchCreateRequest:
    """A watch, without where it begins and its id. Invalid."""
    low, high = interval(key, end, prefix)
    return pb.WatchCreateRequest(
        key=low,
        range_end=high,
        progress_notify=True,
        filters=[_FILTERS[kind] for kind in sorted(skips)],
        prev_kv=True,
        fragment=True,
    )


def entry(kv: pb.KeyValue) -> KeyValue[bytes]:
    """A key."""
    return KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def event(told: pb.Event) -> Event[bytes]:
    """A watch's event; of a delete only the key and the revision are told, as etcd does."""
    kind = EventKind.DELETE if told.type == pb.Event.EventType.DELETE else EventKind.PUT
    return Event(kind=kind, kv=entry(told.kv), prev=entry(told.prev_kv) if told.HasField("prev_kv") else None)


def range_result(response: pb.RangeResponse, revision: int = 0) -> RangeResult[bytes]:
    """`revision` is the transaction's, for a response without its own."""
    return RangeResult(
        kvs=tuple(map(entry, response.kvs)),
        revision=response.header.revision or revision,
        more=response.more,
        count=response.count,
    )


def put_result(op: PutOp[bytes], response: pb.PutResponse, revision: int = 0) -> int | PutResult[bytes]:
    made = response.header.revision or revision
    if not op.prev_kv:
        return made
    return PutResult(revision=made, prev=entry(response.prev_kv) if response.HasField("prev_kv") else None)


def delete_result(op: DeleteOp[bytes], response: pb.DeleteRangeResponse) -> int | DeleteResult[bytes]:
    if not op.prev_kv:
        return response.deleted
    return DeleteResult(count=response.deleted, prev=tuple(map(entry, response.prev_kvs)))


def txn_result(op: TxnOp[bytes], response: pb.TxnResponse, revision: int = 0) -> TxnResult[bytes]:
    """The results beside the operations of the branch that ran; a nested transaction's revision is the whole's."""
    whole = response.header.revision or revision
    branch = op.then if response.succeeded else op.otherwise
    results = tuple(_result(each, got, whole) for each, got in zip(branch, response.responses, strict=True))
    return TxnResult(succeeded=response.succeeded, revision=whole, results=results)


def _result(op: Op[bytes], got: pb.ResponseOp, revision: int) -> Result[bytes]:
    if isinstance(op, PutOp):
        return put_result(op, got.response_put, revision)
    if isinstance(op, RangeOp):
        return range_result(got.response_range, revision)
    if isinstance(op, DeleteOp):
        return delete_result(op, got.response_delete_range)
    return txn_result(op, got.response_txn, revision)


def seconds(ttl: float) -> int:
    """A lease's time in etcd's whole seconds, never less than asked. Invalid, TtlTooLarge."""
    if not 0 < ttl <= MAX_TTL:
        wrong = TtlTooLarge if ttl > MAX_TTL else Invalid
        raise wrong(f"a lease of {ttl} s makes no sense; give a ttl above 0 and at most {MAX_TTL}")
    return -int(-ttl // 1)
