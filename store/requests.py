"""What a request may be, looked at whole before anything of it is applied: etcd's rules. Pure."""

from collections.abc import Sequence

from .errors import Invalid
from .keyspace import bounds, check_key
from .kv import Compare, DeleteOp, Op, PutOp, RangeOp, Target

MAX_OPS = 128
MAX_VALUES = 3 * 512 * 1024  # etcd's --max-request-bytes


def _check_op(op: Op) -> None:
    if isinstance(op, PutOp):
        check_key(op.key)
        if type(op.value) is not bytes:
            raise Invalid(f"the value of {op.key} is {type(op.value).__name__}; a value is bytes")
    else:
        bounds(op.key, op.end, op.prefix)
        if isinstance(op, RangeOp) and op.limit < 0:
            raise Invalid(f"a limit of {op.limit} makes no sense; 0 is no limit")


def check_put(op: PutOp) -> None:
    """What `check_ops` says of one put, by a shorter way. Invalid."""
    _check_op(op)
    _check_size((op,))


def check_ops(ops: Sequence[Op]) -> None:
    """etcd's rules: at most MAX_OPS, and no key may be put twice or both put and deleted."""
    if len(ops) > MAX_OPS:
        raise Invalid(f"a transaction of {len(ops)} operations is longer than {MAX_OPS}; split it")
    for op in ops:
        _check_op(op)
    _check_size(ops)
    puts = [op.key for op in ops if isinstance(op, PutOp)]
    if len(puts) != len(set(puts)):
        raise Invalid("a transaction may put a key only once")
    for op in ops:
        if isinstance(op, DeleteOp):
            low, high = bounds(op.key, op.end, op.prefix)
            if clash := next((key for key in puts if key >= low and (high is None or key < high)), None):
                raise Invalid(f"a transaction may put or delete {clash}, not both")


def _check_size(ops: Sequence[Op]) -> None:
    puts = [op for op in ops if isinstance(op, PutOp)]
    size = sum(len(op.value) for op in puts)
    if size > MAX_VALUES:
        what = f"the value of {puts[0].key}" if len(puts) == 1 else f"the {len(puts)} values of a transaction"
        raise Invalid(f"{what}: {size} bytes are more than {MAX_VALUES}; keep the bulk in files")


def check_compares(compares: Sequence[Compare]) -> None:
    """Invalid when a compare cannot be."""
    for compare in compares:
        check_key(compare.key)
        want = bytes if compare.target is Target.VALUE else int
        if type(compare.value) is not want:
            raise Invalid(f"cannot compare {compare.target} with {type(compare.value).__name__}; give {want.__name__}")
        if compare.op not in ("=", "!=", "<", ">"):
            raise Invalid(f"compare operator {compare.op!r} is none of = != < >")
