"""The agent's verdicts: from orders, standing and fellows, whatever happened before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.sched.lifecycle import IDLE, Life, Result, Sub
from hawser.sched.model import Dependencies, Desired
from hawser.sched.orders import Fellow, Standing, Verdict, lost, verdict, waits_for
from hawser.sched.records import Intent

LAUNCHED, LOADED, INACTIVE = Desired.LAUNCHED, Desired.LOADED, Desired.INACTIVE


def intent(state: Desired, *, hash_: str = "h", revision: int = 5, restart: int = 0) -> Intent:
    return Intent(name="a.service", text="", hash=hash_, state=state, revision=revision, restart=restart)


def standing(sub: Sub, *, seen: int = 5, halt: bool = False) -> Standing:
    return Standing(hash="h", life=Life(sub=sub, halt=halt), seen=seen)


@pytest.mark.parametrize(
    ("wanted", "has", "said"),
    [
        (None, standing(Sub.RUNNING), Verdict.STOP),
        (None, standing(Sub.FAILED), Verdict.CLEAR),
        (intent(INACTIVE), standing(Sub.DEAD), Verdict.CLEAR),
        (intent(LOADED), standing(Sub.RUNNING), Verdict.STOP),
        (intent(LOADED), standing(Sub.AUTO_RESTART), Verdict.STOP),
        (intent(LOADED), standing(Sub.FAILED, seen=4), Verdict.NOTE),
        (intent(LOADED), standing(Sub.DEAD), Verdict.NOTHING),
        (intent(LAUNCHED), standing(Sub.DEAD), Verdict.NOTHING),
        (intent(LAUNCHED), standing(Sub.FAILED), Verdict.NOTHING),
        (intent(LAUNCHED), standing(Sub.DEAD, seen=4), Verdict.START),
        (intent(LAUNCHED), standing(Sub.FAILED, seen=4), Verdict.START),
        (intent(LAUNCHED), standing(Sub.AUTO_RESTART, seen=4), Verdict.START),
        (intent(LAUNCHED), standing(Sub.RUNNING, seen=4), Verdict.NOTE),
        (intent(LAUNCHED), standing(Sub.START_PRE, seen=4), Verdict.NOTE),
        (intent(LAUNCHED), standing(Sub.STOP, seen=4, halt=True), Verdict.NOTHING),
        (intent(LAUNCHED, restart=1), standing(Sub.RUNNING), Verdict.STOP),
        (intent(LAUNCHED, restart=1), standing(Sub.DEAD), Verdict.START),
        (intent(LAUNCHED, hash_="new"), standing(Sub.RUNNING), Verdict.STOP),
        (intent(LAUNCHED, hash_="new"), standing(Sub.DEAD), Verdict.CLEAR),
    ],
)
def test_verdicts(wanted: Intent | None, has: Standing, said: Verdict) -> None:
    assert verdict(wanted, has)[0] is said


def test_a_start_waits_and_a_loss_stops() -> None:
    assert verdict(intent(LAUNCHED), standing(Sub.DEAD, seen=4), "waits for b") == (Verdict.WAIT, "waits for b")
    assert verdict(intent(LAUNCHED), standing(Sub.RUNNING), lost="bound to b") == (Verdict.STOP, "bound to b")


@given(
    st.sampled_from([None, *Desired]), st.sampled_from(list(Sub)), st.integers(4, 5), st.integers(0, 1), st.booleans()
)
@settings(max_examples=80, deadline=None)
def test_nothing_starts_that_is_not_launched_and_idle(
    state: Desired | None, sub: Sub, seen: int, restart: int, changed: bool
) -> None:
    wanted = None if state is None else intent(state, hash_="new" if changed else "h", restart=restart)
    said, why = verdict(wanted, standing(sub, seen=seen))
    if said is Verdict.START:
        assert state is LAUNCHED
        assert not changed
        assert sub in (*IDLE, Sub.AUTO_RESTART)
    if said is Verdict.CLEAR:
        assert sub in IDLE
    if said is Verdict.STOP:
        assert sub not in IDLE
    if said not in (Verdict.NOTHING, Verdict.NOTE):
        assert why


def fellow(sub: Sub, *, launched: bool = True, due: bool = False, life: Life | None = None, **deps: str) -> Fellow:
    dependencies = Dependencies(**{key: (value,) for key, value in deps.items()})
    return Fellow(life=life or Life(sub=sub), dependencies=dependencies, launched=launched, due=due)


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        (fellow(Sub.START), True),
        (fellow(Sub.DEAD, due=True), True),
        (fellow(Sub.RUNNING), False),
        (fellow(Sub.FAILED), False),
        (fellow(Sub.START, launched=False), False),
    ],
)
def test_after_waits_while_the_other_is_on_its_way(other: Fellow, waits: bool) -> None:
    assert bool(waits_for("a", {"a": fellow(Sub.DEAD, after="b"), "b": other})) is waits
    assert not waits_for("a", {"a": fellow(Sub.DEAD, after="nowhere")})


def test_before_is_after_from_the_other_side() -> None:
    assert waits_for("a", {"a": fellow(Sub.DEAD), "b": fellow(Sub.START, before="a")})


def test_a_circle_binds_nobody() -> None:
    ring = {name: fellow(Sub.DEAD, due=True, after=other) for name, other in ("ab", "bc", "ca")}
    assert not any(waits_for(name, ring) for name in ring)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (fellow(Sub.RUNNING), ""),
        (fellow(Sub.EXITED), ""),
        (fellow(Sub.DEAD, life=Life(starts=1)), ""),
        (fellow(Sub.DEAD, life=Life(starts=1, halt=True)), "inactive (dead)"),
        (fellow(Sub.FAILED, life=Life(sub=Sub.FAILED, result=Result.EXIT_CODE)), "failed (failed)"),
        (fellow(Sub.START), "activating (start)"),
        (fellow(Sub.RUNNING, launched=False), "not launched"),
    ],
)
def test_requires_wants_the_other_active(other: Fellow, reason: str) -> None:
    here = {"a": fellow(Sub.DEAD, requires="b"), "b": other}
    assert waits_for("a", here) == (f"waits for b: {reason}" if reason else "")
    assert not lost("a", here)
    bound = {"a": fellow(Sub.RUNNING, binds_to="b"), "b": other}
    assert lost("a", bound) == (f"bound to b: {reason}" if reason else "")


def test_targets_are_always_there() -> None:
    assert not waits_for("a", {"a": fellow(Sub.DEAD, requires="network-online.target")})


def test_units_that_need_each_other_are_told_so() -> None:
    def needs(*others: str) -> Fellow:
        dependencies = Dependencies(requires=others[:1], binds_to=others[1:])
        return Fellow(life=Life(), dependencies=dependencies, launched=True, due=True)

    here = {"a": needs("b"), "b": needs("x", "c"), "c": needs("a"), "x": needs()}
    assert waits_for("a", here).endswith("take out a Requires= or BindsTo=")
    assert "take out" not in waits_for("a", here | {"c": needs()})
