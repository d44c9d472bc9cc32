"""Compaction by age: the past older than so many seconds goes.

The revision is noted ten times an age; when a note is that old, what came before it is compacted. So the past is kept
for its age at least, and a tenth more at most. Notes are not kept through a restart: the past's age begins anew then.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from .keyspace import Keyspace

PART = 5_000
NOTES = 10


class Ageing:
    """`compact(revision)` is called for what is older than `age` seconds; None: never."""

    def __init__(self, age: float | None, keys: Keyspace, compact: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._age, self._keys, self._compact = age, keys, compact
        self._notes: deque[tuple[float, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._note()

    def stop(self) -> None:
        """Nothing grows old any more."""
        if self._timer:
            self._timer.cancel()

    def _note(self) -> None:
        if self._age is None:
            return
        now, upto = self._loop.time(), self._keys.compacted
        self._notes.append((now, self._keys.revision))
        while self._notes and self._notes[0][0] <= now - self._age:
            upto = max(upto, self._notes.popleft()[1])
        for revision in parts(self._keys.compacted, upto):
            self._compact(revision)
        self._timer = self._loop.call_later(self._age / NOTES, self._note)


def parts(last: int, revision: int) -> list[int]:
    """Where to stop on the way from one compacted revision to another: at PART revisions each."""
    return [*range(last + PART, revision, PART), revision] if last < revision else []
