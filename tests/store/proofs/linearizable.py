"""Whether a history of operations on keys is linearizable: each took effect at once, between its invocation and its
answer, in an order that explains all answers.

Linearizability is local (Herlihy & Wing), so every key is searched alone: depth first over the operations that may
come next, never twice from the same set of done operations and state (Wing & Gong, Lowe). Four things keep the search
small and lose nothing: an answered operation that fits and changes nothing is taken at once; changes whose revisions
are known come in that order; an operation of unknown outcome whose value only it wrote, and somebody read, has the
revision that was read; and of those that nobody could tell apart the earlier comes first. The search is bounded:
TooHard is not "ok". The revisions are of the whole store, so their order in real time is checked across keys
(`revisions`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from .operations import (
    Call,
    Delete,
    Found,
    Get,
    Operation,
    Put,
    PutAll,
    Removed,
    Swap,
    Swapped,
    Written,
    by_key,
    said,
    write_revision,
)
from .register import NOTHING, UNKNOWN, State, successors
from .revisions import revisions

EFFORT = 2_000_000
SHOWN = 6
UNSEEN = "(a value that nobody read)"
ANSWERS: dict[type, type] = {Put: Written, PutAll: Written, Get: Found, Delete: Removed, Swap: Swapped}


class TooHard(Exception):
    """The search was given up: neither linearizable nor not."""


@dataclass(frozen=True)
class Verdict:
    """`problems`: a readable text each; none: the history is linearizable. `effort`: search steps taken."""

    problems: tuple[str, ...]
    effort: int

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        return "\n".join(self.problems) or "linearizable"


@dataclass(slots=True)
class _Task:
    """One operation in the search: `rank` is its place among the changes of known revision; `after`: the number of the
    one that comes first of two that nobody can tell apart."""

    operation: Operation
    invoked: float
    returned: float
    rank: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """A place in the search: the answered operations done are the first `low` and those in `window` above; the others
    done are in `extra`. `parent` and `last` lead back to the beginning."""

    low: int
    window: int
    extra: int
    state: State
    ranked: int = 0
    depth: int = 0
    parent: "_Node | None" = None
    last: Operation | None = None

    def name(self) -> tuple[int, int, int, State]:
        return self.low, self.window, self.extra, self.state


def check(history: Iterable[Operation], *, effort: int = EFFORT) -> Verdict:
    """Whether the history, which begins with an empty store, is linearizable by its keys and in its revisions.
    That a change of several keys is atomic is not looked at: watches and the log show that. TooHard
    after `effort` search steps in all. ValueError for a record that cannot be (an answer of another call's kind)."""
    operations = list(history)
    for operation in operations:
        _sound(operation)
    keys = by_key(operations)
    problems = list(revisions(operations))
    spent = 0
    for key in sorted(keys):
        search = _Search(key, keys[key], effort - spent)
        problem = search.run()
        spent += search.spent
        if problem is not None:
            problems.append(problem)
    return Verdict(tuple(problems), spent)


def _sound(operation: Operation) -> None:
    answer, returned = operation.answer, operation.returned
    right = answer is None or type(answer) is ANSWERS[type(operation.call)]
    if not right or (answer is None) != (returned is None) or (returned is not None and returned < operation.invoked):
        raise ValueError(f"this is no operation: {operation}")


class _Search:
    """The search of one key."""

    def __init__(self, key: str, operations: Sequence[Operation], effort: int) -> None:
        self.key = key
        self.effort = effort
        self.spent = 0
        settled = settle(operations)
        self.written = {op.call.value for op in operations if isinstance(op.call, Put | Swap)}
        self.known = _known([op for op in settled if op.answer is not None])
        self.extra = _unknown([op for op in settled if op.answer is None], _read_values(operations))

    def run(self) -> str | None:
        """None, or why there is no order. TooHard."""
        best = start = _Node(0, 0, 0, NOTHING)
        seen = {start.name()}
        stack = [start]
        while stack:
            node = stack.pop()
            if node.low == len(self.known):
                return None
            self.spent += 1
            if self.spent > self.effort:
                raise TooHard(
                    f"key {self.key}: no answer after {self.effort} steps for {len(self.known)} operations and "
                    f"{len(self.extra)} of unknown outcome; check shorter histories, or allow more effort"
                )
            if node.depth > best.depth:
                best = node
            for follower in self._followers(node):
                if follower.name() not in seen:
                    seen.add(follower.name())
                    stack.append(follower)
        return self._explain(best)

    def _followers(self, node: _Node) -> list[_Node]:
        """Where the search can go on, the most promising last."""
        candidates, limit = self._candidates(node)
        found = list[_Node]()
        for number in self._late(node, limit):
            task = self.extra[number]
            for state in successors(task.operation, node.state):
                found.append(_step(node, task.operation, state, extra=node.extra | 1 << number))
        for number in reversed(candidates):
            task = self.known[number]
            if task.rank is not None and task.rank != node.ranked:
                continue
            for state in successors(task.operation, node.state):
                follower = _done(node, number, task, state)
                if state is node.state:
                    return [follower]
                found.append(follower)
        return found

    def _candidates(self, node: _Node) -> tuple[list[int], float]:
        """The answered operations that may come next, and the time by which one of them must have."""
        limit = math.inf
        numbers = list[int]()
        window = node.window
        for number in range(node.low, len(self.known)):
            if not window & 1:
                task = self.known[number]
                if task.invoked > limit:
                    break
                numbers.append(number)
                limit = min(limit, task.returned)
            window >>= 1
        return numbers, limit

    def _late(self, node: _Node, limit: float) -> list[int]:
        """The operations of unknown outcome that may come next."""
        return [
            number
            for number, task in enumerate(self.extra)
            if task.invoked <= limit
            and not node.extra >> number & 1
            and (task.after is None or node.extra >> task.after & 1)
        ]

    def _explain(self, best: _Node) -> str:
        path = list[Operation]()
        node: _Node | None = best
        while node is not None and node.last is not None:
            path.append(node.last)
            node = node.parent
        count = f"{best.depth} of {len(self.known)} answered operations"
        lines = [
            f"key {self.key}: no order explains the answers; the longest that fits has {count}, and ends with:",
            *(f"    {said(operation)}" for operation in reversed(path[:SHOWN])),
            f"  then {_held(best.state)}, and none of these fits next:",
        ]
        for number in self._candidates(best)[0]:
            operation = self.known[number].operation
            value = operation.answer.value if isinstance(operation.answer, Found) else None
            hint = "  (nobody wrote this)" if value is not None and value not in self.written else ""
            lines.append(f"    {said(operation)}{hint}")
        return "\n".join(lines)


def _held(state: State) -> str:
    if state.value is None:
        return "there is no key"
    revision = "a revision that nobody was told" if state.mod == UNKNOWN else f"revision {state.mod}"
    return f"the key is {state.value} of {revision}, version {state.version}"


def _step(node: _Node, operation: Operation, state: State, *, extra: int) -> _Node:
    return replace(node, extra=extra, state=state, parent=node, last=operation)


def _done(node: _Node, number: int, task: _Task, state: State) -> _Node:
    low, window = node.low, node.window | 1 << (number - node.low)
    while window & 1:
        low, window = low + 1, window >> 1
    ranked = node.ranked + (task.rank is not None)
    return _Node(low, window, node.extra, state, ranked, node.depth + 1, node, task.operation)


def _known(operations: Sequence[Operation]) -> list[_Task]:
    tasks = [
        _Task(op, op.invoked, math.inf if op.returned is None else op.returned)
        for op in sorted(operations, key=lambda op: op.invoked)
    ]
    named = [(revision, number) for number, task in enumerate(tasks) if (revision := write_revision(task.operation))]
    for rank, (_, number) in enumerate(sorted(named)):
        tasks[number].rank = rank
    return tasks


def _unknown(operations: Sequence[Operation], read: set[str]) -> list[_Task]:
    """Those of unknown outcome that can change something; values that nobody read are all alike."""
    tasks = list[_Task]()
    alike = dict[Call, int]()
    for op in sorted(operations, key=lambda op: op.invoked):
        call = op.call
        if isinstance(call, Get):
            continue
        if isinstance(call, Put | Swap) and call.value not in read:
            call = msgspec.structs.replace(call, value=UNSEEN)
        after = alike.get(call)
        alike[call] = len(tasks)
        tasks.append(_Task(msgspec.structs.replace(op, call=call), op.invoked, math.inf, after=after))
    return tasks


def _read_values(operations: Sequence[Operation]) -> set[str]:
    return {op.answer.value for op in operations if isinstance(op.answer, Found) and op.answer.value is not None}


def settle(operations: Sequence[Operation]) -> list[Operation]:
    """One key's history, with an outcome for each unknown write whose value nobody else wrote and somebody read: it had
    the revision that was read, and took effect before the read's answer."""
    writers = Counter(op.call.value for op in operations if isinstance(op.call, Put | Swap))
    first = dict[str, tuple[float, int]]()
    for op in operations:
        if isinstance(op.answer, Found) and op.answer.value is not None and op.returned is not None:
            here = op.returned, op.answer.mod
            first[op.answer.value] = min(here, first.get(op.answer.value, here))
    return [_settled(op, writers, first) for op in operations]


def _settled(op: Operation, writers: Counter[str], first: dict[str, tuple[float, int]]) -> Operation:
    call = op.call
    if op.answer is not None or not isinstance(call, Put | Swap) or writers[call.value] != 1 or call.value not in first:
        return op
    returned, revision = first[call.value]
    answer = Written(revision) if isinstance(call, Put) else Swapped(succeeded=True, revision=revision)
    return msgspec.structs.replace(op, answer=answer, returned=max(returned, op.invoked))
