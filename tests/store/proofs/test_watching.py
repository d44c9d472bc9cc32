"""The checks of watches: right records pass whatever their form, and each planted wrong is called by its name."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .watching import Batch, Change, Log, Message, Previous, Progress, Session, Told, Wanted, check

pytestmark = pytest.mark.pure

LOG = Log(
    [
        Change(2, "a", "1"),
        Change(3, "a", "2"),
        Change(3, "b", "1"),
        Change(4, "a", None),
        Change(5, "b", "2"),
        Change(6, "a", "3"),
    ]
)
ALL = Wanted()


def told(*names: str) -> tuple[Told, ...]:
    """Events of the log by name: `2a 3b`."""
    return tuple(LOG.told[int(name[:-1]), name[-1]] for name in names)


def batch(*names: str, more: bool = False) -> Batch:
    return Batch(told(*names), more)


WHOLE: list[Message] = [batch("2a"), batch("3a", "3b"), batch("4a"), batch("5b"), batch("6a")]


def test_the_log_knows_what_was_there_before() -> None:
    assert [event.previous for event in told("2a", "3a", "4a", "5b", "6a")] == [
        None,
        Previous("1", 2),
        Previous("2", 3),
        Previous("1", 3),
        None,
    ]


RIGHT: dict[str, list[Session]] = {
    "nothing": [],
    "nothing yet": [Session(2, [])],
    "one batch a revision": [Session(2, WHOLE)],
    "several revisions in a batch": [Session(2, [batch("2a", "3a", "3b", "4a"), batch("5b", "6a")])],
    "a revision in fragments": [Session(2, [batch("2a", "3a", more=True), batch("3b", "4a"), *WHOLE[3:]])],
    "fragments whose rest is lost are told again": [
        Session(2, [batch("2a"), batch("3a", more=True)]),
        Session(3, WHOLE[1:]),
    ],
    "progress after the events": [
        Session(2, [*WHOLE[:2], Progress(3), WHOLE[2], Progress(4), Progress(4), *WHOLE[3:]])
    ],
    "resumed after the last event": [Session(2, WHOLE[:2]), Session(4, WHOLE[2:])],
    "resumed after progress": [Session(2, [*WHOLE[:2], Progress(4 - 1)]), Session(4, []), Session(4, WHOLE[2:])],
    "begun anew after a listing": [Session(2, WHOLE[:1]), Session(5, WHOLE[3:], anew=True)],
}

WRONG: dict[str, tuple[str, list[Session]]] = {
    "a gap": ("Reliable", [Session(2, [*WHOLE[:2], *WHOLE[3:]])]),
    "half a revision": ("Reliable", [Session(2, [WHOLE[0], batch("3a"), *WHOLE[2:]])]),
    "the end is missing": ("Reliable", [Session(2, WHOLE[:4])]),
    "an event again": ("Unique", [Session(2, [*WHOLE[:3], WHOLE[2], *WHOLE[3:]])]),
    "revisions exchanged": ("Ordered", [Session(2, [WHOLE[1], WHOLE[0], *WHOLE[2:]])]),
    "revisions exchanged in a batch": ("Ordered", [Session(2, [batch("3a", "3b", "2a"), *WHOLE[2:]])]),
    "a revision in two batches": ("Atomic", [Session(2, [WHOLE[0], batch("3a"), batch("3b"), *WHOLE[2:]])]),
    "progress within a revision": (
        "Atomic",
        [Session(2, [WHOLE[0], batch("3a", more=True), Progress(2), batch("3b"), *WHOLE[2:]])],
    ),
    "progress too early": ("Bookmarkable", [Session(2, [*WHOLE[:2], Progress(4), *WHOLE[2:]])]),
    "progress goes back": ("Bookmarkable", [Session(2, [*WHOLE, Progress(6), Progress(5)])]),
    "a wrong previous value": (
        "Previous",
        [Session(2, [WHOLE[0], Batch((LOG.told[3, "a"], Told(Change(3, "b", "1"), Previous("0", 2)))), *WHOLE[2:]])],
    ),
    "no previous value": ("Previous", [Session(2, [*WHOLE[:3], Batch((Told(Change(5, "b", "2")),)), WHOLE[4]])]),
    "an event that never happened": ("True", [Session(2, [*WHOLE, Batch((Told(Change(7, "a", "9")),))])]),
    "another value": ("True", [Session(2, [Batch((Told(Change(2, "a", "9")),)), *WHOLE[1:]])]),
    "an event before the start": ("Reliable", [Session(3, WHOLE)]),
    "a gap at a resumption": ("Resumable", [Session(2, WHOLE[:2]), Session(4, WHOLE[3:])]),
    "a resumption too late": ("Resumable", [Session(2, WHOLE[:2]), Session(5, WHOLE[3:])]),
    "events again after a resumption": ("Resumable", [Session(2, WHOLE[:3]), Session(5, WHOLE[2:])]),
    "half a revision before, half after a resumption": (
        "Reliable",
        [Session(2, [WHOLE[0], batch("3a")]), Session(4, WHOLE[2:])],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_record_passes(name: str) -> None:
    assert check(RIGHT[name], LOG, ALL) == ()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_record_is_called_by_its_name(name: str) -> None:
    guarantee, sessions = WRONG[name]
    assert any(line.startswith(f"{guarantee}: ") for line in check(sessions, LOG, ALL, until=6))


def test_a_violation_is_a_line_that_says_what_and_where() -> None:
    assert check([Session(2, WHOLE[:2]), Session(4, WHOLE[3:])], LOG, ALL) == (
        "Resumable: delete a of revision 4 was never told, though all from 4 to 6 should be (session 1)",
    )


def test_filters_leave_out_what_was_not_asked_for_and_nothing_else() -> None:
    only_b = Wanted("b", "c")
    no_puts = Wanted(puts=False)
    bare = Wanted("b", previous=False)
    assert check([Session(2, [batch("3b"), Progress(4), batch("5b")])], LOG, only_b, until=6) == ()
    assert check([Session(2, [batch("4a")])], LOG, no_puts, until=6) == ()
    assert check([Session(4, [Batch((Told(Change(5, "b", "2")),))])], LOG, bare, until=6) == ()
    assert check([Session(2, [batch("3a", "3b"), batch("5b")])], LOG, only_b)[0].startswith("Filter: put a=2")
    assert check([Session(2, [batch("4a"), batch("5b")])], LOG, no_puts)[0].startswith("Filter: put b=2")
    assert check([Session(4, [batch("5b")])], LOG, bare)[0].startswith("Previous: ")
    assert check([Session(2, [batch("5b")])], LOG, only_b)[0].startswith("Reliable: put b=1")


DICE = st.integers(0, 2**32).map(random.Random)


def happened(dice: random.Random) -> Log:
    """Thirty revisions of one to four keys each."""
    return Log(
        [
            Change(revision, key, None if dice.random() < 0.2 else f"{revision}{key}")
            for revision in range(2, 32)
            for key in sorted(dice.sample("abcdef", dice.randint(1, 4)))
        ]
    )


def recorded(dice: random.Random, log: Log) -> list[Session]:
    """A right watch of it from the beginning, in batches, fragments and sessions of any size."""
    sessions = [Session(1, [])]
    events = [log.told[change.revision, change.key] for change in log.changes]
    while events:
        size = dice.randint(1, 6)
        taken, events = events[:size], events[size:]
        more = bool(events) and events[0].change.revision == taken[-1].change.revision
        sessions[-1].messages.append(Batch(tuple(taken), more))
        if not more and dice.random() < 0.3:
            sessions[-1].messages.append(Progress(taken[-1].change.revision))
        if dice.random() < 0.2:
            start = sessions[-1].reached() + 1
            events = [log.told[change.revision, change.key] for change in log.between(start, 99)]
            sessions.append(Session(start, []))
    return sessions


@settings(derandomize=True, max_examples=100, database=None, deadline=None)
@given(dice=DICE)
def test_any_right_watch_passes(dice: random.Random) -> None:
    log = happened(dice)
    assert check(recorded(dice, log), log, ALL, until=31) == ()


def drop(messages: list[Message], place: int) -> None:
    del messages[place]


def repeat(messages: list[Message], place: int) -> None:
    messages.insert(place, messages[place])


def exchange(messages: list[Message], place: int) -> None:
    messages.append(messages.pop(place))


def split(messages: list[Message], place: int) -> None:
    whole = messages[place]
    assert isinstance(whole, Batch)
    messages[place : place + 1] = [Batch(whole.events[:1]), Batch(whole.events[1:])]


def forget_previous(messages: list[Message], place: int) -> None:
    whole = messages[place]
    assert isinstance(whole, Batch)
    wrong = msgspec.structs.replace(whole.events[0], previous=Previous("wrong", 1))
    messages[place] = Batch((wrong, *whole.events[1:]))


def mark_early(messages: list[Message], place: int) -> None:
    whole = messages[place]
    assert isinstance(whole, Batch)
    messages.insert(place, Progress(whole.events[0].change.revision))


PLANTED = {
    "Reliable": drop,
    "Unique": repeat,
    "Ordered": exchange,
    "Atomic": split,
    "Previous": forget_previous,
    "Bookmarkable": mark_early,
}


@settings(derandomize=True, max_examples=25, database=None, deadline=None)
@given(dice=DICE)
@pytest.mark.parametrize("guarantee", PLANTED)
def test_a_wrong_planted_in_any_right_watch_is_found(guarantee: str, dice: random.Random) -> None:
    log = happened(dice)
    whole: Sequence[Message] = [
        Batch(tuple(log.told[change.revision, change.key] for change in log.between(revision, revision)))
        for revision in range(2, 32)
    ]
    messages = list(whole)
    several = [place for place, one in enumerate(whole[:-1]) if isinstance(one, Batch) and len(one.events) > 1]
    PLANTED[guarantee](messages, dice.choice(several))
    lines = check([Session(2, messages)], log, ALL, until=31)
    assert any(line.startswith(guarantee) for line in lines)
