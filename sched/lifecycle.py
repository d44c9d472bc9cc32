"""A service's life as a pure state machine with systemd's states and rules (systemd.service(5)).

`advance` takes one event and the time and gives the next `Life`; `action` says what is to be done in a life, so that
the action can be derived again after a crash. In each step at most one action runs; its end comes back as `Done` with
the number of the step, and one that comes late counts for nothing. A start that fails, a crash and a timeout all lead
through stop-sigterm (nothing of the unit stays) and ExecStopPost to failed or auto-restart; ExecStop is run only after
a successful start. Deadlines are absolute, on the caller's clock.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from .model import Exec, Restart, Service, Type
from .values import INFINITY, signal_name

KILL_GRACE = 10.0
MAX_DEADLINE = 366 * 86400.0
CLEAN_SIGNALS = frozenset({1, 2, 13, 15})
CORE_SIGNALS = frozenset({3, 4, 5, 6, 7, 8, 11, 24, 25, 31})


class Sub(StrEnum):
    """systemd's sub-states of a service."""

    DEAD = "dead"
    START_PRE = "start-pre"
    START = "start"
    START_POST = "start-post"
    RUNNING = "running"
    EXITED = "exited"
    STOP = "stop"
    STOP_SIGTERM = "stop-sigterm"
    STOP_POST = "stop-post"
    FAILED = "failed"
    AUTO_RESTART = "auto-restart"


STARTING = frozenset({Sub.START_PRE, Sub.START, Sub.START_POST})
ACTIVE = frozenset({Sub.RUNNING, Sub.EXITED})
STOPPING = frozenset({Sub.STOP, Sub.STOP_SIGTERM, Sub.STOP_POST})
IDLE = frozenset({Sub.DEAD, Sub.FAILED})
_ACTIVE_STATE = {
    Sub.DEAD: "inactive",
    Sub.FAILED: "failed",
    Sub.AUTO_RESTART: "activating",
    **dict.fromkeys(STARTING, "activating"),
    **dict.fromkeys(ACTIVE, "active"),
    **dict.fromkeys(STOPPING, "deactivating"),
}


class Result(StrEnum):
    """Why a run of the service was good or not."""

    SUCCESS = "success"
    RESOURCES = "resources"
    TIMEOUT = "timeout"
    EXIT_CODE = "exit-code"
    SIGNAL = "signal"
    CORE_DUMP = "core-dump"
    START_LIMIT = "start-limit-hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Where a service stands. `index` is the command of the step's list; `main`: its process lives; `halt`: it was told
    to stop and does not restart; `window`/`starts` count starts for the limit; `restarts` since the last order."""

    sub: Sub = Sub.DEAD
    step: int = 0
    index: int = 0
    main: bool = False
    halt: bool = False
    result: Result = Result.SUCCESS
    reason: str = ""
    code: int | None = None
    signal: int = 0
    deadline: float | None = None
    window: float = 0.0
    starts: int = 0
    restarts: int = 0

    @property
    def active(self) -> str:
        """systemd's ActiveState."""
        return _ACTIVE_STATE[self.sub]


