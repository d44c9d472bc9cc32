"""Revisions against real time, across all keys: the store has one revision at a time, and it never goes back.

Every answer is evidence that the store had reached a revision when it was given. An operation that was invoked later
makes a greater revision, or reads at one that is no less. Each revision is made by one operation. A read that names the
store's revision shows the key's last change up to it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from .operations import Found, Operation, Removed, Swapped, Written, by_key, said, write_revision


def revisions(operations: Sequence[Operation]) -> Iterator[str]:
    """Every violation, a readable text each."""
    yield from _shared(operations)
    yield from _going_back(operations)
    yield from _snapshots(operations)


def _evidence(operation: Operation) -> int:
    """The revision that the store certainly had when it answered."""
    match operation.answer:
        case Written(revision=revision):
            return revision
        case Found(mod=mod, revision=revision):
            return max(mod, revision or 0)
        case Removed(revision=revision) | Swapped(revision=revision):
            return revision or 0
    return 0


def _exact(operation: Operation) -> int | None:
    """The store's revision when the operation took effect."""
    match operation.answer:
        case Written(revision=revision):
            return revision
        case Found(revision=revision) | Removed(revision=revision) | Swapped(revision=revision):
            return revision
    return None


def _shared(operations: Sequence[Operation]) -> Iterator[str]:
    makers = dict[int, Operation]()
    for operation in operations:
        revision = write_revision(operation)
        if revision is not None and makers.setdefault(revision, operation) is not operation:
            yield f"revision {revision} was made twice:\n    {said(makers[revision])}\n    {said(operation)}"


def _going_back(operations: Sequence[Operation]) -> Iterator[str]:
    answered = sorted(
        ((op.returned, number) for number, op in enumerate(operations) if op.returned is not None), reverse=True
    )
    floor, witness = 0, None
    for operation in sorted(operations, key=lambda op: op.invoked):
        while answered and answered[-1][0] < operation.invoked:
            earlier = operations[answered.pop()[1]]
            if _evidence(earlier) > floor:
                floor, witness = _evidence(earlier), earlier
        exact = _exact(operation)
        if exact is None or witness is None:
            continue
        if exact < floor or (exact == floor and write_revision(operation) is not None):
            yield f"the revision went back:\n    {said(witness)}\n    {said(operation)}"


def _snapshots(operations: Sequence[Operation]) -> Iterator[str]:
    for history in by_key(operations).values():
        made = sorted(revision for operation in history if (revision := write_revision(operation)) is not None)
        for operation in history:
            answer = operation.answer
            if not isinstance(answer, Found) or answer.revision is None:
                continue
            place = bisect_right(made, answer.revision)
            last = made[place - 1] if place else 0
            if answer.mod > answer.revision or (answer.value is not None and last > answer.mod):
                yield f"this is not the key at that revision (it last changed in {last}):\n    {said(operation)}"
