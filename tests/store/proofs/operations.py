"""What clients ask of a key and what they are told, whatever store and transport is between.

An operation is invoked at one moment and answered at a later one; it took effect at some moment between. One without an
answer has an unknown outcome: it may take effect at any later time, or never. One that certainly did nothing (refused
before it was sent) is no operation. Times are seconds of one monotonic clock, which processes of one machine share.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from typing import Literal, Protocol

from msgspec import Struct, structs

from .watching import Message, Wanted


class Put(Struct, frozen=True, tag="put"):
    key: str
    value: str


class PutAll(Struct, frozen=True, tag="put-all"):
    """A transaction that puts one value in several keys."""

    keys: tuple[str, ...]
    value: str


class Get(Struct, frozen=True, tag="get"):
    key: str


class Delete(Struct, frozen=True, tag="delete"):
    key: str


class Swap(Struct, frozen=True, tag="swap"):
    """A transaction: put when the key's mod revision or version is as expected (0: there is no key)."""

    key: str
    value: str
    field: Literal["mod", "version"]
    expected: int


class Written(Struct, frozen=True, tag="written"):
    revision: int


class Found(Struct, frozen=True, tag="found"):
    """`value` None: no key. `version` and the store's `revision` when the client was told."""

    value: str | None
    mod: int = 0
    version: int | None = None
    revision: int | None = None


class Removed(Struct, frozen=True, tag="removed"):
    """How many keys; and the revision that did it, when the client was told."""

    count: int
    revision: int | None = None


class Swapped(Struct, frozen=True, tag="swapped"):
    """Whether it was put; and the store's revision, which then is the key's, when the client was told."""

    succeeded: bool
    revision: int | None = None


Call = Put | PutAll | Get | Delete | Swap
Answer = Written | Found | Removed | Swapped


class Operation(Struct, frozen=True):
    """One call from its invocation to its answer; `answer` and `returned` are None while the outcome is unknown."""

    client: str
    call: Call
    invoked: float
    answer: Answer | None = None
    returned: float | None = None


class Refused(Exception):
    """The call certainly had no effect."""


class Lost(Exception):
    """Nobody knows whether the call had or will have an effect; or a watch has ended before its time."""


class Client(Protocol):
    """One client of a store under test."""

    async def perform(self, call: Call) -> Answer:
        """Refused or Lost when there is no answer."""
        ...

    def watch(self, wanted: Wanted, start: int) -> AsyncGenerator[Message, None]:
        """What the watch says from revision `start` on, for ever; ends with Lost."""
        ...


def write_revision(operation: Operation) -> int | None:
    """The revision that the operation made, when it made one and somebody was told."""
    match operation.answer:
        case Written(revision=revision):
            return revision
        case Removed(count=1, revision=revision) | Swapped(succeeded=True, revision=revision):
            return revision
    return None


def by_key(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """What was done to each key; a change of several keys is one of each."""
    found = defaultdict[str, list[Operation]](list)
    for operation in operations:
        call = operation.call
        if isinstance(call, PutAll):
            for key in call.keys:
                found[key].append(structs.replace(operation, call=Put(key, call.value)))
        else:
            found[call.key].append(operation)
    return found


def said(operation: Operation) -> str:
    """The operation in one line."""
    call, answer = _called(operation.call), _answered(operation.answer)
    end = "never" if operation.returned is None else f"{operation.returned:.6f}"
    return f"{operation.client}: {call} -> {answer}  [{operation.invoked:.6f} .. {end}]"


def _called(call: Call) -> str:
    match call:
        case Put(key=key, value=value):
            return f"put {key}={value}"
        case PutAll(keys=keys, value=value):
            return f"put {' and '.join(keys)}={value}"
        case Swap(key=key, value=value, field=field, expected=expected):
            return f"put {key}={value} if {field} = {expected}"
        case Get(key=key):
            return f"get {key}"
        case Delete(key=key):
            return f"delete {key}"


def _answered(answer: Answer | None) -> str:
    match answer:
        case None:
            return "outcome unknown"
        case Written(revision=revision):
            return f"revision {revision}"
        case Removed(count=count, revision=revision):
            return f"{count} deleted" + _at(revision)
        case Swapped(succeeded=succeeded, revision=revision):
            return ("done" if succeeded else "not as expected") + _at(revision)
        case Found(value=None, revision=revision):
            return "no key" + _at(revision)
        case Found(value=value, mod=mod, version=version, revision=revision):
            return f"{value} of revision {mod}" + (f", version {version}" if version else "") + _at(revision)


def _at(revision: int | None) -> str:
    return "" if revision is None else f" at revision {revision}"
