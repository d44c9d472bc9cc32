"""The current keys in memory, and drafts over them.

A `Keyspace` holds what is committed. A `Draft` evaluates transactions on top of it without touching it: each is one
revision and sees those before it. When the draft is durable it is merged, and only then anybody can read it; when it
could not be made durable it is dropped, and nothing happened. Pure: no clock, no I/O.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .errors import Invalid, NotFound
from .kv import (
    Compare,
    DeleteOp,
    Event,
    EventKind,
    KeyValue,
    Op,
    PutOp,
    RangeOp,
    RangeResult,
    Target,
    TxnResult,
    WatchBatch,
)

MAX_KEY = 4096


def upper_bound(prefix: str) -> str | None:
    """The first key after every key that begins with `prefix`; None when there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        if ord(prefix[index]) < 0x10FFFF:
            following = ord(prefix[index]) + 1
            # no character lives in the surrogate range
            return prefix[:index] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)
    return None


@dataclass(slots=True)
class Keyspace:
    """Committed keys in order, which lease holds which, and the revision."""

    revision: int = 0
    items: dict[str, KeyValue] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    leases: dict[int, set[str]] = field(default_factory=dict)

    def set(self, entry: KeyValue) -> None:
        """Put one committed key."""
        before = self.items.get(entry.key)
        if before is None:
            insort(self.order, entry.key)
        elif before.lease and before.lease != entry.lease:
            self.leases.get(before.lease, set()).discard(entry.key)
        if entry.lease:
            self.leases.setdefault(entry.lease, set()).add(entry.key)
        self.items[entry.key] = entry

    def drop(self, key: str) -> None:
        """Remove one key, if there."""
        before = self.items.pop(key, None)
        if before is not None:
            del self.order[bisect_left(self.order, key)]
            self.leases.get(before.lease, set()).discard(key)

    def between(self, low: str, high: str | None) -> Iterator[str]:
        """Keys in [low, high), ascending; None is no end."""
        stop = len(self.order) if high is None else bisect_left(self.order, high)
        yield from self.order[bisect_left(self.order, low) : stop]

    def select(self, op: RangeOp) -> RangeResult:
        """Answer a range from what is committed."""
        return _select(op, self.items.get, self.between, self.revision)


