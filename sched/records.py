"""What the scheduler keeps in the store, and under which keys.

`units/<name>` the text and its hash · `desired/<name>` what an operator wants, and how often a restart was asked for ·
`placements/<name>` the engine's decision · `states/<machine>/<name>` how it fares, written by that machine's agent
only. The revision of `desired` names the order: an agent writes the last one it acted on into the state, so a reader
knows whether a state is older than an order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from hawser.store import KeyValue

from .lifecycle import Life
from .model import Desired

ROOT = "/hawser/sched/"
UNITS = ROOT + "units/"
DESIRED = ROOT + "desired/"
PLACEMENTS = ROOT + "placements/"
STATES = ROOT + "states/"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitText:
    """A unit file and the SHA-1 of it."""

    text: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted; `restart` counts the restarts asked for."""

    state: Desired
    restart: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where, or why nowhere."""

    machines: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a unit fares on one machine; `seen` is the revision of the order acted on, `boot` the machine's boot."""

    hash: str
    load: str = "loaded"
    active: str = "inactive"
    sub: str = "dead"
    reason: str = ""
    seen: int = 0
    restart: int = 0
    boot: str = ""
    life: Life = field(default_factory=Life)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Everything an agent has to know of one unit; `revision` is the order's."""

    name: str
    text: str
    hash: str
    state: Desired
    revision: int = 0
    restart: int = 0
    machines: tuple[str, ...] = ()
    reason: str = ""


def encode(record: UnitText | Order | Placement | State) -> bytes:
    """The value of a record in the store."""
    return msgspec.json.encode(record)


def decode(value: bytes, kind: type[T]) -> T | None:
    """The record, or None for bytes of another version or of nobody."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def state_key(machine: str, name: str) -> str:
    """Where a machine writes how a unit fares."""
    return f"{STATES}{machine}/{name}"


def is_intent(key: str) -> bool:
    """Whether a key says what is wanted (and not how it fares)."""
    return key.startswith((UNITS, DESIRED, PLACEMENTS))


def intents(entries: Mapping[str, KeyValue]) -> dict[str, Intent]:
    """Every stored unit with its order and placement."""
    found = {}
    for name in sorted(_names(entries)):
        text = decode(entries[UNITS + name].value, UnitText)
        if text is None:
            continue
        desired = entries.get(DESIRED + name)
        order = decode(desired.value, Order) if desired else None
        placed = entries.get(PLACEMENTS + name)
        placement = decode(placed.value, Placement) if placed else None
        found[name] = Intent(
            name=name,
            text=text.text,
            hash=text.hash,
            state=order.state if order else Desired.INACTIVE,
            revision=desired.mod_revision if desired else 0,
            restart=order.restart if order else 0,
            machines=placement.machines if placement else (),
            reason=placement.reason if placement else "",
        )
    return found


def wanted(entries: Mapping[str, KeyValue], machine: str) -> dict[str, Intent]:
    """The units that a machine is to have, loaded or launched."""
    return {
        name: intent
        for name, intent in intents(entries).items()
        if machine in intent.machines and intent.state is not Desired.INACTIVE
    }


def _names(entries: Iterable[str]) -> Iterable[str]:
    return (key.removeprefix(UNITS) for key in entries if key.startswith(UNITS))
