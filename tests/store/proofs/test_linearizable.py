"""The checker of histories: what it accepts, what it refuses and how it says so."""

import itertools
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .linearizable import TooHard, check
from .operations import (
    Answer,
    Call,
    Delete,
    Found,
    Get,
    Operation,
    Put,
    PutAll,
    Removed,
    Swap,
    Swapped,
    Written,
)
from .register import NOTHING, State, successors
from .simulation import DIES, Bug, Simulation

pytestmark = pytest.mark.pure

QUIET = settings(derandomize=True, max_examples=60, database=None, deadline=None)
TURN = st.tuples(st.integers(0, 15), st.integers(0, 99))
TURNS = st.lists(TURN, max_size=120)


def op(times: str, call: Call, answer: Answer | None = None) -> Operation:
    """An operation that is invoked and answered at the times `from-to`; `from-` has an unknown outcome."""
    invoked, _, returned = times.partition("-")
    return Operation(f"c{invoked}", call, float(invoked), answer, float(returned) if returned else None)


def mod(value: str, expected: int) -> Swap:
    return Swap("k", value, "mod", expected)


PUT_A, PUT_B, GET, DELETE = Put("k", "a"), Put("k", "b"), Get("k"), Delete("k")

GOOD = {
    "nothing": [],
    "one after the other": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", GET, Found("a", 2, 1)),
        op("5-6", DELETE, Removed(1)),
        op("7-8", GET, Found(None)),
        op("9-10", DELETE, Removed(0)),
    ],
    "a read beside a write sees it or not": [
        op("1-9", PUT_A, Written(2)),
        op("2-3", GET, Found(None)),
        op("4-5", GET, Found("a", 2)),
    ],
    "writes beside each other take effect in the order of their revisions": [
        op("1-9", PUT_A, Written(3)),
        op("2-8", PUT_B, Written(2)),
        op("10-11", GET, Found("a", 3, 2)),
    ],
    "an unknown write appears late": [
        op("1-", PUT_A),
        op("2-3", PUT_B, Written(2)),
        op("4-5", GET, Found("b", 2, 1)),
        op("6-7", GET, Found("a", 3, 2)),
    ],
    "an unknown write never happened": [op("1-", PUT_A), op("2-3", GET, Found(None))],
    "an unknown write that nobody read makes a swap fail": [
        op("1-2", PUT_B, Written(2)),
        op("3-", PUT_A),
        op("4-5", mod("c", 2), Swapped(succeeded=False)),
    ],
    "an unknown write between two revisions counts in the version": [
        op("1-2", PUT_B, Written(2)),
        op("3-", PUT_A),
        op("4-5", PUT_B, Written(4)),
        op("6-7", GET, Found("b", 4, 3)),
    ],
    "an unknown delete and an unknown write": [
        op("1-2", PUT_A, Written(2)),
        op("3-", DELETE),
        op("4-", PUT_B),
        op("5-6", GET, Found("b", 4, 1)),
    ],
    "one of two swaps of the same revision": [
        op("1-2", PUT_A, Written(2)),
        op("3-6", mod("b", 2), Swapped(succeeded=True, revision=3)),
        op("4-5", mod("c", 2), Swapped(succeeded=False, revision=3)),
    ],
    "a swap of the version": [
        op("1-2", Swap("k", "a", "version", 0), Swapped(succeeded=True, revision=2)),
        op("3-4", Swap("k", "b", "version", 1), Swapped(succeeded=True, revision=3)),
        op("5-6", Swap("k", "c", "version", 1), Swapped(succeeded=False)),
    ],
    "a swap that was lost, and read": [
        op("1-2", PUT_A, Written(2)),
        op("3-", mod("b", 2)),
        op("4-5", GET, Found("b", 3, 2)),
    ],
    "an unknown write's revision is named by a swap": [
        op("1-", PUT_A),
        op("2-", PUT_A),
        op("3-4", mod("b", 3), Swapped(succeeded=True, revision=4)),
        op("5-6", GET, Found("b", 4, 2)),
    ],
    "a change of several keys": [
        op("1-2", PutAll(("j", "k"), "a"), Written(2)),
        op("3-", PutAll(("j", "k"), "b")),
        op("4-5", GET, Found("b", 3, 2)),
        op("6-7", Get("j"), Found("b", 3, 2)),
    ],
    "keys are apart": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", Get("other"), Found(None)),
        op("5-6", Put("other", "x"), Written(3)),
    ],
}

