"""Apply a plan so that one failure stays in its own box; or apply a few steps all or nothing.

A step whose requirement failed, or is not due yet, waits: making it would fail too, or worse, make a bridge without
the rules that shut it. Pure but for `apply`, which is the caller's.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from hawser.store.reconcile import Step, Verb

from .errors import NetError
from .specs import BorrowedSpec, BridgeSpec, RuleSpec, Spec, TenantSpec, needs

Apply = Callable[[Step[Spec]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Steps done, and keys that failed with the error; a key that was not due is in neither."""

    done: tuple[Step[Spec], ...]
    failures: Mapping[str, NetError]


def run(steps: Sequence[Step[Spec]], apply: Apply, not_due: Collection[str] = ()) -> Round:
    """Every step that can be done, in order."""
    done: list[Step[Spec]] = []
    failures: dict[str, NetError] = {}
    blocked: dict[str, Step[Spec]] = {}
    for step in steps:
        if step.key in not_due:
            blocked[step.key] = step
        elif lacking := _lacking(step, blocked):
            blocked[step.key] = step
            failures[step.key] = NetError(f"waits for {lacking}")
        else:
            try:
                apply(step)
                done.append(step)
            except (NetError, OSError) as error:
                blocked[step.key] = step
                failures[step.key] = error if isinstance(error, NetError) else NetError(str(error))
    return Round(done=tuple(done), failures=failures)


def _lacking(step: Step[Spec], blocked: Mapping[str, Step[Spec]]) -> str | None:
    if not blocked:
        return None
    if step.verb is not Verb.DELETE:
        return next((key for key in needs(step.key, step.spec) if key in blocked), None)
    if isinstance(step.spec, TenantSpec):  # its namespace would take the host's link with it
        lent = ((key, other.spec) for key, other in blocked.items() if isinstance(other.spec, BorrowedSpec))
        return next((key for key, spec in lent if spec.tenant == step.spec.name), None)
    if isinstance(step.spec, RuleSpec) and step.spec.value is None:  # a network's; its bridge goes first
        return next((key for key, other in blocked.items() if isinstance(other.spec, BridgeSpec)), None)
    return None


def creation(specs: Mapping[str, Spec], reason: str) -> tuple[Step[Spec], ...]:
    """Steps that make these things, in the order given."""
    return tuple(Step(verb=Verb.CREATE, key=key, reason=reason, spec=spec) for key, spec in specs.items())


def all_or_nothing(steps: Sequence[Step[Spec]], apply: Apply) -> None:
    """Do every step, or undo those done and raise."""
    for count, step in enumerate(steps):
        try:
            apply(step)
        except BaseException:
            undo(steps[: count + 1], apply)
            raise


def undo(steps: Sequence[Step[Spec]], apply: Apply) -> None:
    """Remove what the steps may have made, the last first; what cannot be removed now, a later round removes."""
    for step in reversed(steps):
        with contextlib.suppress(NetError, OSError):
            apply(Step(verb=Verb.DELETE, key=step.key, reason="undone", spec=step.spec))


def removal(specs: Mapping[str, Spec]) -> tuple[Step[Spec], ...]:
    """Steps that remove these things, the last first."""
    gone = reversed(list(specs.items()))
    return tuple(Step(verb=Verb.DELETE, key=key, reason="no longer wanted", spec=spec) for key, spec in gone)
