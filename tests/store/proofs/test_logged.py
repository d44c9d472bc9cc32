"""Histories against the store's log."""

import pytest

from .logged import check
from .operations import Delete, Found, Get, Operation, Put, PutAll, Removed, Swap, Swapped, Written
from .watching import Change, Log

pytestmark = pytest.mark.pure

HISTORY = [
    Operation("c", PutAll(("j", "k"), "a"), 1, Written(2), 2),
    Operation("c", Get("k"), 3, Found("a", 2), 4),
    Operation("c", Swap("k", "b", "mod", 2), 5, Swapped(succeeded=True, revision=3), 6),
    Operation("c", Swap("k", "c", "mod", 2), 7, Swapped(succeeded=False, revision=3), 8),
    Operation("c", Delete("j"), 9, Removed(1, 4), 10),
    Operation("c", Put("k", "d"), 11),
]
CHANGES = [Change(2, "j", "a"), Change(2, "k", "a"), Change(3, "k", "b"), Change(4, "j", None)]


def test_a_log_with_what_was_acknowledged_passes_with_the_unknown_and_without() -> None:
    assert check(HISTORY, Log(CHANGES)) == ()
    assert check(HISTORY, Log([*CHANGES, Change(5, "k", "d")])) == ()


@pytest.mark.parametrize("lost", range(len(CHANGES)))
def test_an_acknowledged_change_that_is_not_in_the_log_is_found(lost: int) -> None:
    lines = check(HISTORY, Log([change for number, change in enumerate(CHANGES) if number != lost]))
    assert f"the log has nothing for {CHANGES[lost].key} at revision {CHANGES[lost].revision}" in lines[0]


def test_another_value_in_the_log_is_found() -> None:
    assert len(check(HISTORY, Log([*CHANGES[:2], Change(3, "k", "x"), CHANGES[3]]))) == 2


def test_a_change_that_nobody_asked_for_is_found() -> None:
    assert check(HISTORY, Log([*CHANGES, Change(5, "k", "x")])) == (
        "the log has put k=x 1 times, it was asked for 0 times",
    )


def test_a_change_that_was_done_twice_is_found() -> None:
    assert check(HISTORY, Log([*CHANGES, Change(5, "k", "d"), Change(6, "k", "d")])) == (
        "the log has put k=d 2 times, it was asked for 1 times",
    )
