"""Which machine each unit runs on: a pure function of units, machines and the present placements.

What is placed stays while its constraints hold; a unit is moved only when they do not. Then units without a machine are
taken in the order of their names, each to the able machine with the fewest units (the lesser id of equals), again and
again until nothing changes, since one unit may wait for another (MachineOf). A global unit runs wherever its metadata
and conflicts allow. The checks and their order are fleet's (agent/state.go AbleToRun): MachineID, metadata, peers,
conflicts, replaces. Every unit without a machine has a reason in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .fleet import matches
from .model import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that may run units."""

    id: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a unit runs, or why nowhere."""

    machines: tuple[str, ...] = ()
    reason: str = ""


def place(
    units: Mapping[str, Fleet], machines: Sequence[Machine], current: Mapping[str, tuple[str, ...]]
) -> dict[str, Decision]:
    """A decision for every unit in `units` (those that are wanted loaded or launched)."""
    board = _Board(units, machines)
    for name in sorted(units):
        board.assume(name, current.get(name, ()))
    while any(board.evict(name) for name in sorted(units)):
        continue
    # a Replaces= may move a unit that was placed: bounded, since circular pairs are ignored
    for _ in range(len(units) + 1):
        settled = [board.settle(name) for name in sorted(units)]
        if not any(settled):
            break
    return {name: board.decision(name) for name in sorted(units)}


class _Board:
    """Who is where while a decision is being made."""

    def __init__(self, units: Mapping[str, Fleet], machines: Sequence[Machine]) -> None:
        self._units = units
        self._machines = {machine.id: machine for machine in sorted(machines, key=lambda machine: machine.id)}
        self._on: dict[str, set[str]] = {id_: set() for id_ in self._machines}
        self._choosy: dict[str, set[str]] = {id_: set() for id_ in self._machines}
        self._places: dict[str, set[str]] = {name: set() for name in units}

    def assume(self, name: str, machines: Sequence[str]) -> None:
        """What is placed now, on machines that still exist."""
        single = not self._units[name].is_global
        for id_ in sorted(machines)[: 1 if single else None]:
            if id_ in self._on:
                self._put(name, id_)

    def evict(self, name: str) -> bool:
        """Take a unit from where it may not be any more."""
        wrong = [id_ for id_ in sorted(self._places[name]) if self.obstacle(name, id_, staying=True)]
        for id_ in wrong:
            self._take(name, id_)
        return bool(wrong)

    def settle(self, name: str) -> bool:
        """Give a unit a place if it lacks one and there is one."""
        able = [id_ for id_ in self._machines if id_ not in self._places[name] and not self.obstacle(name, id_)]
        if not self._units[name].is_global:
            if self._places[name]:
                return False
            able = sorted(able, key=lambda id_: (len(self._on[id_]), id_))[:1]
        for id_ in able:
            for other in sorted(self._on[id_]) if self._units[name].replaces else ():
                if self._replaces(name, other):
                    self._take(other, id_)
            self._put(name, id_)
        return bool(able)

    def decision(self, name: str) -> Decision:
        """The outcome, with the reason why there is none."""
        if self._places[name]:
            return Decision(machines=tuple(sorted(self._places[name])))
        reasons = [reason for id_ in self._machines if (reason := self.obstacle(name, id_))]
        if not self._machines:
            return Decision(reason="no machine: there is none")
        shown = "; ".join(dict.fromkeys(reasons[:3])) + ("; …" if len(reasons) > 3 else "")
        return Decision(reason=f"no machine: {shown}")

    def obstacle(self, name: str, id_: str, *, staying: bool = False) -> str:
        """Why a unit may not run on a machine, or nothing."""
        wanted, machine = self._units[name], self._machines[id_]
        if wanted.machine_id is not None and wanted.machine_id != id_:
            return f"MachineID={wanted.machine_id} is not here"
        for key, values in sorted(wanted.metadata.items()):
            if machine.metadata.get(key) not in values:
                has = machine.metadata.get(key)
                return f"{id_} has {key}={has}, not {' or '.join(values)}" if has else f"{id_} has no metadata {key}"
        for peer in wanted.machine_of:
            if peer not in self._on[id_]:
                return f"MachineOf={peer} is not on {id_}"
        # two units without globs cannot be in each other's way
        for other in sorted(self._on[id_] if _choosy(wanted) else self._choosy[id_]):
            if other == name:
                continue
            # of two placed units in conflict the one with the lesser name stays
            if self._conflict(name, other) and not (staying and name < other):
                return f"conflicts with {other} on {id_}"
            if self._replaces(other, name):
                return f"replaced by {other} on {id_}"
        return ""

    def _conflict(self, name: str, other: str) -> bool:
        return matches(self._units[name].conflicts, other) or matches(self._units[other].conflicts, name)

    def _replaces(self, name: str, other: str) -> bool:
        if name == other or not matches(self._units[name].replaces, other):
            return False
        return not matches(self._units[other].replaces, name)

    def _put(self, name: str, id_: str) -> None:
        self._places[name].add(id_)
        self._on[id_].add(name)
        if _choosy(self._units[name]):
            self._choosy[id_].add(name)

    def _take(self, name: str, id_: str) -> None:
        self._places[name].discard(id_)
        self._on[id_].discard(name)
        self._choosy[id_].discard(name)


def _choosy(fleet: Fleet) -> bool:
    return bool(fleet.conflicts or fleet.replaces)