@dataclass(frozen=True, slots=True)
class Start:
    """An order to start: restarts and the start limit begin anew."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An order to stop."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The action of `step` ended: with an exit code, or with `error` when it could not be done at all."""

    step: int
    code: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Exited:
    """The main process ended; code None and signal 0: nobody knows how."""

    code: int | None
    signal: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline has come."""


Event = Start | Stop | Done | Exited | Due


@dataclass(frozen=True, slots=True)
class Command:
    """Run a command of the unit to its end, within `timeout` seconds."""

    command: Exec
    timeout: float


@dataclass(frozen=True, slots=True)
class Launch:
    """Start ExecStart number `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End every process of the unit within `timeout` seconds."""

    timeout: float


Action = Command | Launch | Kill


def action(service: Service, life: Life) -> Action | None:
    """What the present step does, or None when it only waits."""
    if life.sub is Sub.START:
        return None if life.main else Launch(life.index)
    if life.sub is Sub.STOP_SIGTERM:
        return Kill(service.timeout_stop)
    commands = _commands(service, life.sub)
    if life.index >= len(commands):
        return None
    return Command(commands[life.index], service.timeout_start if life.sub in STARTING else service.timeout_stop)


def _commands(service: Service, sub: Sub) -> tuple[Exec, ...]:
    if sub is Sub.START_PRE:
        return service.exec_start_pre
    if sub is Sub.START_POST:
        return service.exec_start_post
    if sub is Sub.STOP:
        return service.exec_stop
    if sub is Sub.STOP_POST:
        return service.exec_stop_post
    return ()


def advance(service: Service, life: Life, event: Event, now: float) -> Life:
    """The life after an event; the same life when the event means nothing in it."""
    match event:
        case Start():
            return _order(service, life, now)
        case Stop(reason):
            return _stop(service, life, reason, now)
        case Done(step, code, error):
            return _done(service, life, code, error, now) if step == life.step else life
        case Exited(code, signal):
            return _exited(service, life, code, signal, now) if life.main else life
        case Due():
            return _due(service, life, now) if life.deadline is not None and life.deadline <= now else life


def _enter(service: Service, life: Life, sub: Sub, now: float, index: int = 0) -> Life:
    """The next step; a list of commands that is at its end leads on to what follows it."""
    if sub in (Sub.START_PRE, Sub.START_POST, Sub.STOP, Sub.STOP_POST) and index >= len(_commands(service, sub)):
        return _after(service, life, sub, now)
    limit = INFINITY
    if sub in STARTING:
        limit = service.timeout_start
    elif sub in STOPPING:
        limit = service.timeout_stop + (KILL_GRACE if sub is Sub.STOP_SIGTERM else 0)
    deadline = None if limit == INFINITY else now + limit
    return replace(life, sub=sub, index=index, step=life.step + 1, deadline=deadline)


def _after(service: Service, life: Life, sub: Sub, now: float) -> Life:
    if sub is Sub.START_PRE:
        return _enter(service, life, Sub.START, now)
    if sub is Sub.START_POST:
        return _started(service, life, now)
    if sub is Sub.STOP:
        return _enter(service, life, Sub.STOP_SIGTERM, now)
    return _finish(service, life, now)


def _order(service: Service, life: Life, now: float) -> Life:
    if life.sub not in IDLE and life.sub is not Sub.AUTO_RESTART:
        return life
    return _start(service, replace(life, starts=0, restarts=0), now)


def _start(service: Service, life: Life, now: float) -> Life:
    """Begin a run, unless there were too many in the interval."""
    limited = service.start_limit_interval > 0 and service.start_limit_burst > 0
    window, starts = life.window, life.starts
    if starts == 0 or now - window >= service.start_limit_interval or now < window:
        window, starts = now, 0
    if limited and starts >= service.start_limit_burst:
        reason = f"started {starts} times in {service.start_limit_interval:g} s, the limit; last: {life.reason}"
        return _enter(service, replace(life, result=Result.START_LIMIT, reason=reason, main=False), Sub.FAILED, now)
    fresh = Life(step=life.step, window=window, starts=starts + 1, restarts=life.restarts)
    return _enter(service, fresh, Sub.START_PRE, now)


def _stop(service: Service, life: Life, reason: str, now: float) -> Life:
    if life.sub in IDLE or (life.sub in STOPPING and life.halt):
        return life
    if life.sub is Sub.AUTO_RESTART:
        return _enter(service, replace(life, reason=reason, halt=True), Sub.DEAD, now)
    halted = replace(life, halt=True, reason=reason if life.result is Result.SUCCESS else life.reason)
    if life.sub in STOPPING:
        return halted
    return _enter(service, halted, Sub.STOP if life.sub in ACTIVE else Sub.STOP_SIGTERM, now)


def _done(service: Service, life: Life, code: int, error: str, now: float) -> Life:
    if life.sub is Sub.START:
        return _launched(service, life, error, now)
    if life.sub is Sub.STOP_SIGTERM:
        if error:
            life = _blame(life, Result.RESOURCES, f"cannot be stopped: {error}")
        return _enter(service, replace(life, main=False), Sub.STOP_POST, now)
    commands = _commands(service, life.sub)
    if life.index >= len(commands):
        return life
    command = commands[life.index]
    if (not code and not error) or command.ignore_failure:
        return _enter(service, life, life.sub, now, life.index + 1)
    why = f"{_KEYS[life.sub]}={command}: {error or f'exit code {code}'}"
    life = _blame(life, Result.RESOURCES if error else Result.EXIT_CODE, why)
    return _enter(service, life, Sub.STOP_SIGTERM if life.sub is not Sub.STOP_POST else Sub.STOP_POST, now, 1 << 30)


_KEYS = {
    Sub.START_PRE: "ExecStartPre",
    Sub.START_POST: "ExecStartPost",
    Sub.STOP: "ExecStop",
    Sub.STOP_POST: "ExecStopPost",
}


def _launched(service: Service, life: Life, error: str, now: float) -> Life:
    command = service.exec_start[life.index]
    if error and not command.ignore_failure:
        return _enter(service, _blame(life, Result.RESOURCES, error), Sub.STOP_SIGTERM, now)
    if error:
        return _exited(service, replace(life, main=True), 0, 0, now)
    if service.type is Type.ONESHOT:
        return replace(life, main=True, step=life.step + 1)
    return _enter(service, replace(life, main=True), Sub.START_POST, now)


def _started(service: Service, life: Life, now: float) -> Life:
    """Start-up is over; the process may have ended meanwhile (a oneshot's always has)."""
    if life.result is not Result.SUCCESS:
        return _enter(service, life, Sub.STOP_SIGTERM, now)
    if life.main:
        return _enter(service, life, Sub.RUNNING, now)
    return _enter(service, life, Sub.EXITED if service.remain_after_exit else Sub.STOP, now)


def _exited(service: Service, life: Life, code: int | None, signal: int, now: float) -> Life:
    life = replace(life, main=False, code=code, signal=signal)
    result, why = judge(service, code, signal)
    command = service.exec_start[min(life.index, len(service.exec_start) - 1)]
    good = result is Result.SUCCESS or (command.ignore_failure and life.sub is Sub.START) or _ignored(service, life)
    life = replace(life, reason=life.reason or why) if good else _blame(life, result, why)
    if life.sub is Sub.RUNNING:
        return _started(service, life, now)
    if life.sub is Sub.START:
        if not good:
            return _enter(service, life, Sub.STOP_SIGTERM, now)
        if life.index + 1 < len(service.exec_start):
            return _enter(service, replace(life, reason=""), Sub.START, now, life.index + 1)
        return _enter(service, life, Sub.START_POST, now)
    return life


def _ignored(service: Service, life: Life) -> bool:
    return life.sub is not Sub.START and service.exec_start[-1].ignore_failure


def judge(service: Service, code: int | None, signal: int) -> tuple[Result, str]:
    """What an end of the main process means: clean are 0, SuccessExitStatus=, and of what is no oneshot
    SIGHUP, SIGINT, SIGTERM and SIGPIPE."""
    if signal:
        clean = CLEAN_SIGNALS if service.type is not Type.ONESHOT else frozenset()
        why = f"killed by {signal_name(signal)}"
        if signal in clean or signal in service.success_signals:
            return Result.SUCCESS, why
        return (Result.CORE_DUMP if signal in CORE_SIGNALS else Result.SIGNAL), why
    if code is None:
        return Result.RESOURCES, "its process is gone and left no exit code"
    return (Result.SUCCESS if code in service.success_codes else Result.EXIT_CODE), f"exit code {code}"


def _blame(life: Life, result: Result, why: str) -> Life:
    """The first thing that went wrong is the one to tell."""
    return life if life.result is not Result.SUCCESS else replace(life, result=result, reason=why)


def _due(service: Service, life: Life, now: float) -> Life:
    if life.sub is Sub.AUTO_RESTART:
        return _start(service, replace(life, restarts=life.restarts + 1), now)
    limit = service.timeout_start if life.sub in STARTING else service.timeout_stop
    late = _blame(life, Result.TIMEOUT, f"{life.sub} took longer than {limit:g} s")
    if life.sub is Sub.STOP_SIGTERM:
        return _enter(service, late, Sub.STOP_POST, now)
    if life.sub is Sub.STOP_POST:
        return _finish(service, late, now)
    return _enter(service, late, Sub.STOP_SIGTERM, now)


def _finish(service: Service, life: Life, now: float) -> Life:
    """Everything is down: stay so, or wait for the next start."""
    life = replace(life, main=False)
    if restarts(service, life):
        delay = service.restart_sec
        again = _enter(service, life, Sub.AUTO_RESTART, now)
        return replace(again, deadline=now + delay, reason=f"{life.reason}, {_which(service, life, now + delay)}")
    return _enter(service, life, Sub.DEAD if life.result is Result.SUCCESS else Sub.FAILED, now)


def _which(service: Service, life: Life, when: float) -> str:
    """Which restart comes: counted against the limit when it falls into the limit's interval."""
    delay = f"in {service.restart_sec:g} s"
    if service.start_limit_burst > 0 and when - life.window < service.start_limit_interval:
        if life.starts >= service.start_limit_burst:
            return f"{life.starts} starts within {service.start_limit_interval:g} s, the limit"
        return f"restart {life.starts} of {service.start_limit_burst - 1} {delay}"
    return f"restart {life.restarts + 1} {delay}"


def restarts(service: Service, life: Life) -> bool:
    """Whether Restart= brings it back (systemd.service(5), table of "Exit causes")."""
    if life.halt:
        return False
    if life.code in service.restart_prevent_codes or life.signal in service.restart_prevent_signals:
        return False
    match service.restart:
        case Restart.ALWAYS:
            return True
        case Restart.ON_SUCCESS:
            return life.result is Result.SUCCESS
        case Restart.ON_FAILURE:
            return life.result is not Result.SUCCESS
        case Restart.ON_ABNORMAL:
            return life.result not in (Result.SUCCESS, Result.EXIT_CODE)
        case Restart.ON_ABORT:
            return life.result in (Result.SIGNAL, Result.CORE_DUMP)
        case Restart.NO:
            return False


def resume(service: Service, life: Life, running: bool, now: float) -> Life:
    """The life with which a new agent goes on: the old one's, corrected by whether the process runs."""
    if not running:
        return life
    if life.sub in STARTING:
        if service.type is Type.ONESHOT or life.sub is Sub.START_POST:
            return replace(life, main=True)
        return _enter(service, replace(life, main=True), Sub.START_POST, now)
    if life.sub in IDLE or life.sub is Sub.AUTO_RESTART:
        sub = Sub.START if service.type is Type.ONESHOT else Sub.RUNNING
        return replace(_enter(service, life, sub, now), main=True, halt=False, result=Result.SUCCESS, reason="")
    return replace(life, main=True)