BAD = {
    "a stale read": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", PUT_B, Written(3)),
        op("5-6", GET, Found("a", 2)),
    ],
    "a read going back in time": [
        op("1-9", PUT_A, Written(2)),
        op("2-3", GET, Found("a", 2)),
        op("4-5", GET, Found(None)),
    ],
    "a lost update": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", mod("b", 2), Swapped(succeeded=True, revision=3)),
        op("5-6", GET, Found("b", 3, 1)),
    ],
    "a read of a value never written": [op("1-2", PUT_A, Written(2)), op("3-4", GET, Found("z", 2))],
    "a read of a value that is yet to be written": [op("1-2", GET, Found("a", 2)), op("3-4", PUT_A, Written(2))],
    "an unknown write read before it was invoked": [op("1-2", GET, Found("a", 2)), op("3-", PUT_A)],
    "a swap that succeeded twice": [
        op("1-2", PUT_A, Written(2)),
        op("3-6", mod("b", 2), Swapped(succeeded=True, revision=3)),
        op("4-5", mod("c", 2), Swapped(succeeded=True, revision=4)),
    ],
    "a swap that failed without a reason": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", mod("b", 2), Swapped(succeeded=False)),
    ],
    "an acknowledged write lost after a crash": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", PUT_B, Written(3)),
        op("5-", Put("k", "c")),
        op("6-7", GET, Found("a", 2)),
    ],
    "an acknowledged delete lost": [
        op("1-2", PUT_A, Written(2)),
        op("3-4", DELETE, Removed(1)),
        op("5-6", GET, Found("a", 2)),
    ],
    "a change of several keys lost in one": [
        op("1-2", PutAll(("j", "k"), "a"), Written(2)),
        op("3-4", Get("j"), Found("a", 2)),
        op("5-6", GET, Found(None)),
    ],
    "a delete of what is not there": [op("1-2", DELETE, Removed(1))],
    "an unknown write that appears, goes, and appears again": [
        op("1-", PUT_A),
        op("2-3", GET, Found("a", 2)),
        op("4-5", PUT_B, Written(3)),
        op("6-7", GET, Found("a", 2)),
    ],
    "an unknown write with no revision left for it": [
        op("1-2", PUT_B, Written(2)),
        op("3-", PUT_A),
        op("4-5", PUT_B, Written(3)),
        op("6-7", GET, Found("b", 3, 3)),
    ],
    "the right value of a wrong revision": [op("1-2", PUT_A, Written(2)), op("3-4", GET, Found("a", 3))],
    "writes against the order of their revisions": [op("1-2", PUT_A, Written(3)), op("3-4", PUT_B, Written(2))],
}