class Draft:
    """Transactions evaluated over a keyspace and not yet durable."""

    def __init__(self, base: Keyspace) -> None:
        self.base = base
        self.revision = base.revision
        self.batches: list[WatchBatch] = []
        self.granted: dict[int, float] = {}
        self.ended: set[int] = set()
        self._changed: dict[str, KeyValue | None] = {}

    def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> TxnResult:
        """Evaluate one transaction; raises and changes nothing when an operation is invalid."""
        held = all(self._holds(compare) for compare in compares)
        ops = then if held else otherwise
        self._check(ops)
        revision, events = self.revision + 1, list[Event]()
        results = tuple(self._apply(op, revision, events) for op in ops)
        self._close(revision, events)
        return TxnResult(succeeded=held, revision=self.revision, results=results)

    def grant(self, lease: int, ttl: float) -> None:
        """Begin a lease."""
        self.granted[lease] = ttl

    def end(self, lease: int) -> None:
        """End a lease: its keys go in one revision. NotFound when there is none."""
        if not self._lives(lease):
            raise NotFound(f"lease {lease} does not exist; it has ended or was never granted")
        keys = set(self.base.leases.get(lease, ())) | set(self._changed)
        revision, events = self.revision + 1, list[Event]()
        for key in sorted(keys):
            entry = self._get(key)
            if entry is not None and entry.lease == lease:
                events.append(self._delete(key, entry, revision))
        self._close(revision, events)
        self.granted.pop(lease, None)
        self.ended.add(lease)

    def merge(self) -> None:
        """The draft is durable: make it what everybody reads."""
        for key, entry in self._changed.items():
            if entry is None:
                self.base.drop(key)
            else:
                self.base.set(entry)
        for lease in self.granted:
            self.base.leases.setdefault(lease, set())
        for lease in self.ended:
            self.base.leases.pop(lease, None)
        self.base.revision = self.revision

    def _lives(self, lease: int) -> bool:
        return lease not in self.ended and (lease in self.base.leases or lease in self.granted)

    def _check(self, ops: Sequence[Op]) -> None:
        put = [op.key for op in ops if isinstance(op, PutOp)]
        if len(put) != len(set(put)):
            raise Invalid("a transaction may put a key only once")
        for op in ops:
            if not op.key and not (isinstance(op, RangeOp | DeleteOp) and (op.prefix or op.end)):
                raise Invalid("an empty key names nothing; give a key")
            if len(op.key) > MAX_KEY:
                raise Invalid(f"a key of {len(op.key)} characters is longer than {MAX_KEY}")
            if isinstance(op, PutOp) and op.lease and not self._lives(op.lease):
                raise NotFound(f"lease {op.lease} does not exist; it has ended or was never granted")

    def _get(self, key: str) -> KeyValue | None:
        return self._changed[key] if key in self._changed else self.base.items.get(key)

    def _between(self, low: str, high: str | None) -> Iterator[str]:
        if not self._changed:
            yield from self.base.between(low, high)
            return
        inside = {key for key in self._changed if key >= low and (high is None or key < high)}
        yield from sorted(inside.union(self.base.between(low, high)))

    def _holds(self, compare: Compare) -> bool:
        entry = self._get(compare.key)
        if compare.target is Target.VALUE:
            return entry is not None and _compare(entry.value, compare.op, compare.value)
        if entry is None:
            return _compare(0, compare.op, compare.value)
        have = {
            Target.VERSION: entry.version,
            Target.CREATE: entry.create_revision,
            Target.MOD: entry.mod_revision,
            Target.LEASE: entry.lease,
        }[compare.target]
        return _compare(have, compare.op, compare.value)

    def _apply(self, op: Op, revision: int, events: list[Event]) -> int | RangeResult:
        if isinstance(op, PutOp):
            events.append(self._put(op, revision))
            return revision
        if isinstance(op, RangeOp):
            return _select(op, self._get, self._between, revision if events else self.revision)
        doomed = _select(RangeOp(op.key, op.end, op.prefix), self._get, self._between, revision).kvs
        events.extend(self._delete(entry.key, entry, revision) for entry in doomed)
        return len(doomed)

    def _put(self, op: PutOp, revision: int) -> Event:
        before = self._get(op.key)
        entry = KeyValue(
            key=op.key,
            value=op.value,
            create_revision=before.create_revision if before else revision,
            mod_revision=revision,
            version=before.version + 1 if before else 1,
            lease=op.lease,
        )
        self._changed[op.key] = entry
        return Event(kind=EventKind.PUT, kv=entry, prev=before)

    def _delete(self, key: str, before: KeyValue, revision: int) -> Event:
        self._changed[key] = None
        gone = KeyValue(key=key, value=b"", create_revision=0, mod_revision=revision, version=0)
        return Event(kind=EventKind.DELETE, kv=gone, prev=before)

    def _close(self, revision: int, events: list[Event]) -> None:
        if events:
            self.revision = revision
            self.batches.append(WatchBatch(revision=revision, events=tuple(events)))


def _compare(have: int | bytes, op: str, want: int | bytes) -> bool:
    if type(have) is not type(want):
        raise Invalid(f"cannot compare {type(have).__name__} with {type(want).__name__}")
    if op == "=":
        return have == want
    if op == "!=":
        return have != want
    if op == "<":
        return have < want  # type: ignore[operator]
    if op == ">":
        return have > want  # type: ignore[operator]
    raise Invalid(f"compare operator {op!r} is none of = != < >")


def _select(
    op: RangeOp,
    get: Callable[[str], KeyValue | None],
    between: Callable[[str, str | None], Iterator[str]],
    revision: int,
) -> RangeResult:
    if not op.prefix and op.end is None:
        entry = get(op.key)
        return RangeResult(kvs=() if entry is None else (entry,), revision=revision)
    found = list[KeyValue]()
    for key in between(op.key, upper_bound(op.key) if op.prefix else op.end):
        entry = get(key)
        if entry is None:
            continue
        if op.limit and len(found) == op.limit:
            return RangeResult(kvs=tuple(found), revision=revision, more=True)
        found.append(entry)
    return RangeResult(kvs=tuple(found), revision=revision)
