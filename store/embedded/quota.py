"""What a request costs of the quota, in bytes: etcd's estimate. Pure.

A put costs its key and value and 256 more, a lease 64; a transaction what the dearer of its branches does, nested ones
included (etcd counts those as nothing). What costs nothing is always allowed.
"""

from collections.abc import Sequence

from ..kv import Op, PutOp, TxnOp

PUT, LEASE = 256, 64


def cost(op: Op[bytes]) -> int:
    """What an operation may add."""
    if isinstance(op, PutOp):
        return PUT + len(op.key) + len(op.value)
    if isinstance(op, TxnOp):
        return max(_sum(op.then), _sum(op.otherwise))
    return 0


def _sum(ops: Sequence[Op[bytes]]) -> int:
    return sum(map(cost, ops))
