"""A range at a revision of the past: the present with what came after it undone.

What changed since is in the index (changes.py); what a changed key was is what its first change superseded, found in
the ring while that change is in it, else in the log, by revision. Only what is to be shown is looked up. The present
goes on while the log is read: what changed meanwhile is undone too, until nothing is missing.
"""

import heapq
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence

from ..errors import Compacted
from ..kv import KeyValue, Op, RangeOp, RangeResult, TxnOp
from .changes import Before
from .feed import Feed
from .keyspace import Keyspace, bounds
from .ranges import is_ordered, select

Wanted = tuple[int, bytes]
Entries = dict[bytes, KeyValue[bytes]]
# the entries that keys had at revisions, of those that the log still has
Lookup = Callable[[Sequence[Wanted]], Awaitable[Entries]]


class PastView:
    """The keys of [low, high) at a revision."""

    def __init__(self, keys: Keyspace, revision: int, low: bytes, high: bytes | None) -> None:
        self._keys, self._seen, self._low, self._high = keys, revision, low, high
        self.before: Before = {}
        self.entries: Entries = {}
        self._gone: list[bytes] = []
        self._more = 0
        self.catch_up()

    def catch_up(self) -> None:
        """Undo what has changed since this was done last; what is asked for then is of the present's moment."""
        before, now = self.before, self._keys.items
        if self._seen == self._keys.revision:
            return
        self._keys.changes.since(self._seen, self._low, self._high, before)
        self._seen = self._keys.revision
        absent = [key for key in before if key not in now]
        self._gone = sorted(key for key in absent if before[key][0])
        self._more = sum(1 for had, _ in before.values() if had) - (len(before) - len(absent))

    def get(self, key: bytes) -> KeyValue[bytes] | None:
        """A key as it was; of those that changed since, those that `entries` has."""
        return self.entries.get(key) if key in self.before else self._keys.items.get(key)

    def has(self, key: bytes) -> bool:
        """Whether a key was there."""
        return self.before[key][0] > 0 if key in self.before else key in self._keys.items

    def between(self, low: bytes, high: bytes | None) -> Iterator[bytes]:
        """The keys that were there or are, ascending."""
        return heapq.merge(self._keys.between(low, high), self._gone) if self._gone else self._keys.between(low, high)

    def count(self, low: bytes, high: bytes | None) -> int:
        """How many keys there were."""
        return self._keys.count(low, high) + self._more

    def shown(self, op: RangeOp[bytes]) -> list[bytes]:
        """Changed keys whose entries the answer needs."""
        if op.count_only:
            return []
        if not op.limit or is_ordered(op):
            return [key for key, (had, _) in self.before.items() if had]
        found, left = list[bytes](), op.limit + 1  # one more says that there is more
        for key in self.between(self._low, self._high):
            if self.has(key):
                if key in self.before:
                    found.append(key)
                left -= 1
                if not left:
                    break
        return found


async def read_past(op: RangeOp[bytes], keys: Keyspace, feed: Feed, lookup: Lookup) -> RangeResult[bytes]:
    """Answer a range at `op.revision`, of which everything since is kept. Compacted when it no longer is."""
    view = PastView(keys, op.revision, *bounds(op.key, op.end, op.prefix))
    while missing := resolve(view, view.shown(op), feed):
        found = await lookup(missing)
        if len(found) < len(missing) or op.revision < keys.compacted:
            raise Compacted(f"revision {op.revision} was compacted meanwhile; range again", keys.compacted)
        view.entries |= found
        view.catch_up()
    return select(op, view, keys.revision)


def resolve(view: PastView, wanted: Sequence[bytes], feed: Feed) -> list[Wanted]:
    """Take from the ring what it has of changed keys; what is to be looked up elsewhere."""
    missing, replaced = list[Wanted](), dict[int, dict[bytes, KeyValue[bytes] | None]]()
    for key in wanted:
        if key in view.entries:
            continue
        had, changed = view.before[key]
        if changed < feed.first:
            missing.append((had, key))
            continue
        if changed not in replaced:
            events = feed.batch(changed).events
            replaced[changed] = {event.kv.key: event.prev for event in reversed(events)}
        entry = replaced[changed][key]
        assert entry is not None
        view.entries[key] = entry
    return missing


def past_ranges(ops: Sequence[Op[bytes]], known: Container[RangeOp[bytes]]) -> list[RangeOp[bytes]]:
    """The ranges of a transaction, nested ones too, that name a revision and are not `known`."""
    found = list[RangeOp[bytes]]()
    for op in ops:
        if isinstance(op, TxnOp):
            found += past_ranges((*op.then, *op.otherwise), known)
        elif isinstance(op, RangeOp) and op.revision and op not in known:
            found.append(op)
    return found
