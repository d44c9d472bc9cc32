"""The one idea of this house: desired against observed gives a plan; applying it makes them equal.

Pure and deterministic: the same two maps give the same steps in the same order, each with its reason. Deletes come
first, in reverse rank, so that what depends on something goes before it; then creates and updates in rank order. A plan
over equal maps is empty, and a plan interrupted anywhere is finished by planning again. `Retries` keeps which keys
failed, why, and when each is due again; time and jitter are arguments.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S")


class Verb(StrEnum):
    """What a step does to its key."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[S]):
    """One idempotent change; `spec` is what to make (of a delete: what is there now)."""

    verb: Verb
    key: str
    reason: str
    spec: S

    def __str__(self) -> str:
        return f"{self.verb} {self.key}: {self.reason}"


def _no_rank(key: str, spec: object) -> int:
    return 0


def _unequal(desired: object, observed: object) -> str | None:
    return None if desired == observed else "differs from what is wanted"


def plan(
    desired: Mapping[str, S],
    observed: Mapping[str, S],
    *,
    rank: Callable[[str, S], int] = _no_rank,
    differs: Callable[[S, S], str | None] = _unequal,
) -> tuple[Step[S], ...]:
    """The steps from `observed` to `desired`.

    `rank` orders creation (low first); `differs(desired, observed)` says in words why an update is needed, or None.
    """
    deletes = sorted((-rank(key, spec), key) for key, spec in observed.items() if key not in desired)
    steps = [
        Step(verb=Verb.DELETE, key=key, reason="exists but is not wanted", spec=observed[key]) for _, key in deletes
    ]
    for _, key in sorted((rank(key, spec), key) for key, spec in desired.items()):
        if key not in observed:
            steps.append(Step(verb=Verb.CREATE, key=key, reason="is wanted but missing", spec=desired[key]))
        elif reason := differs(desired[key], observed[key]):
            steps.append(Step(verb=Verb.UPDATE, key=key, reason=reason, spec=desired[key]))
    return tuple(steps)


class Phase(StrEnum):
    """How far a key is: as wanted, not yet, or refused with a reason."""

    OK = "ok"
    PENDING = "pending"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one key fares; `revision` is the intent it was reconciled against."""

    key: str
    phase: Phase
    reason: str = ""
    revision: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays in seconds with full-range jitter: base·2^(n-1), at most `cap`, times (0.5 + jitter/2)."""

    base: float = 0.1
    cap: float = 30.0

    def delay(self, attempts: int, jitter: float = 1.0) -> float:
        """Seconds before the next try after `attempts` ≥ 1 failures; `jitter` in [0, 1]."""
        exponent = min(max(attempts, 1) - 1, 32)
        return float(min(self.cap, self.base * 2**exponent) * (0.5 + jitter / 2))


@dataclass(slots=True)
class Retries:
    """Which keys failed and when each may be tried again."""

    backoff: Backoff = field(default_factory=Backoff)
    _failures: dict[str, tuple[Status, float]] = field(default_factory=dict)

    def failed(self, key: str, reason: str, now: float, *, jitter: float = 1.0, revision: int = 0) -> Status:
        """Note a failure; returns the key's status."""
        attempts = self._failures[key][0].attempts + 1 if key in self._failures else 1
        status = Status(key=key, phase=Phase.FAILED, reason=reason, revision=revision, attempts=attempts)
        self._failures[key] = (status, now + self.backoff.delay(attempts, jitter))
        return status

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """Forget every key but these: what nobody plans for any more must not wake the loop."""
        for key in [key for key in self._failures if key not in keys]:
            del self._failures[key]

    def due(self, key: str, now: float) -> bool:
        """Whether the key may be tried now."""
        return key not in self._failures or self._failures[key][1] <= now

    def deadline(self) -> float | None:
        """When the next failed key is due, or None."""
        return min((when for _, when in self._failures.values()), default=None)

    def statuses(self) -> tuple[Status, ...]:
        """Every failing key, sorted."""
        return tuple(self._failures[key][0] for key in sorted(self._failures))
