"""The one idea: planning is pure, sorted and convergent; failures wait and are forgotten in time."""

from collections.abc import Mapping

import hypothesis.strategies as st
import pytest
from hypothesis import given

from hawser.store.reconcile import Backoff, Phase, Retries, Step, Verb, plan

WORLD = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 3), max_size=8)


def depth(key: str, spec: object) -> int:
    return len(key)


def applied(world: Mapping[str, int], steps: tuple[Step[int], ...]) -> dict[str, int]:
    """What a driver does: nothing but what the steps say."""
    after = dict(world)
    for step in steps:
        if step.verb is Verb.DELETE:
            assert after.pop(step.key) == step.spec
        else:
            assert (step.key in after) == (step.verb is Verb.UPDATE)
            after[step.key] = step.spec
    return after


@given(desired=WORLD, observed=WORLD)
def test_applying_a_plan_converges_and_the_second_plan_is_empty(
    desired: dict[str, int], observed: dict[str, int]
) -> None:
    after = applied(observed, plan(desired, observed, rank=depth))
    assert after == desired
    assert plan(desired, after, rank=depth) == ()


@given(desired=WORLD, observed=WORLD, cut=st.integers(0, 16))
def test_a_plan_interrupted_anywhere_is_finished_by_the_rest_of_itself(
    desired: dict[str, int], observed: dict[str, int], cut: int
) -> None:
    steps = plan(desired, observed, rank=depth)
    halfway = applied(observed, steps[:cut])
    assert plan(desired, halfway, rank=depth) == steps[cut:]


@given(desired=WORLD, observed=WORLD)
def test_the_order_of_the_maps_does_not_matter(desired: dict[str, int], observed: dict[str, int]) -> None:
    backwards = plan(dict(reversed(desired.items())), dict(reversed(observed.items())), rank=depth)
    assert plan(desired, observed, rank=depth) == backwards


@given(desired=WORLD, observed=WORLD)
def test_what_depends_goes_first_and_comes_last(desired: dict[str, int], observed: dict[str, int]) -> None:
    steps = plan(desired, observed, rank=depth)
    deletes = [step.key for step in steps if step.verb is Verb.DELETE]
    others = [step.key for step in steps if step.verb is not Verb.DELETE]
    assert [step.key for step in steps] == deletes + others
    assert deletes == sorted(deletes, key=lambda key: (-len(key), key))
    assert others == sorted(others, key=lambda key: (len(key), key))


@given(desired=WORLD, observed=WORLD)
def test_a_plan_touches_nothing_that_is_as_wanted_and_says_why(
    desired: dict[str, int], observed: dict[str, int]
) -> None:
    steps = plan(desired, observed)
    assert {step.key for step in steps} == {
        key for key in {*desired, *observed} if desired.get(key) != observed.get(key)
    }
    assert all(step.reason for step in steps)


def test_steps_read_as_sentences() -> None:
    steps = plan(
        {"new": 1, "old": 2, "close": 10},
        {"old": 1, "gone": 1, "close": 11},
        differs=lambda wanted, have: f"is {have}, not {wanted}" if abs(wanted - have) == 1 and wanted < 5 else None,
    )
    assert [str(step) for step in steps] == [
        "delete gone: exists but is not wanted",
        "create new: is wanted but missing",
        "update old: is 1, not 2",
    ]


@given(attempts=st.integers(-1, 10_000), jitter=st.floats(0, 1))
def test_a_delay_doubles_up_to_its_cap_and_is_at_least_half(attempts: int, jitter: float) -> None:
    backoff = Backoff(base=0.1, cap=30.0)
    whole = min(30.0, 0.1 * 2 ** min(max(attempts, 1) - 1, 20))
    assert backoff.delay(attempts) == pytest.approx(whole)
    assert whole / 2 <= backoff.delay(attempts, jitter) <= whole


def test_a_failed_key_waits_longer_each_time_and_others_do_not_wait() -> None:
    retries = Retries(Backoff(base=1.0, cap=10.0))
    first = retries.failed("a", "no room", 100.0, revision=7)
    assert (first.phase, first.reason, first.attempts, first.revision) == (Phase.FAILED, "no room", 1, 7)
    assert (retries.due("a", 100.9), retries.due("a", 101.0), retries.due("b", 100.0)) == (False, True, True)
    assert retries.failed("a", "still no room", 101.0).attempts == 2
    assert retries.deadline() == 103.0
    retries.failed("b", "broken", 101.5)
    assert retries.deadline() == 102.5
    assert [(status.key, status.reason) for status in retries.statuses()] == [("a", "still no room"), ("b", "broken")]


def test_success_forgets_a_failure() -> None:
    retries = Retries(Backoff(base=1.0))
    retries.failed("a", "no room", 0.0)
    retries.failed("a", "no room", 1.0)
    retries.succeeded("a")
    retries.succeeded("never failed")
    assert (retries.due("a", 1.0), retries.deadline(), retries.statuses()) == (True, None, ())
    assert retries.failed("a", "again", 2.0).attempts == 1


def test_a_key_that_nobody_wants_any_more_wakes_nobody() -> None:
    retries = Retries(Backoff(base=1.0))
    retries.failed("withdrawn", "no room", 0.0)
    retries.failed("wanted", "no room", 5.0)
    retries.keep({"wanted", "new"})
    assert retries.deadline() == 6.0
    assert [status.key for status in retries.statuses()] == ["wanted"]
