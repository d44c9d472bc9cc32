"""The past: the present with what came after it undone.

Every event says what was there before it. So a key's state at a revision is what the first later event of that key
replaced, and the present when there is none. Later events come from the log, page by page, and then from the ring in
memory, which ends at the present. A read costs what happened in its range since, not how many keys there are.
"""

from collections.abc import Container, Sequence

from ..kv import KeyValue, Op, RangeOp, TxnOp
from .feed import Feed, History
from .keyspace import bounds

Undo = dict[bytes, KeyValue[bytes] | None]


async def undo(op: RangeOp[bytes], feed: Feed, history: History) -> Undo:
    """What keys of the range were at `op.revision`, of those that changed since; exact until the next change. Compacted
    when `history` says so."""
    low, high = bounds(op.key, op.end, op.prefix)
    before: Undo = {}
    after = op.revision + 1
    while after < feed.first:
        batches, seen = await history(low, high, after, feed.first - 1)
        for batch in batches:
            for event in batch.events:
                before.setdefault(event.kv.key, event.prev)
        after = seen + 1
    for batch in feed.since(after):
        for event in batch.events:
            if event.kv.key >= low and (high is None or event.kv.key < high):
                before.setdefault(event.kv.key, event.prev)
    return before


def past_ranges(ops: Sequence[Op[bytes]], known: Container[RangeOp[bytes]]) -> list[RangeOp[bytes]]:
    """The ranges of a transaction, nested ones too, that name a revision and are not `known`."""
    found = list[RangeOp[bytes]]()
    for op in ops:
        if isinstance(op, TxnOp):
            found += past_ranges((*op.then, *op.otherwise), known)
        elif isinstance(op, RangeOp) and op.revision and op not in known:
            found.append(op)
    return found
