"""What a request may be, looked at whole before anything of it is applied: etcd's rules. Pure.

A transaction may put a key once, and not both put and delete it, in all that may run together: its own operations and
those of the transactions in it. The two branches of one never run together. Two rules are stricter than etcd's, which
overlooks a delete in a nested transaction after a put in another, and one from a key on beside any put: a key changes
once a revision here.
"""

from collections.abc import Sequence

from ..errors import DuplicateKey, Invalid, LeaseGiven, TooLarge, TooManyOps, ValueGiven
from ..kv import Compare, DeleteOp, Op, PutOp, RangeOp, Target, TxnOp
from .keyspace import bounds, check_key, shown
from .ranges import check_range

MAX_OPS = 128
MAX_VALUES = 3 * 512 * 1024  # etcd's --max-request-bytes
Interval = tuple[bytes, bytes | None]


def check_put(op: PutOp[bytes]) -> None:
    """What `check_txn` says of one put, by a shorter way. Invalid."""
    _check_put(op)
    _check_size([op])


def check_txn(txn: TxnOp[bytes]) -> None:
    """Invalid, TooManyOps, DuplicateKey. The limit is of compares and of each branch; what is nested has what is left
    of it."""
    _check_length(txn, MAX_OPS)
    for branch in (txn.then, txn.otherwise):
        _check_clashes(branch)
        _check_size(_puts(branch))


def _check_length(txn: TxnOp[bytes], most: int) -> None:
    longest = max(len(txn.compares), len(txn.then), len(txn.otherwise))
    if longest > most:
        raise TooManyOps(f"a transaction of {longest} operations is longer than {most}; split it")
    for compare in txn.compares:
        _check_compare(compare)
    for op in (*txn.then, *txn.otherwise):
        if isinstance(op, PutOp):
            _check_put(op)
        elif isinstance(op, RangeOp):
            check_range(op)
        elif isinstance(op, DeleteOp):
            bounds(op.key, op.end, op.prefix)
        else:
            _check_length(op, most - longest)


def _check_put(op: PutOp[bytes]) -> None:
    check_key(op.key)
    if type(op.value) is not bytes:
        raise Invalid(f"the value of {shown(op.key)} is {type(op.value).__name__}; a value is bytes")
    if op.ignore_value and op.value:
        raise ValueGiven(f"a put of {shown(op.key)} keeps its value, but one is given; give one of them")
    if op.ignore_lease and op.lease:
        raise LeaseGiven(f"a put of {shown(op.key)} keeps its lease, but one is given; give one of them")


def _check_clashes(ops: Sequence[Op[bytes]]) -> tuple[set[bytes], list[Interval]]:
    """The keys that a branch may put and delete. DuplicateKey."""
    puts, deletes = set[bytes](), list[Interval]()
    for op in ops:
        if isinstance(op, DeleteOp):
            deletes.append(bounds(op.key, op.end, op.prefix))
    for op in ops:
        if isinstance(op, TxnOp):
            branches = [_check_clashes(op.then), _check_clashes(op.otherwise)]
            for put, delete in branches:
                _check_apart(puts, deletes, put, delete)
            for put, delete in branches:
                puts |= put
                deletes += delete
    for op in ops:
        if isinstance(op, PutOp):
            _check_apart(puts, deletes, {op.key}, [])
            puts.add(op.key)
    return puts, deletes


def _check_apart(puts: set[bytes], deletes: list[Interval], put: set[bytes], delete: list[Interval]) -> None:
    if clash := next(iter(puts & put), None):
        raise DuplicateKey(f"a transaction may put {shown(clash)} only once")
    for keys, intervals in ((put, deletes), (puts, delete)):
        for low, high in intervals:
            if clash := next((key for key in keys if key >= low and (high is None or key < high)), None):
                raise DuplicateKey(f"a transaction may put or delete {shown(clash)}, not both")


def _puts(ops: Sequence[Op[bytes]]) -> list[PutOp[bytes]]:
    found = list[PutOp[bytes]]()
    for op in ops:
        if isinstance(op, PutOp):
            found.append(op)
        elif isinstance(op, TxnOp):
            found += _puts((*op.then, *op.otherwise))
    return found


def _check_size(puts: list[PutOp[bytes]]) -> None:
    size = sum(len(op.value) for op in puts)
    if size > MAX_VALUES:
        what = f"the value of {shown(puts[0].key)}" if len(puts) == 1 else f"the {len(puts)} values of a transaction"
        raise TooLarge(f"{what}: {size} bytes are more than {MAX_VALUES}; keep the bulk in files")


def _check_compare(compare: Compare[bytes]) -> None:
    bounds(compare.key, compare.end, compare.prefix)
    want = bytes if compare.target is Target.VALUE else int
    if type(compare.value) is not want:
        raise Invalid(f"cannot compare {compare.target} with {type(compare.value).__name__}; give {want.__name__}")
    if compare.op not in ("=", "!=", "<", ">"):
        raise Invalid(f"compare operator {compare.op!r} is none of = != < >")
