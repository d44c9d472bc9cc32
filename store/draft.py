"""Changes evaluated over a keyspace and not yet durable.

Each transaction of a draft is one revision and sees those before it; the keyspace beneath is not touched. When the
draft is durable it is merged, and only then anybody can read it; when it could not be made durable it is dropped, and
nothing happened. A request is checked whole before anything of it is applied. Pure: no clock, no I/O.
"""

import heapq
from collections.abc import Collection, Iterator, Sequence

from .errors import Invalid, NotFound
from .keyspace import Keyspace, bounds, check_key, select
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

MAX_OPS = 128
MAX_VALUES = 3 * 512 * 1024  # etcd's --max-request-bytes


class Draft:
    """Transactions over `base`, the leases they began and ended, and the events they made."""

    def __init__(self, base: Keyspace) -> None:
        self.base = base
        self.revision = base.revision
        self.batches: list[WatchBatch] = []
        self.granted: dict[int, float] = {}
        self.ended: set[int] = set()
        self._changed: dict[str, KeyValue | None] = {}

    def put(self, op: PutOp) -> int:
        """A transaction of one put, by a shorter way; returns its revision."""
        _check_op(op)
        _check_size((op,))
        self._check_leases((op,))
        revision = self.revision + 1
        self._close(revision, [self._put(op, revision)])
        return revision

    def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> TxnResult:
        """Evaluate one transaction; raises and changes nothing when any part of it is invalid."""
        _check_compares(compares)
        _check_ops(then)
        _check_ops(otherwise)
        held = all(self._holds(compare) for compare in compares)
        ops = then if held else otherwise
        self._check_leases(ops)
        revision, events = self.revision + 1, list[Event]()
        results = tuple(self._apply(op, revision, events) for op in ops)
        self._close(revision, events)
        return TxnResult(succeeded=held, revision=self.revision, results=results)

    def grant(self, lease: int, ttl: float) -> None:
        """Begin a lease."""
        self.granted[lease] = ttl

    def end(self, lease: int) -> None:
        """End a lease: its keys go in one revision. NotFound when there is none."""
        self._check_lease(lease)
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

    @property
    def empty(self) -> bool:
        """Whether there is nothing to make durable."""
        return not (self.batches or self.granted or self.ended)

    def is_in(self, revision: int, leases: Collection[int]) -> bool:
        """Whether the draft is part of what was made durable, which has this revision and these leases."""
        if self.batches:
            return revision >= self.revision
        return all(lease in leases for lease in self.granted) and not any(lease in leases for lease in self.ended)

    def _check_lease(self, lease: int) -> None:
        if lease in self.ended or not (lease in self.base.leases or lease in self.granted):
            raise NotFound(f"lease {lease} does not exist; it has ended or was never granted")

    def _check_leases(self, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op, PutOp) and op.lease:
                self._check_lease(op.lease)

    def _get(self, key: str) -> KeyValue | None:
        return self._changed[key] if key in self._changed else self.base.items.get(key)

    def _between(self, low: str, high: str | None) -> Iterator[str]:
        new = sorted(
            key for key in self._changed if key >= low and (high is None or key < high) and key not in self.base.items
        )
        return heapq.merge(self.base.order.between(low, high), new)

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
            return select(op, self._get, self._between, revision if events else self.revision)
        doomed = select(RangeOp(op.key, op.end, op.prefix), self._get, self._between, revision).kvs
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
        return Event(kind=EventKind.DELETE, kv=tombstone(key, revision), prev=before)

    def _close(self, revision: int, events: list[Event]) -> None:
        if events:
            self.revision = revision
            self.batches.append(WatchBatch(revision=revision, events=tuple(events)))


def tombstone(key: str, revision: int) -> KeyValue:
    """What a delete's event says: the key and the deleting revision; version 0."""
    return KeyValue(key=key, value=b"", create_revision=0, mod_revision=revision, version=0)


def _check_op(op: Op) -> None:
    if isinstance(op, PutOp):
        check_key(op.key)
        if type(op.value) is not bytes:
            raise Invalid(f"the value of {op.key} is {type(op.value).__name__}; a value is bytes")
    else:
        bounds(op.key, op.end, op.prefix)
        if isinstance(op, RangeOp) and op.limit < 0:
            raise Invalid(f"a limit of {op.limit} makes no sense; 0 is no limit")


def _check_ops(ops: Sequence[Op]) -> None:
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


def _check_compares(compares: Sequence[Compare]) -> None:
    for compare in compares:
        check_key(compare.key)
        want = bytes if compare.target is Target.VALUE else int
        if type(compare.value) is not want:
            raise Invalid(f"cannot compare {compare.target} with {type(compare.value).__name__}; give {want.__name__}")
        if compare.op not in ("=", "!=", "<", ">"):
            raise Invalid(f"compare operator {compare.op!r} is none of = != < >")


def _compare(have: int | bytes, op: str, want: int | bytes) -> bool:
    if op == "=":
        return have == want
    if op == "!=":
        return have != want
    if op == "<":
        return have < want  # type: ignore[operator]
    return have > want  # type: ignore[operator]