BAD_REVISIONS = {
    "the revision went back": [op("1-2", PUT_A, Written(3)), op("3-4", Put("other", "x"), Written(2))],
    "the revision stood": [op("1-2", GET, Found(None, revision=5)), op("3-4", PUT_A, Written(5))],
    "a read at an older revision": [op("1-2", PUT_A, Written(3)), op("3-4", Get("other"), Found(None, revision=2))],
    "a revision made twice": [op("1-4", PUT_A, Written(3)), op("2-3", Put("other", "x"), Written(3))],
    "a read that is not of its revision": [
        op("1-8", PUT_A, Written(3)),
        op("2-9", PUT_B, Written(4)),
        op("3-7", GET, Found("a", 3, revision=5)),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_some_order_explains_is_ok(name: str) -> None:
    verdict = check(GOOD[name])
    assert verdict.ok, str(verdict)


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_refused(name: str) -> None:
    assert any(problem.startswith("key k: no order") for problem in check(BAD[name]).problems)


@pytest.mark.parametrize("name", BAD_REVISIONS)
def test_revisions_that_contradict_real_time_are_refused_across_keys(name: str) -> None:
    assert not check(BAD_REVISIONS[name]).ok


def test_a_refusal_names_the_key_what_fitted_and_what_does_not() -> None:
    assert str(check(BAD["a stale read"])) == (
        "key k: no order explains the answers; the longest that fits has 2 of 3 answered operations, and ends with:\n"
        "    c1: put k=a -> revision 2  [1.000000 .. 2.000000]\n"
        "    c3: put k=b -> revision 3  [3.000000 .. 4.000000]\n"
        "  then the key is b of revision 3, version 2, and none of these fits next:\n"
        "    c5: get k -> a of revision 2  [5.000000 .. 6.000000]"
    )
    assert "(nobody wrote this)" in str(check(BAD["a read of a value never written"]))


def test_a_record_that_cannot_be_is_an_error() -> None:
    for wrong in (op("1-2", GET, Written(2)), op("2-1", PUT_A, Written(2)), op("1-2", PUT_A)):
        with pytest.raises(ValueError, match="no operation"):
            check([wrong])


def test_too_much_effort_is_an_error_and_never_ok() -> None:
    history = [op(f"{time}-", Swap("k", "x", "mod", time)) for time in range(20)]
    history += [op(f"{30 + time}-60", Put("k", "y"), Written(2 + 3 * time)) for time in range(10)]
    history += [op("70-71", GET, Found("z", 2))]
    with pytest.raises(TooHard, match="no answer after 1000 steps"):
        check(history, effort=1000)


def test_many_unknown_writes_that_nobody_read_are_alike() -> None:
    history = [op(f"{time}-", Put("k", f"v{time}")) for time in range(60)]
    history += [op("70-71", GET, Found("never", 5))]
    assert not check(history, effort=1000).ok


def play(turns: list[tuple[int, int]], simulation: Simulation) -> list[Operation]:
    for client, choice in turns:
        simulation.turn(client, choice)
    return simulation.operations()


@QUIET
@given(turns=TURNS, values=st.sampled_from([0, 1, 2]))
def test_a_right_store_always_passes(turns: list[tuple[int, int]], values: int) -> None:
    verdict = check(play(turns, Simulation(values=values)))
    assert verdict.ok, str(verdict)


@pytest.mark.parametrize("bug", Bug)
def test_every_planted_bug_is_caught(bug: Bug) -> None:
    dice = random.Random(1)
    caught = 0
    for _ in range(20):
        turns = [(dice.randrange(16), dice.randrange(100)) for _ in range(200)]
        assert check(play(turns, Simulation())).ok
        caught += not check(play(turns, Simulation(bug))).ok
    assert caught >= 15


def by_trying_all(history: list[Operation]) -> bool:
    """Linearizability by its definition: any order of the answered operations and some of the others."""
    known = [each for each in history if each.answer is not None]
    unknown = [each for each in history if each.answer is None]
    return any(
        _explained(order)
        for count in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *chosen])
    )


def _explained(order: tuple[Operation, ...]) -> bool:
    earliest = math.inf
    for each in reversed(order):
        earliest = min(earliest, math.inf if each.returned is None else each.returned)
        if earliest < each.invoked:
            return False
    states: set[State] = {NOTHING}
    for each in order:
        states = {after for state in states for after in successors(each, state)}
    return bool(states)


CALLS: st.SearchStrategy[Call] = st.sampled_from(
    [PUT_A, PUT_B, GET, DELETE, mod("a", 2), mod("b", 3), Swap("k", "a", "version", 1)]
)


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    return list(_drawn(draw, draw(st.integers(1, 5))))


def _drawn(draw: st.DrawFn, count: int) -> Iterator[Operation]:
    for _ in range(count):
        call, invoked, revision = draw(CALLS), draw(st.integers(0, 6)), draw(st.integers(2, 5))
        answers: list[Answer | None] = [None]
        match call:
            case Put():
                answers += [Written(revision)] * 3
            case Get():
                answers += [Found(None), Found("a", revision), Found("b", revision)]
            case Delete():
                answers += [Removed(0), Removed(1), Removed(1, revision)]
            case Swap():
                answers += [Swapped(succeeded=False), Swapped(succeeded=True, revision=revision)]
        answer = draw(st.sampled_from(answers))
        yield Operation("c", call, invoked, answer, None if answer is None else invoked + draw(st.integers(0, 6)))


@settings(QUIET, max_examples=300)
@given(history=small_histories())
def test_the_search_agrees_with_trying_all_orders(history: list[Operation]) -> None:
    refused = any(problem.startswith("key") for problem in check(history).problems)
    assert refused != by_trying_all(history)


def test_ten_thousand_operations_of_sixteen_clients_on_twenty_keys_are_little_effort() -> None:
    simulation, dice = Simulation(clients=16, keys=20), random.Random(3)
    for _ in range(20):
        for _ in range(1600):
            simulation.turn(dice.randrange(16), dice.randrange(DIES))
        simulation.turn(0, DIES)
    history = simulation.operations()
    assert len(history) > 10_000
    verdict = check(history, effort=30_000)
    assert verdict.ok, str(verdict)
