"""When an instance counts as healthy: thresholds in a row, changes only, and time as an argument."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.mesh.health import Health, Heartbeat, Outcome, State
from hawser.mesh.model import PENDING

PASS, FAIL = Outcome(True, "accepts"), Outcome(False, "refused")


def health(rise: int = 1, fall: int = 2) -> Health:
    return Health(interval=2, rise=rise, fall=fall, now=100.0)


def test_pending_until_the_first_check_then_what_it_found() -> None:
    one = health()
    assert (one.state, one.reason, one.deadline()) == (State.PENDING, PENDING, 100.0)
    assert one.report(PASS)
    assert (one.state, one.reason) == (State.PASSING, "accepts")


def test_the_first_failure_is_worth_knowing_at_once() -> None:
    one = health(rise=3, fall=3)
    assert one.report(FAIL)
    assert (one.state, one.reason) == (State.FAILING, "refused")


def test_failures_must_be_in_a_row() -> None:
    one = health(fall=2)
    one.report(PASS)
    assert [one.report(outcome) for outcome in (FAIL, PASS, FAIL, FAIL)] == [False, False, False, True]
    assert one.state is State.FAILING


def test_passes_must_be_in_a_row() -> None:
    one = health(rise=2)
    assert [one.report(outcome) for outcome in (FAIL, PASS, FAIL, PASS, PASS)] == [True, False, False, False, True]


def test_a_check_is_due_an_interval_after_the_last_began() -> None:
    one = health()
    one.started(100.5)
    assert one.deadline() == 102.5


def test_after_a_restart_health_is_what_it_was_until_checks_say_otherwise() -> None:
    one = health(fall=2)
    one.adopt(healthy=True, reason="accepts", now=100.0, phase=0.5)
    assert (one.state, one.deadline()) == (State.PASSING, 101.0)
    assert [one.report(outcome) for outcome in (PASS, FAIL, FAIL)] == [False, False, True]


def test_after_a_restart_one_check_that_says_otherwise_is_enough() -> None:
    for healthy, outcome in ((True, FAIL), (False, PASS)):
        one = health(rise=3, fall=3)
        one.adopt(healthy=healthy, reason="so", now=100.0, phase=0)
        assert one.report(outcome)


def test_adopting_what_was_never_checked_is_still_pending() -> None:
    one = health()
    one.adopt(healthy=False, reason=PENDING, now=100.0, phase=0.5)
    assert (one.state, one.deadline()) == (State.PENDING, 100.0)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=80)
def test_the_state_is_what_the_last_results_in_a_row_say(results: list[bool], rise: int, fall: int) -> None:
    one, state = health(rise, fall), State.PENDING
    for index in range(len(results)):
        before = one.state
        changed = one.report(Outcome(results[index], str(results[index])))
        seen = results[: index + 1]
        if seen[-rise:] == [True] * rise:
            state = State.PASSING
        elif seen[-fall:] == [False] * fall or (state is State.PENDING and not results[index]):
            state = State.FAILING
        assert one.state is state
        assert changed is (before is not state)


def test_a_heart_beats_or_fails_after_its_ttl() -> None:
    heart = Heartbeat(ttl=10, now=100)
    assert (heart.deadline(), heart.state) == (110, State.PENDING)
    assert heart.beat(105)
    assert not heart.beat(106)
    assert not heart.expire(115.9)
    assert heart.expire(116)
    assert (heart.state, heart.reason, heart.deadline()) == (State.FAILING, "no beat for 10 s", None)
    assert not heart.expire(200)
    assert heart.beat(201)
    assert heart.deadline() == 211


def test_a_heart_adopted_has_one_more_ttl() -> None:
    heart = Heartbeat(ttl=10, now=100)
    heart.adopt(healthy=True, reason="beats", now=100)
    assert not heart.expire(109)
    assert heart.state is State.PASSING
    assert heart.expire(110)
