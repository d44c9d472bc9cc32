"""etcd's requests as the store's operations, and results as etcd's responses. Pure.

What etcd takes without complaint is made into what the store understands: negative limits and revisions are none, and
a bound below every revision leaves nothing. What it refuses before it looks at any key is refused here.
"""

from ...embedded.requests import MAX_OPS
from ...errors import EmptyKey, NoKey, TooManyOps
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

_SORTS = (SortBy.KEY, SortBy.VERSION, SortBy.CREATE, SortBy.MOD, SortBy.VALUE)
_TARGETS = (Target.VERSION, Target.CREATE, Target.MOD, Target.VALUE, Target.LEASE)
_FIELDS = ("version", "create_revision", "mod_revision", "value", "lease")
_OPERATORS = ("=", ">", "<", "!=")
_NOTHING = 1
"""No key was changed at so low a revision."""


def range_op(request: pb.RangeRequest) -> RangeOp[bytes]:
    """EmptyKey."""
    if not request.key:
        raise EmptyKey("a range needs a key; give one")
    order, target = request.sort_order, request.sort_target
    sort = None
    if (order or target) and 0 <= target < len(_SORTS):
        sort = _SORTS[target]
    return RangeOp(
        request.key,
        end=request.range_end or None,
        limit=max(request.limit, 0),
        revision=max(request.revision, 0),
        keys_only=request.keys_only,
        count_only=request.count_only,
        sort=sort,
        descending=order == pb.RangeRequest.DESCEND,
        min_mod=max(request.min_mod_revision, 0),
        max_mod=_bound(request.max_mod_revision),
        min_create=max(request.min_create_revision, 0),
        max_create=_bound(request.max_create_revision),
    )


def put_op(request: pb.PutRequest) -> PutOp[bytes]:
    """EmptyKey."""
    if not request.key:
        raise EmptyKey("a put needs a key; give one")
    return PutOp(request.key, request.value, request.lease, request.prev_kv, request.ignore_value, request.ignore_lease)


def delete_op(request: pb.DeleteRangeRequest) -> DeleteOp[bytes]:
    """EmptyKey."""
    if not request.key:
        raise EmptyKey("a delete needs a key; give one")
    return DeleteOp(request.key, end=request.range_end or None, prev_kv=request.prev_kv)


def txn_op(request: pb.TxnRequest) -> TxnOp[bytes]:
    """EmptyKey; NoKey when an operation is none (etcd's words for it). TooManyOps of what is too long in itself."""
    longest = max(len(request.compare), len(request.success), len(request.failure))
    if longest > MAX_OPS:
        raise TooManyOps(f"a transaction of {longest} operations is longer than {MAX_OPS}; split it")
    return TxnOp(
        [_compare(compare) for compare in request.compare if _known(compare)],
        [_op(op) for op in request.success],
        [_op(op) for op in request.failure],
    )


def _op(request: pb.RequestOp) -> Op[bytes]:
    kind = request.WhichOneof("request")
    if kind == "request_put":
        return put_op(request.request_put)
    if kind == "request_range":
        return range_op(request.request_range)
    if kind == "request_delete_range":
        return delete_op(request.request_delete_range)
    if kind == "request_txn":
        return txn_op(request.request_txn)
    raise NoKey("an operation of the transaction is empty; say what to do")


def _known(compare: pb.Compare) -> bool:
    """A comparison of a kind that nobody knows always holds."""
    if not compare.key:
        raise EmptyKey("a compare needs a key; give one")
    return 0 <= compare.result < len(_OPERATORS)


def _compare(compare: pb.Compare) -> Compare[bytes]:
    operator = _OPERATORS[compare.result]
    if not 0 <= compare.target < len(_TARGETS):  # as if it were equal
        return Compare(compare.key, Target.VERSION, ">" if "=" in operator and operator != "!=" else "<", -1)
    value = getattr(compare, _FIELDS[compare.target])
    return Compare(compare.key, _TARGETS[compare.target], operator, value, end=compare.range_end or None)


def _bound(revision: int) -> int:
    return revision if revision >= 0 else _NOTHING


def kv_message(entry: KeyValue[bytes]) -> pb.KeyValue:
    """One key."""
    return pb.KeyValue(
        key=entry.key,
        create_revision=entry.create_revision,
        mod_revision=entry.mod_revision,
        version=entry.version,
        value=entry.value,
        lease=entry.lease,
    )


def event_message(event: Event[bytes], *, prev_kv: bool) -> pb.Event:
    """One event, with what was there before when that is asked for."""
    kv = event.kv
    if event.kind is EventKind.DELETE:
        message = pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=kv.key, mod_revision=kv.mod_revision))
    else:
        message = pb.Event(kv=kv_message(kv))
    if prev_kv and event.prev is not None:
        message.prev_kv.CopyFrom(kv_message(event.prev))
    return message


def range_response(result: RangeResult[bytes], header: pb.ResponseHeader) -> pb.RangeResponse:
    """What a range found."""
    return pb.RangeResponse(
        header=header, kvs=[kv_message(entry) for entry in result.kvs], more=result.more, count=result.count
    )


def txn_response(op: TxnOp[bytes], result: TxnResult[bytes], header: pb.ResponseHeader) -> pb.TxnResponse:
    """Which branch ran and what each of its operations said. Only revisions are in the headers within."""
    ops = op.then if result.succeeded else op.otherwise
    responses = [_response(each, answer, result.revision) for each, answer in zip(ops, result.results, strict=True)]
    return pb.TxnResponse(header=header, succeeded=result.succeeded, responses=responses)


def put_response(result: int | PutResult[bytes], header: pb.ResponseHeader) -> pb.PutResponse:
    """What a put replaced, when it was asked."""
    if isinstance(result, PutResult) and result.prev is not None:
        return pb.PutResponse(header=header, prev_kv=kv_message(result.prev))
    return pb.PutResponse(header=header)


def delete_response(result: int | DeleteResult[bytes], header: pb.ResponseHeader) -> pb.DeleteRangeResponse:
    """How many keys a delete found, and which, when it was asked."""
    if isinstance(result, DeleteResult):
        prevs = [kv_message(entry) for entry in result.prev]
        return pb.DeleteRangeResponse(header=header, deleted=result.count, prev_kvs=prevs)
    return pb.DeleteRangeResponse(header=header, deleted=result)


def _response(op: Op[bytes], result: Result[bytes], revision: int) -> pb.ResponseOp:
    if isinstance(result, TxnResult):
        assert isinstance(op, TxnOp)
        return pb.ResponseOp(response_txn=txn_response(op, result, pb.ResponseHeader()))
    if isinstance(result, RangeResult):
        return pb.ResponseOp(response_range=range_response(result, pb.ResponseHeader(revision=result.revision)))
    header = pb.ResponseHeader(revision=revision)
    if isinstance(result, PutResult) or isinstance(op, PutOp):
        assert not isinstance(result, DeleteResult)
        return pb.ResponseOp(response_put=put_response(result, header))
    return pb.ResponseOp(response_delete_range=delete_response(result, header))
