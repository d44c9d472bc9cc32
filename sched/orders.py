"""What an agent does next with one unit: a pure verdict from what is wanted, where the unit stands, and its fellows.

Level-triggered: nothing is remembered but the order last acted on (`seen`) and the restarts already given, so the
verdict is right after any crash. A unit whose text changed is stopped and cleared as what it was, then started as what
it is. After= and Before= hold among launched units of this machine, an order in a circle binds nobody; Requires= and
BindsTo= let a unit wait until the other is active (a oneshot that ended well counts), and BindsTo= stops it when the
other is not active any more; it starts again with it. Targets are always there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .lifecycle import ACTIVE, IDLE, STARTING, STOPPING, Life, Result, Sub
from .model import Dependencies, Desired
from .records import Intent


class Verdict(StrEnum):
    """`NOTE`: the order is already fulfilled or under way; `WAIT`: it must wait for another unit."""

    NOTHING = "nothing"
    NOTE = "note"
    WAIT = "wait"
    START = "start"
    STOP = "stop"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a unit stands on this machine; `hash` is of the text it was last started from (or would be)."""

    hash: str
    life: Life
    seen: int = 0
    restart: int = 0


def verdict(intent: Intent | None, has: Standing, waits: str = "", lost: str = "") -> tuple[Verdict, str]:
    """The next thing to do and why; `waits`: what a start must wait for; `lost`: why it may not go on running."""
    sub = has.life.sub
    idle = sub in IDLE
    if intent is None or intent.state is Desired.INACTIVE:
        return (Verdict.CLEAR if idle else Verdict.STOP), "not wanted here"
    if intent.hash != has.hash:
        return (Verdict.CLEAR if idle else Verdict.STOP), "its text has changed"
    if intent.state is Desired.LOADED:
        if not idle:
            return Verdict.STOP, "stopped by order"
        return (Verdict.NOTE if has.seen != intent.revision else Verdict.NOTHING), "loaded, not launched"
    return _launched(intent, has, waits, lost)


def _launched(intent: Intent, has: Standing, waits: str, lost: str) -> tuple[Verdict, str]:
    sub = has.life.sub
    if lost and sub not in IDLE:
        return Verdict.STOP, lost
    again = intent.restart > has.restart
    if not again and intent.revision == has.seen:
        return Verdict.NOTHING, ""
    if sub in IDLE or sub is Sub.AUTO_RESTART:
        return (Verdict.WAIT, waits) if waits else (Verdict.START, "launched by order")
    if again:
        return Verdict.STOP, "restarted by order"
    return (Verdict.NOTHING, "") if sub in STOPPING else (Verdict.NOTE, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fellow:
    """A unit of this machine as others see it; `due`: it is launched and has yet to start."""

    life: Life
    dependencies: Dependencies
    launched: bool
    due: bool


def waits_for(name: str, fellows: Mapping[str, Fellow]) -> str:
    """What the start of a unit must wait for, or nothing."""
    own = fellows[name].dependencies
    for other in (*own.requires, *own.binds_to):
        if reason := _missing(other, fellows):
            circle = ", and that for this one: take out a Requires= or BindsTo=" if _needs(other, name, fellows) else ""
            return f"waits for {other}: {reason}{circle}"
    for other in _before(name, fellows):
        fellow = fellows[other]
        if fellow.launched and (fellow.due or fellow.life.sub in STARTING) and not _circle(name, other, fellows):
            return f"waits for {other}: {fellow.life.active} ({fellow.life.sub})"
    return ""


def lost(name: str, fellows: Mapping[str, Fellow]) -> str:
    """Why a running unit must stop (BindsTo=), or nothing."""
    for other in fellows[name].dependencies.binds_to:
        if reason := _missing(other, fellows):
            return f"bound to {other}: {reason}"
    return ""


def _missing(other: str, fellows: Mapping[str, Fellow]) -> str:
    if other.endswith(".target"):
        return ""
    fellow = fellows.get(other)
    if fellow is None:
        return "not on this machine"
    life = fellow.life
    ended_well = life.sub is Sub.DEAD and life.result is Result.SUCCESS and life.starts > 0 and not fellow.due
    if not fellow.launched:
        return "not launched"
    if life.sub in ACTIVE or (ended_well and not life.halt):
        return ""
    return f"{life.active} ({life.sub})"


def _before(name: str, fellows: Mapping[str, Fellow]) -> list[str]:
    """Who must have started before a unit, among those that are here."""
    after = [other for other in fellows[name].dependencies.after if other in fellows and other != name]
    return after + [other for other in sorted(fellows) if name in fellows[other].dependencies.before]


def _needs(name: str, wanted: str, fellows: Mapping[str, Fellow]) -> bool:
    """Whether a unit needs another to be active, itself or through others."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current in seen or current not in fellows:
            continue
        seen.add(current)
        own = fellows[current].dependencies
        if wanted in (*own.requires, *own.binds_to):
            return True
        todo += [*own.requires, *own.binds_to]
    return False


def _circle(name: str, other: str, fellows: Mapping[str, Fellow]) -> bool:
    """Whether `other` itself comes, through others, after `name`."""
    seen: set[str] = set()
    todo: list[str] = [other]
    while todo:
        current = todo.pop()
        if current == name:
            return True
        if current not in seen:
            seen.add(current)
            todo += _before(current, fellows)
    return False
