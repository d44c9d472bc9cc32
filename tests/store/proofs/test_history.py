"""The record of what clients did outlives them."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from .history import History, load, merge
from .operations import Answer, Call, Delete, Found, Get, Lost, Operation, Put, Refused, Removed, Swap, Swapped, Written
from .watching import Message, Wanted

CALLS: list[tuple[Call, Answer]] = [
    (Put("k", "a"), Written(2)),
    (Get("k"), Found("a", 2, 1, 2)),
    (Get("other"), Found(None)),
    (Swap("k", "b", "mod", 2), Swapped(succeeded=True, revision=3)),
    (Swap("k", "c", "version", 9), Swapped(succeeded=False)),
    (Delete("k"), Removed(1, 4)),
]


class Scripted:
    """A client whose answers are known."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)

    async def perform(self, call: Call) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def watch(self, wanted: Wanted, start: int) -> AsyncGenerator[Message, None]:
        raise Lost("it only performs")


class Clock:
    def __init__(self, first: float = 0.0) -> None:
        self.time = first

    def __call__(self) -> float:
        self.time += 1
        return self.time


def test_an_operation_has_the_times_before_its_call_and_after_its_answer() -> None:
    history = History(now=Clock())
    one = history.invoked("c1", Put("k", "a"))
    other = history.invoked("c2", Get("k"))
    history.answered(one, Written(2))
    assert history.operations() == (
        Operation("c1", Put("k", "a"), 1, Written(2), 3),
        Operation("c2", Get("k"), 2),
    )
    history.answered(other, Found(None))
    assert history.operations()[1] == Operation("c2", Get("k"), 2, Found(None), 4)


async def test_a_refused_call_leaves_nothing_and_a_lost_one_an_unknown_outcome() -> None:
    history = History(now=Clock())
    client = Scripted(Written(2), Refused("closed"), Lost("gone"))
    assert await history.perform("c1", client, Put("k", "a")) == Written(2)
    with pytest.raises(Refused, match="closed"):
        await history.perform("c1", client, Put("k", "b"))
    assert await history.perform("c1", client, Put("k", "c")) is None
    assert [(op.call, op.answer) for op in history.operations()] == [
        (Put("k", "a"), Written(2)),
        (Put("k", "c"), None),
    ]


def test_a_file_gives_back_every_kind_of_operation(rundir: Path) -> None:
    with History(rundir / "h", now=Clock()) as history:
        for call, answer in CALLS:
            history.answered(history.invoked("c1", call), answer)
        history.invoked("c1", Delete("k"))
    assert load(rundir / "h") == list(history.operations())
    assert [(op.call, op.answer) for op in load(rundir / "h")] == [*CALLS, (Delete("k"), None)]


def test_a_client_that_goes_on_after_its_death_leaves_the_last_operation_unknown(rundir: Path) -> None:
    with History(rundir / "h", now=Clock()) as before:
        before.invoked("c1", Put("k", "a"))
    with History(rundir / "h", now=Clock(10)) as after:
        after.answered(after.invoked("c1", Get("k")), Found(None))
    assert load(rundir / "h") == [Operation("c1", Put("k", "a"), 1), Operation("c1", Get("k"), 11, Found(None), 12)]


def test_files_of_several_clients_make_one_history_by_time(rundir: Path) -> None:
    for name, first in (("one", 0.0), ("two", 0.5)):
        with History(rundir / name, now=Clock(first)) as history:
            for call, answer in CALLS[:2]:
                history.answered(history.invoked(name, call), answer)
    merged = merge(load(rundir / name) for name in ("one", "two"))
    assert [(op.client, op.invoked) for op in merged] == [("one", 1), ("two", 1.5), ("one", 3), ("two", 3.5)]


def test_a_line_cut_short_is_left_out_and_one_that_is_wrong_is_named(rundir: Path) -> None:
    path = rundir / "h"
    with History(path, now=Clock()) as history:
        history.answered(history.invoked("c1", Put("k", "a")), Written(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert load(path) == [Operation("c1", Put("k", "a"), 1)]
    path.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(ValueError, match="h:1: "):
        load(path)
    path.write_bytes(whole.splitlines(keepends=True)[1])
    with pytest.raises(ValueError, match="never began"):
        load(path)


VICTIM = """
import sys
from pathlib import Path
from tests.store.proofs.history import History
from tests.store.proofs.operations import Put, Written
history = History(Path(sys.argv[1]))
for number in range(1_000_000):
    history.answered(history.invoked("c1", Put("k", str(number))), Written(number))
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_knew(rundir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", VICTIM, rundir / "h"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        last = 199 + len(process.stdout.read().splitlines())
    answered = [op.call.value for op in load(rundir / "h") if isinstance(op.call, Put) and op.answer is not None]
    assert answered[: last + 1] == [str(number) for number in range(last + 1)]
    assert len(load(rundir / "h")) <= last + 3
