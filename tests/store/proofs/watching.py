"""What a watch said, held against the log of what happened: etcd's guarantees (API guarantees, v3.6).

A watch is recorded as sessions: each asks from a revision on and is told messages until it breaks; the next one
resumes. Ordered: by revision. Unique: no event twice. Atomic: a revision whole in one batch, or in fragments that
follow each other. Reliable: nothing missing between the start and the last that was told. Resumable: the same of the
sessions that follow. Bookmarkable: a progress notification comes after all events up to its revision. Besides: events
are true, those asked for, and carry the right previous value. Each violation is a line that begins with the guarantee.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

from msgspec import Struct

BY_REVISION = attrgetter("revision")


class Change(Struct, frozen=True):
    """One key's change in the log; `value` None: deleted."""

    revision: int
    key: str
    value: str | None


class Previous(Struct, frozen=True):
    """What a key was before a change."""

    value: str
    mod: int


class Told(Struct, frozen=True):
    """One event."""

    change: Change
    previous: Previous | None = None


class Batch(Struct, frozen=True, tag="batch"):
    """One response, with the events of one revision or more; `more`: a fragment, the rest of it follows."""

    events: tuple[Told, ...]
    more: bool = False


class Progress(Struct, frozen=True, tag="progress"):
    """A notification without events."""

    revision: int


Message = Batch | Progress


class Session(Struct):
    """One watch from `start` on until it broke. `anew`: not resumed; the reader has listed the keys at start - 1."""

    start: int
    messages: list[Message]
    anew: bool = False

    def reached(self) -> int:
        """The revision up to which all was told, as far as the watch says itself: the next session starts after."""
        last = self.start - 1
        for message in _complete(self.messages):
            last = max(last, *revisions_of(message), 0)
        return last


class Wanted(Struct, frozen=True):
    """What a watch asked for: keys in [first, end), or from `first` on without an end; which kinds; and what was there
    before."""

    first: str = ""
    end: str = ""
    puts: bool = True
    deletes: bool = True
    previous: bool = True

    def includes(self, change: Change) -> bool:
        inside = self.first <= change.key and (not self.end or change.key < self.end)
        return inside and (self.deletes if change.value is None else self.puts)


