"""One transaction: choose the branches, check that they can run, run them. etcd's rules. Pure.

Every compare, nested ones too, is decided before anything runs, and so sees the keys before the transaction. What is
chosen is then checked: keys whose value a put would keep, leases that are not there, pasts that are not. Only then are
the operations run, each seeing those before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..errors import Compacted, Future, NoKey, StoreError
from ..kv import (
    Compare,
    DeleteOp,
    DeleteResult,
    Event,
    KeyValue,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Result,
    Target,
    TxnOp,
    TxnResult,
)
from .keyspace import bounds, shown
from .overlay import Overlay
from .ranges import select

Past = Mapping[RangeOp[bytes], "RangeResult[bytes] | Compacted"]


class Unread(StoreError):
    """A range of the past that nobody has read yet: read it, and evaluate the transaction again. No caller sees it."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A transaction with its branch decided."""

    held: bool
    ops: "tuple[PutOp[bytes] | DeleteOp[bytes] | RangeOp[bytes] | _Chosen, ...]"


class Transaction:
    """Over `keys` at `revision`; `past` answers ranges that name a revision. `events` is what it did."""

    def __init__(self, keys: Overlay, revision: int, lease: Callable[[int], None], past: Past) -> None:
        self.events: list[Event[bytes]] = []
        self._keys, self._before, self._lease, self._past = keys, revision, lease, past

    def run(self, txn: TxnOp[bytes]) -> TxnResult[bytes]:
        """Invalid, NotFound, Future, Unread: nothing was done."""
        chosen = self._choose(txn)
        self._check_puts(chosen)
        self._check_ranges(chosen)
        return self._execute(chosen)

    def _choose(self, txn: TxnOp[bytes]) -> _Chosen:
        held = all(self._holds(compare) for compare in txn.compares)
        ops = txn.then if held else txn.otherwise
        return _Chosen(held, tuple(self._choose(op) if isinstance(op, TxnOp) else op for op in ops))

    def _holds(self, compare: Compare[bytes]) -> bool:
        if compare.end is None and not compare.prefix:
            return _holds(compare, self._keys.get(compare.key))
        keys = self._keys.between(*bounds(compare.key, compare.end, compare.prefix))
        entries = [entry for key in keys if (entry := self._keys.get(key)) is not None]
        return all(_holds(compare, entry) for entry in entries or (None,))

    def _check_puts(self, chosen: _Chosen) -> None:
        for op in chosen.ops:
            if isinstance(op, _Chosen):
                self._check_puts(op)
            elif isinstance(op, PutOp):
                if (op.ignore_value or op.ignore_lease) and self._keys.get(op.key) is None:
                    raise no_key(op)
                if op.lease:
                    self._lease(op.lease)

    def _check_ranges(self, chosen: _Chosen) -> None:
        for op in chosen.ops:
            if isinstance(op, _Chosen):
                self._check_ranges(op)
            elif isinstance(op, RangeOp) and op.revision:
                if op.revision > self._before:
                    raise future(op.revision, self._before)
                if op not in self._past:
                    raise Unread
                if isinstance(late := self._past[op], Compacted):
                    raise late

    def _execute(self, chosen: _Chosen) -> TxnResult[bytes]:
        results = tuple(self._execute(op) if isinstance(op, _Chosen) else self._apply(op) for op in chosen.ops)
        return TxnResult(succeeded=chosen.held, revision=self._revision, results=results)

    @property
    def _revision(self) -> int:
        return self._before + 1 if self.events else self._before

    def _apply(self, op: PutOp[bytes] | DeleteOp[bytes] | RangeOp[bytes]) -> Result[bytes]:
        revision = self._before + 1
        if isinstance(op, PutOp):
            event = self._keys.put(op, revision)
            self.events.append(event)
            return PutResult(revision=revision, prev=event.prev) if op.prev_kv else revision
        if isinstance(op, RangeOp):
            return self._read(op)
        doomed = select(RangeOp(op.key, op.end, op.prefix), self._keys, revision).kvs
        self.events.extend(self._keys.delete(entry, revision) for entry in doomed)
        return DeleteResult(count=len(doomed), prev=doomed) if op.prev_kv else len(doomed)

    def _read(self, op: RangeOp[bytes]) -> RangeResult[bytes]:
        if not op.revision:
            return select(op, self._keys, self._revision)
        found = self._past[op]
        assert isinstance(found, RangeResult)
        return replace(found, revision=self._revision)


def no_key(op: PutOp[bytes]) -> NoKey:
    """The error of a put that would keep what is not there."""
    return NoKey(f"{shown(op.key)} does not exist, so there is no value or lease to keep; put it with one")


def future(revision: int, last: int) -> Future:
    """The error of a range that comes too early."""
    return Future(f"revision {revision} is yet to come; the store is at {last}")


def _holds(compare: Compare[bytes], entry: KeyValue[bytes] | None) -> bool:
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
