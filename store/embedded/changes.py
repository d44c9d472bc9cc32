"""Which keys changed at each revision that is kept, and what each change superseded: the index of the past.

A key at a past revision is what its first change since then superseded, or the present when there was none. So reading
the past takes no more than the changes since, 24 bytes each in memory: a key's own is found at the speed of a memory
scan, a range's at some ten million changes a second. Values are not here: what is to be shown is looked up by revision.
Pure.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from ..kv import Event

Before = dict[bytes, tuple[int, int]]
"""By key: the revision that it had (0: it was not there), and the first change since, which superseded that."""


class Changes:
    """In order of revision, from after `trim`'s last to the present."""

    def __init__(self) -> None:
        self._revisions, self._previous = array("q"), array("q")
        self._keys: list[bytes] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._keys) - self._start

    def add(self, revision: int, key: bytes, previous: int) -> None:
        """The next change, and the revision of what it superseded (0: nothing)."""
        self._revisions.append(revision)
        self._previous.append(previous)
        self._keys.append(key)

    def follow(self, events: Iterable[Event[bytes]]) -> None:
        """The changes of the next revision."""
        for event in events:
            self.add(event.kv.mod_revision, event.kv.key, event.prev.mod_revision if event.prev else 0)

    def trim(self, revision: int) -> None:
        """Forget the changes up to a revision."""
        revisions, start = self._revisions, self._start
        while start < len(revisions) and revisions[start] <= revision:
            start += 1
        self._start = start
        if start > 1000 and start > len(revisions) // 2:
            del self._revisions[:start], self._previous[:start], self._keys[:start]
            self._start = 0

    def since(self, revision: int, low: bytes, high: bytes | None, before: Before) -> None:
        """Add to `before` what the keys of [low, high) were at a revision, of those not in it that changed since."""
        start = bisect_right(self._revisions, revision, self._start)
        if high == low + b"\0":
            self._one(start, low, before)
            return
        rows = zip(self._keys[start:], self._previous[start:], self._revisions[start:], strict=True)
        for key, previous, changed in rows:
            if key >= low and (high is None or key < high) and key not in before:
                before[key] = (previous, changed)

    def _one(self, start: int, key: bytes, before: Before) -> None:
        try:
            at = self._keys.index(key, start)
        except ValueError:
            return
        before.setdefault(key, (self._previous[at], self._revisions[at]))
