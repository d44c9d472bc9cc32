"""Clients' histories against the store's own log: what was acknowledged is in it, what was read comes from it, and it
has nothing that nobody asked for, nor anything more often than it was asked for.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from .operations import Delete, Found, Operation, Put, Swap, by_key, said, write_revision
from .watching import Log


def check(history: Sequence[Operation], log: Log) -> tuple[str, ...]:
    """Every contradiction, one a line."""
    return (*_unlogged(history, log), *_unasked(history, log))


def _unlogged(history: Sequence[Operation], log: Log) -> Iterator[str]:
    for key, operations in by_key(history).items():
        for operation in operations:
            call, answer = operation.call, operation.answer
            revision, value = write_revision(operation), call.value if isinstance(call, Put | Swap) else None
            if isinstance(answer, Found) and answer.value is not None:
                revision, value = answer.mod, answer.value
            if revision is None:
                continue
            entry = log.told.get((revision, key))
            if entry is None or entry.change.value != value:
                there = "nothing" if entry is None else entry.change.value or "a delete"
                yield f"the log has {there} for {key} at revision {revision}, but {said(operation)}"


def _unasked(history: Sequence[Operation], log: Log) -> Iterator[str]:
    asked = Counter[tuple[str, str | None]]()
    for key, operations in by_key(history).items():
        for operation in operations:
            if isinstance(operation.call, Put | Swap):
                asked[key, operation.call.value] += 1
            elif isinstance(operation.call, Delete):
                asked[key, None] += 1
    logged = Counter((change.key, change.value) for change in log.changes)
    for (key, value), times in logged.items():
        if times > asked[key, value]:
            what = f"delete {key}" if value is None else f"put {key}={value}"
            yield f"the log has {what} {times} times, it was asked for {asked[key, value]} times"
