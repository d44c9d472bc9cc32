"""Changes evaluated over a keyspace and not yet durable.

Each transaction of a draft is one revision and sees those before it; the keyspace beneath is not touched (overlay.py).
When the draft is durable it is merged, and only then anybody can read it; when it could not be made durable it is
dropped, and nothing happened. A request is checked whole before anything of it is applied (requests.py). Pure: no
clock, no I/O.
"""

from collections.abc import Collection, Sequence

from .errors import NotFound
from .keyspace import Keyspace, select
from .kv import Compare, Event, KeyValue, Op, PutOp, RangeOp, RangeResult, Target, TxnResult, WatchBatch
from .overlay import Overlay
from .requests import check_compares, check_ops, check_put


class Draft:
    """Transactions over `base`, the leases they began and ended, and the events they made."""

    def __init__(self, base: Keyspace) -> None:
        self.base = base
        self.revision = base.revision
        self.batches: list[WatchBatch] = []
        self.granted: dict[int, float] = {}
        self.ended: set[int] = set()
        self._keys = Overlay(base)

    def put(self, op: PutOp) -> int:
        """A transaction of one put, by a shorter way; returns its revision."""
        check_put(op)
        self._check_leases((op,))
        revision = self.revision + 1
        self._close(revision, [self._keys.put(op, revision)])
        return revision

    def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> TxnResult:
        """Evaluate one transaction; raises and changes nothing when any part of it is invalid."""
        check_compares(compares)
        check_ops(then)
        check_ops(otherwise)
        held = all(_holds(compare, self._keys.get(compare.key)) for compare in compares)
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
        keys = set(self.base.leases.get(lease, ())) | set(self._keys.changed)
        revision, events = self.revision + 1, list[Event]()
        for key in sorted(keys):
            entry = self._keys.get(key)
            if entry is not None and entry.lease == lease:
                events.append(self._keys.delete(entry, revision))
        self._close(revision, events)
        self.granted.pop(lease, None)
        self.ended.add(lease)

    def merge(self) -> None:
        """The draft is durable: make it what everybody reads."""
        self._keys.merge()
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

    def _apply(self, op: Op, revision: int, events: list[Event]) -> int | RangeResult:
        if isinstance(op, PutOp):
            events.append(self._keys.put(op, revision))
            return revision
        if isinstance(op, RangeOp):
            return select(op, self._keys.get, self._keys.between, revision if events else self.revision)
        doomed = select(RangeOp(op.key, op.end, op.prefix), self._keys.get, self._keys.between, revision).kvs
        events.extend(self._keys.delete(entry, revision) for entry in doomed)
        return len(doomed)

    def _close(self, revision: int, events: list[Event]) -> None:
        if events:
            self.revision = revision
            self.batches.append(WatchBatch(revision=revision, events=tuple(events)))


def _holds(compare: Compare, entry: KeyValue | None) -> bool:
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


def _compare(have: int | bytes, op: str, want: int | bytes) -> bool:
    if op == "=":
        return have == want
    if op == "!=":
        return have != want
    if op == "<":
        return have < want  # type: ignore[operator]
    return have > want  # type: ignore[operator]