class Log:
    """What happened, by revision."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = sorted(changes, key=BY_REVISION)
        self.told = {}  # by revision and key, each as a watch must tell it
        last = dict[str, Change]()
        for change in self.changes:
            before = last.get(change.key)
            there = before is not None and before.value is not None
            previous = Previous(before.value, before.revision) if there else None  # type: ignore[union-attr,arg-type]
            self.told[change.revision, change.key] = Told(change, previous)
            last[change.key] = change

    def between(self, first: int, last: int) -> Sequence[Change]:
        """Those of the revisions first to last, both included."""
        begin = bisect_left(self.changes, first, key=BY_REVISION)
        return self.changes[begin : bisect_right(self.changes, last, key=BY_REVISION)]


def check(sessions: Sequence[Session], log: Log, wanted: Wanted, *, until: int | None = None) -> tuple[str, ...]:
    """Every violation, one a line; none: all guarantees hold. `until`: the revision that the watch must have reached in
    the end."""
    lines = list[str]()
    reached: int | None = None
    for number, session in enumerate(sessions):
        if reached is not None and not session.anew and session.start != reached + 1:
            lines.append(f"Resumable: session {number} starts at {session.start}, told was all up to {reached}")
        guarantee = "Reliable" if number == 0 else "Resumable"
        last = max(session.reached(), until or 0) if session is sessions[-1] else session.reached()
        lines += (f"{line} (session {number})" for line in _session(session, log, wanted, guarantee, last))
        reached = session.reached()
    lines += _across(sessions)
    return tuple(lines)


def _session(session: Session, log: Log, wanted: Wanted, guarantee: str, last: int) -> Iterator[str]:
    messages = _complete(session.messages)
    events = [event for message in messages if isinstance(message, Batch) for event in message.events]
    yield from _ordered(events)
    yield from _unique(events)
    yield from _atomic(messages)
    yield from _bookmarkable(session.start, messages, log, wanted)
    yield from _true(session.start, events, log, wanted, guarantee)
    heard = {(event.change.revision, event.change.key) for event in events}
    for change in log.between(session.start, last):
        if wanted.includes(change) and (change.revision, change.key) not in heard:
            yield f"{guarantee}: {_said(change)} was never told, though all from {session.start} to {last} should be"


def _ordered(events: Sequence[Told]) -> Iterator[str]:
    for one, other in itertools.pairwise(events):
        if other.change.revision < one.change.revision:
            yield f"Ordered: {_said(other.change)} was told after {_said(one.change)}"


def _unique(events: Sequence[Told]) -> Iterator[str]:
    heard = set[tuple[int, str]]()
    for event in events:
        name = event.change.revision, event.change.key
        if name in heard:
            yield f"Unique: {_said(event.change)} was told again"
        heard.add(name)


def _atomic(messages: Sequence[Message]) -> Iterator[str]:
    """A revision may go on in the next message only when the one before it is a fragment."""
    ended = set[int]()
    going = set[int]()
    for message in messages:
        here = set(revisions_of(message)) if isinstance(message, Batch) else set[int]()
        for revision in sorted(here & ended):
            yield f"Atomic: the events of revision {revision} came in batches that do not belong together"
        going |= here
        if not (isinstance(message, Batch) and message.more):
            ended |= going
            going = set()


def _bookmarkable(start: int, messages: Sequence[Message], log: Log, wanted: Wanted) -> Iterator[str]:
    heard = set[tuple[int, str]]()
    mark = 0
    for message in messages:
        if isinstance(message, Batch):
            for event in message.events:
                heard.add((event.change.revision, event.change.key))
                if event.change.revision <= mark:
                    yield f"Bookmarkable: {_said(event.change)} came after progress at revision {mark}"
            continue
        if message.revision < mark:
            yield f"Bookmarkable: progress at revision {message.revision} came after progress at revision {mark}"
        for change in log.between(max(start, mark + 1), message.revision):
            if wanted.includes(change) and (change.revision, change.key) not in heard:
                yield f"Bookmarkable: {_said(change)} was not told before progress at revision {message.revision}"
        mark = max(mark, message.revision)


def _true(start: int, events: Sequence[Told], log: Log, wanted: Wanted, guarantee: str) -> Iterator[str]:
    for event in events:
        change = event.change
        truth = log.told.get((change.revision, change.key))
        if change.revision < start:
            yield f"{guarantee}: {_said(change)} was told, though the watch starts at {start}"
        if truth is None or truth.change != change:
            yield f"True: {_said(change)} was told, {'nothing such' if truth is None else _said(truth.change)} happened"
            continue
        if not wanted.includes(change):
            yield f"Filter: {_said(change)} was told, but not asked for"
        previous = truth.previous if wanted.previous else None
        if event.previous != previous:
            yield f"Previous: {_said(change)} was told with {_was(event.previous)} before it, right is {_was(previous)}"


def _across(sessions: Sequence[Session]) -> Iterator[str]:
    """No event in two sessions of which one resumed the other."""
    heard = dict[tuple[int, str], int]()
    for number, session in enumerate(sessions):
        if session.anew:
            heard.clear()
        for message in _complete(session.messages):
            for event in message.events if isinstance(message, Batch) else ():
                name = event.change.revision, event.change.key
                if heard.setdefault(name, number) != number:
                    yield f"Resumable: {_said(event.change)} was told in session {heard[name]} and in {number}"


def _complete(messages: Sequence[Message]) -> Sequence[Message]:
    """Without fragments at the end whose rest never came: a reader forgets them."""
    end = len(messages)
    while end and isinstance(last := messages[end - 1], Batch) and last.more:
        end -= 1
    return messages[:end]


def revisions_of(message: Message) -> list[int]:
    """Those that a message speaks of."""
    if isinstance(message, Progress):
        return [message.revision]
    return [event.change.revision for event in message.events]


def _said(change: Change) -> str:
    what = f"delete {change.key}" if change.value is None else f"put {change.key}={change.value}"
    return f"{what} of revision {change.revision}"


def _was(previous: Previous | None) -> str:
    return "nothing" if previous is None else f"{previous.value} of revision {previous.mod}"
