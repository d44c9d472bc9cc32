"""A range answered from any view of the keys: the committed ones, a draft's, or the past's. etcd's rules. Pure.

Unsorted and without bounds a limited range reads no more keys than it gives; sorted or bounded it reads all of them
first, as etcd does. The count is of the whole range always.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from ..errors import Invalid
from ..kv import KeyValue, RangeOp, RangeResult, SortBy
from .keyspace import bounds


class View(Protocol):
    """Keys to read; `between` may give keys that `get` no longer has, `count` counts what `get` has."""

    def get(self, key: bytes) -> KeyValue[bytes] | None: ...
    def between(self, low: bytes, high: bytes | None) -> Iterator[bytes]: ...
    def count(self, low: bytes, high: bytes | None) -> int: ...


SORT: dict[SortBy, Callable[[KeyValue[bytes]], Any]] = {
    SortBy.KEY: lambda entry: entry.key,
    SortBy.VERSION: lambda entry: entry.version,
    SortBy.CREATE: lambda entry: entry.create_revision,
    SortBy.MOD: lambda entry: entry.mod_revision,
    SortBy.VALUE: lambda entry: entry.value,
}


def select(op: RangeOp[bytes], view: View, revision: int) -> RangeResult[bytes]:
    """Answer a range; `revision` is what the answer says the store's is. Invalid."""
    check_range(op)
    if not op.prefix and op.end is None and not (op.count_only or op.keys_only or _bounded(op)):
        entry = view.get(op.key)
        return RangeResult(kvs=(), revision=revision) if entry is None else _one(entry, revision)
    low, high = bounds(op.key, op.end, op.prefix)
    count = view.count(low, high)
    if op.count_only:
        return RangeResult(kvs=(), revision=revision, count=count)
    bounded = _bounded(op)
    found: Iterator[KeyValue[bytes]] = (
        entry
        for key in view.between(low, high)
        if (entry := view.get(key)) is not None and (not bounded or _within(op, entry))
    )
    if _sorted(op):
        found = iter(sorted(found, key=SORT[op.sort or SortBy.KEY], reverse=op.descending))
    kvs = list[KeyValue[bytes]]()
    for entry in found:
        if op.limit and len(kvs) == op.limit:
            return RangeResult(kvs=_shown(op, kvs), revision=revision, more=True, count=count)
        kvs.append(entry)
    return RangeResult(kvs=_shown(op, kvs), revision=revision, count=count)


def is_ordered(op: RangeOp[bytes]) -> bool:
    """Whether all of a range is read whatever its limit."""
    return _sorted(op) or _bounded(op)


def check_range(op: RangeOp[bytes]) -> None:
    """Invalid when a range cannot be."""
    bounds(op.key, op.end, op.prefix)
    if op.limit < 0:
        raise Invalid(f"a limit of {op.limit} makes no sense; 0 is no limit")
    if min(op.revision, op.min_mod, op.max_mod, op.min_create, op.max_create) < 0:
        raise Invalid("a negative revision makes no sense; 0 is the store's own, and no bound")


def _one(entry: KeyValue[bytes], revision: int) -> RangeResult[bytes]:
    return RangeResult(kvs=(entry,), revision=revision, count=1)


def _sorted(op: RangeOp[bytes]) -> bool:
    return op.sort is not None or op.descending


def _bounded(op: RangeOp[bytes]) -> bool:
    return bool(op.min_mod or op.max_mod or op.min_create or op.max_create)


def _within(op: RangeOp[bytes], entry: KeyValue[bytes]) -> bool:
    return (
        entry.mod_revision >= op.min_mod
        and entry.create_revision >= op.min_create
        and (not op.max_mod or entry.mod_revision <= op.max_mod)
        and (not op.max_create or entry.create_revision <= op.max_create)
    )


def _shown(op: RangeOp[bytes], kvs: list[KeyValue[bytes]]) -> tuple[KeyValue[bytes], ...]:
    return tuple(replace(entry, value=b"") for entry in kvs) if op.keys_only else tuple(kvs)
