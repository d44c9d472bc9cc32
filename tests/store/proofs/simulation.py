"""A store with concurrent clients as a pure game of turns, right or with one bug, for the proof of the checkers.

Each turn belongs to a client, who invokes something, has it take effect, or gets its answer; a server that dies leaves
all that is under way without an answer, and what had not taken effect may do so later, or never.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from .operations import Answer, Delete, Found, Get, Operation, Put, Removed, Swap, Swapped, Written
from .watching import Change

OneKey = Put | Get | Delete | Swap
DIES, HAUNTS = 96, 92


class Bug(StrEnum):
    """What a store can do wrong."""

    STALE = "a read shows what was there before"
    PHANTOM = "a read shows a value that nobody wrote"
    UNCOMPARED = "a swap does not compare"
    DENIES = "a swap that was done says that it was not"
    FORGETS = "a crash loses the last acknowledged change"
    KEEPS = "a delete says that it deleted, and did not"
    REPEATS = "two changes have one revision"
    MISCOUNTS = "versions do not count changes"


@dataclass
class _Pending:
    call: OneKey
    invoked: float
    answer: Answer | None = None


@dataclass
class Simulation:
    """`turn` by turn; `operations()` is the history. `values`: how many different values are written (0: each once)."""

    bug: Bug | None = None
    clients: int = 4
    keys: int = 2
    values: int = 0
    revision: int = 1
    states: dict[str, list[Found]] = field(default_factory=lambda: defaultdict(lambda: [Found(None, version=0)]))
    log: list[Change] = field(default_factory=list)
    _clock: int = 0
    _pending: dict[int, _Pending] = field(default_factory=dict)
    _ghosts: list[OneKey] = field(default_factory=list)
    _known: dict[tuple[int, str], Found] = field(default_factory=dict)
    _done: list[Operation] = field(default_factory=list)

    def turn(self, number: int, choice: int) -> None:
        """What client `number` does next; `choice` is from 0 to 99."""
        self._clock += 1
        client = number % self.clients
        pending = self._pending.get(client)
        if choice >= DIES:
            self._die(choice)
        elif choice >= HAUNTS and self._ghosts:
            self._apply(self._ghosts.pop(0))
        elif pending is None:
            self._pending[client] = _Pending(self._call(client, choice), self._clock)
        elif pending.answer is None:
            pending.answer = self._apply(pending.call)
        else:
            self._return(client, pending)

    def operations(self) -> list[Operation]:
        pending = [Operation(f"c{client}", one.call, one.invoked) for client, one in self._pending.items()]
        return self._done + pending

    def _return(self, client: int, pending: _Pending) -> None:
        del self._pending[client]
        if isinstance(pending.answer, Found):
            self._known[client, pending.call.key] = pending.answer
        self._done.append(Operation(f"c{client}", pending.call, pending.invoked, pending.answer, self._clock))

    def _call(self, client: int, choice: int) -> OneKey:
        key = f"k{choice // 8 % self.keys}"
        value = f"v{self._clock % self.values if self.values else self._clock}"
        known = self._known.get((client, key), Found(None, version=0))
        match choice % 8:
            case 0 | 1:
                return Put(key, value)
            case 2 | 3 | 4:
                return Get(key)
            case 5:
                return Swap(key, value, "version", known.version or 0)
            case 6:
                return Swap(key, value, "mod", known.mod)
        return Delete(key)

    def _die(self, choice: int) -> None:
        for client, pending in self._pending.items():
            self._done.append(Operation(f"c{client}", pending.call, pending.invoked))
            if pending.answer is None and (choice + client) % 2:
                self._ghosts.append(pending.call)
        self._pending.clear()
        if self.bug is Bug.FORGETS and self.log:
            lost = self.log.pop()
            self.states[lost.key].pop()

    def _apply(self, call: OneKey) -> Answer:
        state = self.states[call.key][-1]
        match call:
            case Put(value=value):
                return Written(self._change(call.key, value))
            case Get():
                return self._read(call.key)
            case Swap(value=value, field=compared, expected=expected):
                right = expected == (state.mod if compared == "mod" else state.version)
                if not right and self.bug is not Bug.UNCOMPARED:
                    return Swapped(succeeded=False, revision=self.revision)
                return Swapped(self.bug is not Bug.DENIES, self._change(call.key, value))
            case Delete():
                if state.value is None:
                    return Removed(0)
                return Removed(1) if self.bug is Bug.KEEPS else Removed(1, self._change(call.key, None))

    def _read(self, key: str) -> Found:
        states = self.states[key]
        if self.bug is Bug.PHANTOM:
            return Found("never", self.revision, 1)
        if self.bug is Bug.STALE and len(states) > 1:
            return states[-2]
        return Found(states[-1].value, states[-1].mod, states[-1].version, self.revision)

    def _change(self, key: str, value: str | None) -> int:
        before = self.states[key][-1]
        self.revision += not (self.bug is Bug.REPEATS and self.revision % 3 == 0)
        counts = self.bug is not Bug.MISCOUNTS or before.version == 0
        version = (before.version or 0) + counts
        after = Found(None, version=0) if value is None else Found(value, self.revision, version)
        self.states[key].append(after)
        self.log.append(Change(self.revision, key, value))
        return self.revision
