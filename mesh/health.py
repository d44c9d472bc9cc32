"""Health of one instance as a machine of three states: pending until the first check, then passing or failing.

`rise` passes in a row make it passing, `fall` failures in a row make it failing; the first result leaves pending at
once when it is a failure (its reason is worth knowing) and after `rise` when it is a pass. Only a change of state is
worth writing down. A heartbeat is the same with the program as the checker: it fails when nothing beat for `ttl`
seconds. Pure: `now` is an argument (seconds of any monotonic clock), `deadline` says when to look again.
"""

from dataclasses import dataclass
from enum import StrEnum

from .model import PENDING


class State(StrEnum):
    """What the checks have found so far."""

    PENDING = "pending"
    PASSING = "passing"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one check: whether it passed, and one line why (not)."""

    ok: bool
    reason: str


class Health:
    """Driven by `started` and `report`; `interval` in seconds."""

    def __init__(self, *, interval: float, rise: int, fall: int, now: float) -> None:
        self.state = State.PENDING
        self.reason = PENDING
        self._interval, self._rise, self._fall = interval, rise, fall
        self._due = now
        self._streak = 0

    def adopt(self, *, healthy: bool, reason: str, now: float, phase: float) -> None:
        """Go on from what was known before a restart: no change until a check says so, and then one is enough, as what
        was known may be old; `phase` in [0, 1) spreads the first check over one interval."""
        if reason != PENDING:
            self._streak = (self._fall if healthy else self._rise) - 1
            self.state, self.reason = State.PASSING if healthy else State.FAILING, reason
            self._due = now + phase * self._interval

    def deadline(self) -> float:
        """When the next check is due."""
        return self._due

    def started(self, now: float) -> None:
        """A check begins: the next is an interval later, or at once after a check that took longer."""
        self._due = now + self._interval

    def report(self, outcome: Outcome) -> bool:
        """A check ended; True when the state changed. `reason` follows the state, not every check."""
        if outcome.ok is (self.state is State.PASSING) and self.state is not State.PENDING:
            self._streak = 0
            return False
        self._streak += 1
        if self.state is State.PENDING and not outcome.ok:
            return self._become(State.FAILING, outcome.reason)
        if self._streak < (self._rise if outcome.ok else self._fall):
            return False
        return self._become(State.PASSING if outcome.ok else State.FAILING, outcome.reason)

    def _become(self, state: State, reason: str) -> bool:
        self.state, self.reason, self._streak = state, reason, 0
        return True


class Heartbeat:
    """Passing from a beat until `ttl` seconds without one."""

    def __init__(self, *, ttl: float, now: float) -> None:
        self.state = State.PENDING
        self.reason = PENDING
        self._ttl = ttl
        self._last = now

    def adopt(self, *, healthy: bool, reason: str, now: float) -> None:
        """Go on from what was known before a restart: the program has one more ttl to beat."""
        if reason != PENDING:
            self.state, self.reason, self._last = State.PASSING if healthy else State.FAILING, reason, now

    def deadline(self) -> float | None:
        """When it fails if nothing beats until then; None when it failed already."""
        return None if self.state is State.FAILING else self._last + self._ttl

    def beat(self, now: float) -> bool:
        """The program says it is alive; True when the state changed."""
        self._last = now
        changed = self.state is not State.PASSING
        self.state, self.reason = State.PASSING, "beats"
        return changed

    def expire(self, now: float) -> bool:
        """Time passed; True when the state changed."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return False
        self.state, self.reason = State.FAILING, f"no beat for {self._ttl:g} s"
        return True
