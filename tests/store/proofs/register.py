"""The sequential model of one key: a register as etcd has them, with what is known of its revisions.

The state is the value with its mod revision and version. An operation of unknown outcome makes a revision that nobody
was told; it stays unknown, with a floor under it, until a read or a compare that held names it. The floor rises with
every change, so writes that named their revisions must come in their order, and as many unnamed ones fit between as
there are numbers.
"""

from typing import NamedTuple

from .operations import Delete, Found, Get, Operation, Put, Removed, Swap, Swapped, Written, write_revision

UNKNOWN = -1


class State(NamedTuple):
    """`value` None: no key, with mod and version 0. `mod` may be UNKNOWN. `floor`: the last change's revision, or the
    least that it can be."""

    value: str | None
    mod: int
    version: int
    floor: int


NOTHING = State(None, 0, 0, 0)


def successors(operation: Operation, state: State) -> tuple[State, ...]:
    """The states that the operation can lead to with the answer it had; none: it cannot have happened here. `state`
    itself when it changes nothing. Without an answer: the state when it took effect (none when it would have had no
    effect, as if it never happened)."""
    match operation.call, operation.answer:
        case Put(value=value), Written() | None:
            return _put(state, value, write_revision(operation))
        case Get(), Found() as answer:
            return _read(state, answer)
        case Delete(), None:
            return _removed(state, None)
        case Delete(), Removed(count=0):
            return (state,) if state.value is None else ()
        case Delete(), Removed(count=1, revision=revision):
            return _removed(state, revision)
        case Swap() as swap, Swapped(succeeded=False):
            return () if _holds(swap, state) else (state,)
        case Swap() as swap, Swapped() | None:
            return _swapped(swap, state, write_revision(operation))
    return ()


def _change(state: State, value: str | None, version: int, revision: int | None) -> tuple[State, ...]:
    if revision is None:
        return (State(value, 0 if value is None else UNKNOWN, version, state.floor + 1),)
    if revision <= state.floor:
        return ()
    return (State(value, 0 if value is None else revision, version, revision),)


def _put(state: State, value: str, revision: int | None) -> tuple[State, ...]:
    return _change(state, value, state.version + 1, revision)


def _removed(state: State, revision: int | None) -> tuple[State, ...]:
    return () if state.value is None else _change(state, None, 0, revision)


def _read(state: State, found: Found) -> tuple[State, ...]:
    if found.value != state.value or (found.version is not None and found.version != state.version):
        return ()
    if found.value is None:
        return (state,)
    return _named(state, found.mod)


def _named(state: State, mod: int) -> tuple[State, ...]:
    """The state when its mod revision is `mod`."""
    if state.mod == mod:
        return (state,)
    if state.mod == UNKNOWN and mod >= state.floor:
        return (State(state.value, mod, state.version, mod),)
    return ()


def _holds(swap: Swap, state: State) -> bool:
    return swap.expected == (state.mod if swap.field == "mod" else state.version)


def _swapped(swap: Swap, state: State, revision: int | None) -> tuple[State, ...]:
    if swap.field == "version":
        return _put(state, swap.value, revision) if _holds(swap, state) else ()
    return tuple(after for named in _named(state, swap.expected) for after in _put(named, swap.value, revision))
