"""A service's life: systemd's states, restarts, limits and timeouts, as tables of events."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.sched.compile import compile_unit
from hawser.sched.lifecycle import (
    IDLE,
    STARTING,
    STOPPING,
    Command,
    Done,
    Due,
    Event,
    Exited,
    Kill,
    Launch,
    Life,
    Result,
    Start,
    Stop,
    Sub,
    action,
    advance,
    judge,
    resume,
)
from hawser.sched.model import Restart, Service

FULL = ["ExecStartPre=p1", "ExecStartPre=-p2", "ExecStart=run", "ExecStartPost=q", "ExecStop=s", "ExecStopPost=t"]


def service(*lines: str) -> Service:
    lines = lines if any(line.startswith("ExecStart=") for line in lines) else ("ExecStart=run", *lines)
    return compile_unit("a.service", "[Service]\n" + "\n".join(lines) + "\n")


class Run:
    """A life driven by short words; `ok`/`bad` end the present action, a number is an exit code."""

    def __init__(self, unit: Service) -> None:
        self.unit, self.life, self.now = unit, Life(), 0.0

    def feed(self, *words: str | int) -> "Run":
        for word in words:
            self.life = advance(self.unit, self.life, self._event(word), self.now)
        return self

    def _event(self, word: str | int) -> Event:
        if isinstance(word, int):
            return Exited(word)
        if word.startswith("SIG"):
            return Exited(None, int(word[3:]))
        if word == "due":
            assert self.life.deadline is not None
            self.now = self.life.deadline
        events: dict[str, Event] = {
            "start": Start(),
            "stop": Stop("by order"),
            "ok": Done(self.life.step),
            "bad": Done(self.life.step, 1),
            "error": Done(self.life.step, error="no such image"),
            "due": Due(),
        }
        return events[word]

    @property
    def at(self) -> tuple[str, str]:
        return str(self.life.sub), str(self.life.result)


@pytest.mark.parametrize(
    ("lines", "words", "at"),
    [
        # start-up in order, and each way it fails
        ([], ["start"], ("start", "success")),
        ([], ["start", "ok"], ("running", "success")),
        (FULL, ["start"], ("start-pre", "success")),
        (FULL, ["start", "ok", "bad"], ("start", "success")),
        (FULL, ["start", "ok", "ok", "ok"], ("start-post", "success")),
        (FULL, ["start", "ok", "ok", "ok", "ok"], ("running", "success")),
        (FULL, ["start", "bad"], ("stop-sigterm", "exit-code")),
        (FULL, ["start", "bad", "ok"], ("stop-post", "exit-code")),
        (FULL, ["start", "bad", "ok", "ok"], ("failed", "exit-code")),
        (FULL, ["start", "ok", "ok", "error"], ("stop-sigterm", "resources")),
        (FULL, ["start", "ok", "ok", "ok", "bad"], ("stop-sigterm", "exit-code")),
        (FULL, ["start", "due"], ("stop-sigterm", "timeout")),
        (["ExecStart=-run"], ["start", "error", "ok"], ("dead", "success")),
        # the end of the process
        ([], ["start", "ok", 0], ("stop-sigterm", "success")),
        ([], ["start", "ok", 0, "ok"], ("dead", "success")),
        ([], ["start", "ok", 3, "ok"], ("failed", "exit-code")),
        (["ExecStart=-run"], ["start", "ok", 3, "ok"], ("dead", "success")),
        ([], ["start", "ok", "SIG15", "ok"], ("dead", "success")),
        ([], ["start", "ok", "SIG9", "ok"], ("failed", "signal")),
        ([], ["start", "ok", "SIG11", "ok"], ("failed", "core-dump")),
        (["SuccessExitStatus=3 SIGKILL"], ["start", "ok", 3, "ok"], ("dead", "success")),
        (["SuccessExitStatus=3 SIGKILL"], ["start", "ok", "SIG9", "ok"], ("dead", "success")),
        (["RemainAfterExit=yes"], ["start", "ok", 0], ("exited", "success")),
        (["RemainAfterExit=yes"], ["start", "ok", 0, "stop", "ok"], ("dead", "success")),
        (["RemainAfterExit=yes"], ["start", "ok", 1, "ok"], ("failed", "exit-code")),
        (FULL, ["start", "ok", "ok", "ok", 3], ("start-post", "exit-code")),
        (FULL, ["start", "ok", "ok", "ok", 3, "ok"], ("stop-sigterm", "exit-code")),
        (FULL, ["start", "ok", "ok", "ok", 0, "ok"], ("stop", "success")),
        # stopping
        (FULL, ["start", "ok", "ok", "ok", "ok", "stop"], ("stop", "success")),
        (FULL, ["start", "ok", "ok", "ok", "ok", "stop", "ok"], ("stop-sigterm", "success")),
        (FULL, ["start", "ok", "ok", "ok", "ok", "stop", "ok", "SIG15", "ok", "ok"], ("dead", "success")),
        (FULL, ["start", "ok", "ok", "ok", "ok", "stop", "due"], ("stop-sigterm", "timeout")),
        (FULL, ["start", "ok", "ok", "ok", "ok", "stop", "bad", "ok", "ok"], ("failed", "exit-code")),
        (FULL, ["start", "ok", "stop"], ("stop-sigterm", "success")),
        (FULL, ["start", "ok", "stop", "ok", "ok"], ("dead", "success")),
        ([], ["start", "ok", "stop", "SIG9", "ok"], ("failed", "signal")),
        ([], ["start", "ok", "stop", "due"], ("failed", "timeout")),
        ([], ["start", "ok", "stop", "error"], ("failed", "resources")),
        ([], ["stop"], ("dead", "success")),
        ([], ["start", "stop", "start"], ("stop-sigterm", "success")),
        # oneshot
        (["Type=oneshot"], ["start", "ok"], ("start", "success")),
        (["Type=oneshot"], ["start", "ok", 0, "ok"], ("dead", "success")),
        (["Type=oneshot"], ["start", "ok", 1, "ok"], ("failed", "exit-code")),
        (["Type=oneshot"], ["start", "ok", "SIG15", "ok"], ("failed", "signal")),
        (["Type=oneshot", "RemainAfterExit=yes"], ["start", "ok", 0], ("exited", "success")),
        (["Type=oneshot", "ExecStart=-a", "ExecStart=b"], ["start", "ok", 1, "ok", 0, "ok"], ("dead", "success")),
        (["Type=oneshot", "ExecStart=a", "ExecStart=b"], ["start", "ok", 1, "ok"], ("failed", "exit-code")),
        (["Type=oneshot", "TimeoutStartSec=5"], ["start", "ok", "due", "SIG15", "ok"], ("failed", "timeout")),
    ],
)
def test_lives(lines: list[str], words: list[str | int], at: tuple[str, str]) -> None:
    assert Run(service(*lines)).feed(*words).at == at


CAUSES: dict[str, list[str | int]] = {
    "clean exit": [0],
    "clean signal": ["SIG15"],
    "unclean exit": [1],
    "unclean signal": ["SIG9"],
    "core dump": ["SIG6"],
    "timeout": ["due"],
    "no start": ["error"],
}
RESTARTED = {
    Restart.NO: set[str](),
    Restart.ALWAYS: set(CAUSES),
    Restart.ON_SUCCESS: {"clean exit", "clean signal"},
    Restart.ON_FAILURE: {"unclean exit", "unclean signal", "core dump", "timeout", "no start"},
    Restart.ON_ABNORMAL: {"unclean signal", "core dump", "timeout", "no start"},
    Restart.ON_ABORT: {"unclean signal", "core dump"},
}


@pytest.mark.parametrize("policy", list(Restart))
@pytest.mark.parametrize("cause", list(CAUSES))
def test_restart_by_cause(policy: Restart, cause: str) -> None:
    run = Run(service(f"Restart={policy}", "ExecStartPost=q"))
    run.feed("start")
    if cause != "no start":
        run.feed("ok")
    if cause not in ("timeout", "no start"):
        run.feed("ok")
    run.feed(*CAUSES[cause], "ok")
    assert (run.life.sub is Sub.AUTO_RESTART) == (cause in RESTARTED[policy])


@pytest.mark.parametrize("policy", list(Restart))
def test_what_was_told_to_stop_does_not_come_back(policy: Restart) -> None:
    assert Run(service(f"Restart={policy}")).feed("start", "ok", "stop", "SIG9", "ok").life.sub is Sub.FAILED


def test_a_code_can_forbid_the_restart() -> None:
    unit = service("Restart=always", "RestartPreventExitStatus=7 SIGKILL")
    assert Run(unit).feed("start", "ok", 7, "ok").life.sub is Sub.FAILED
    assert Run(unit).feed("start", "ok", "SIG9", "ok").life.sub is Sub.FAILED
    assert Run(unit).feed("start", "ok", 8, "ok").life.sub is Sub.AUTO_RESTART


def test_restarts_are_explained_and_end_at_the_limit() -> None:
    run = Run(service("Restart=always", "RestartSec=100ms")).feed("start")
    for number in range(1, 5):
        run.feed("ok", 3, "ok")
        assert run.life.reason == f"exit code 3, restart {number} of 4 in 0.1 s"
        assert run.life.deadline == run.now + 0.1
        run.feed("due")
        assert (run.life.sub, run.life.restarts) == (Sub.START, number)
    run.feed("ok", 3, "ok", "due")
    assert run.at == ("failed", "start-limit-hit")
    assert run.life.reason.startswith("started 5 times in 10 s, the limit; last: exit code 3")
    assert run.feed("start").at == ("start", "success")


def test_slow_restarts_never_reach_the_limit() -> None:
    run = Run(service("Restart=always", "RestartSec=5")).feed("start")
    for _ in range(20):
        run.feed("ok", 1, "ok", "due")
    assert run.life.sub is Sub.START
    assert run.life.restarts == 20


def test_a_stop_cancels_the_restart() -> None:
    assert Run(service("Restart=always")).feed("start", "ok", 1, "ok", "stop").life.sub is Sub.DEAD


def test_the_first_failure_is_the_one_told() -> None:
    run = Run(service(*FULL)).feed("start", "bad", "ok", "bad")
    assert run.life.reason == "ExecStartPre=p1: exit code 1"


def test_actions_follow_from_the_step() -> None:
    run, unit = Run(service(*FULL, "TimeoutStopSec=7")), service(*FULL, "TimeoutStopSec=7")
    assert action(unit, run.life) is None
    assert action(unit, run.feed("start").life) == Command(unit.exec_start_pre[0], 90)
    assert action(unit, run.feed("ok", "ok").life) == Launch(0)
    assert action(unit, run.feed("ok").life) == Command(unit.exec_start_post[0], 90)
    assert action(unit, run.feed("ok").life) is None
    assert action(unit, run.feed("stop").life) == Command(unit.exec_stop[0], 7)
    assert action(unit, run.feed("ok").life) == Kill(7)
    assert action(unit, run.feed("ok").life) == Command(unit.exec_stop_post[0], 7)


def test_a_late_answer_counts_for_nothing() -> None:
    run = Run(service(*FULL)).feed("start")
    late = Done(run.life.step, 1)
    run.feed("ok")
    assert advance(run.unit, run.life, late, 0) == run.life


@pytest.mark.parametrize(
    ("code", "signal", "result", "said"),
    [
        (0, 0, Result.SUCCESS, "exit code 0"),
        (143, 0, Result.EXIT_CODE, "exit code 143"),
        (None, 9, Result.SIGNAL, "killed by SIGKILL"),
        (None, 35, Result.SIGNAL, "killed by signal 35"),
        (None, 0, Result.RESOURCES, "its process is gone and left no exit code"),
    ],
)
def test_ends_are_judged(code: int | None, signal: int, result: Result, said: str) -> None:
    assert judge(service(), code, signal) == (result, said)


@pytest.mark.parametrize(
    ("lines", "sub", "running", "after"),
    [
        ([], Sub.DEAD, True, Sub.RUNNING),
        ([], Sub.AUTO_RESTART, True, Sub.RUNNING),
        ([], Sub.RUNNING, True, Sub.RUNNING),
        ([], Sub.START, True, Sub.RUNNING),
        (FULL, Sub.START, True, Sub.START_POST),
        (FULL, Sub.START_POST, True, Sub.START_POST),
        (["Type=oneshot"], Sub.START, True, Sub.START),
        (["Type=oneshot"], Sub.DEAD, True, Sub.START),
        (FULL, Sub.STOP, True, Sub.STOP),
        (FULL, Sub.START_PRE, False, Sub.START_PRE),
        ([], Sub.RUNNING, False, Sub.RUNNING),
    ],
)
def test_a_new_agent_goes_on(lines: list[str], sub: Sub, running: bool, after: Sub) -> None:
    life = resume(service(*lines), Life(sub=sub, step=3), running, 1.0)
    assert (life.sub, life.main) == (after, running)


UNITS = [
    service(*FULL, f"Restart={policy}", *more)
    for policy in ("no", "always", "on-failure")
    for more in ((), ("RemainAfterExit=yes",), ("TimeoutSec=1",))
] + [service("Type=oneshot", "ExecStart=a", "ExecStart=-b"), service("StartLimitBurst=0", "Restart=always")]
WORDS = st.sampled_from(["start", "stop", "ok", "bad", "error", "SIG9", "SIG15", "late", "due", 0, 1])


@given(st.sampled_from(UNITS), st.lists(WORDS, max_size=25))
@settings(max_examples=80, deadline=None)
def test_every_life_is_lawful_and_can_be_ended(unit: Service, words: list[str | int]) -> None:
    run = Run(unit)
    for word in words:
        before = run.life
        if word == "due" and run.life.deadline is None:
            continue
        if word == "late":
            assert advance(unit, run.life, Done(run.life.step - 1, 1), run.now) == run.life
            continue
        run.feed(word)
        check(unit, before, run.life)
    run.feed("stop")
    for _ in range(12):
        if run.life.sub in IDLE:
            break
        assert action(unit, run.life) is not None
        run.feed("ok")
    assert run.life.sub in IDLE
    assert replace(run.life, main=False) == run.life


def check(unit: Service, before: Life, after: Life) -> None:
    """What holds of every step."""
    assert after.step >= before.step
    assert after.sub == before.sub or after.step > before.step
    assert not (after.main and after.sub in (*IDLE, Sub.AUTO_RESTART, Sub.EXITED, Sub.START_PRE, Sub.STOP_POST))
    assert (after.sub is Sub.FAILED) <= (after.result is not Result.SUCCESS and bool(after.reason))
    assert (after.sub is Sub.RUNNING) <= after.main
    if before.halt and before.sub in STOPPING:
        assert after.sub in STOPPING or after.sub in IDLE
    waits = after.sub in STARTING | STOPPING | {Sub.AUTO_RESTART}
    assert (not waits) <= (after.deadline is None)
    assert waits <= (action(unit, after) is not None or after.main or after.deadline is not None)
