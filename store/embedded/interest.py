"""What watchers want, found by the key that changed: a change costs what it concerns, not how many watch.

Watchers of the same range that skip the same kinds share one `Interest`, and what they are told is cut from a revision
once, the same object for all of them. Interests in one key or in a prefix are found by a look-up (of a prefix one a
length that is in use); other intervals, which are rare, are tried one by one. Pure.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..kv import EventKind, WatchBatch
from .keyspace import upper_bound

W = TypeVar("W")
Range = tuple[bytes, bytes | None, frozenset[EventKind]]


@dataclass(slots=True, eq=False)
class Interest(Generic[W]):
    """Of [low, high) (None: no end), without events of the kinds it skips; `members` want it, and those of them that
    are `idle` have seen all that there is."""

    low: bytes
    high: bytes | None
    skips: frozenset[EventKind]
    members: set[W] = field(default_factory=set)
    idle: dict[W, None] = field(default_factory=dict)
    _last: tuple[WatchBatch[bytes], WatchBatch[bytes] | None] | None = None

    def cut(self, batch: WatchBatch[bytes]) -> WatchBatch[bytes] | None:
        """The part of a batch that is wanted, or None; for the same batch the same object."""
        low, high, skips = self.low, self.high, self.skips
        if len(batch.events) == 1:
            (event,) = batch.events
            key = event.kv.key
            return batch if key >= low and (high is None or key < high) and event.kind not in skips else None
        if self._last is None or self._last[0] is not batch:
            self._last = (batch, self._cut(batch))
        return self._last[1]

    def _cut(self, batch: WatchBatch[bytes]) -> WatchBatch[bytes] | None:
        low, high, skips = self.low, self.high, self.skips
        events = tuple(
            event
            for event in batch.events
            if event.kv.key >= low and (high is None or event.kv.key < high) and event.kind not in skips
        )
        if len(events) == len(batch.events):
            return batch
        return WatchBatch(revision=batch.revision, events=events) if events else None


class Interests(Generic[W]):
    """All of them, by key."""

    def __init__(self) -> None:
        self._all = dict[Range, Interest[W]]()
        self._keys = dict[bytes, list[Interest[W]]]()
        self._prefixes = dict[bytes, list[Interest[W]]]()
        self._lengths = Counter[int]()
        self._spans = list[Interest[W]]()

    def join(self, member: W, low: bytes, high: bytes | None, skips: frozenset[EventKind]) -> Interest[W]:
        """The interest of a new member."""
        wanted = self._all.get((low, high, skips))
        if wanted is None:
            wanted = self._all[low, high, skips] = Interest[W](low, high, skips)
            self._place(wanted).append(wanted)
            if self._is_prefix(wanted):
                self._lengths[len(low)] += 1
        wanted.members.add(member)
        return wanted

    def leave(self, member: W, wanted: Interest[W]) -> None:
        """A member wants no more; again is nothing."""
        if member not in wanted.members:
            return
        wanted.members.discard(member)
        wanted.idle.pop(member, None)
        if wanted.members:
            return
        del self._all[wanted.low, wanted.high, wanted.skips]
        place = self._place(wanted)
        place.remove(wanted)
        if not place and place is not self._spans:
            del (self._keys if _is_key(wanted) else self._prefixes)[wanted.low]
        if self._is_prefix(wanted):
            self._lengths[len(wanted.low)] -= 1
            self._lengths += Counter()  # without zeros

    def at(self, key: bytes) -> Iterator[Interest[W]]:
        """Every interest in a key."""
        yield from self._keys.get(key, ())
        for length in self._lengths:
            if length <= len(key):
                yield from self._prefixes.get(key[:length], ())
        for wanted in self._spans:
            if wanted.low <= key and (wanted.high is None or key < wanted.high):
                yield wanted

    def _place(self, wanted: Interest[W]) -> list[Interest[W]]:
        if _is_key(wanted):
            return self._keys.setdefault(wanted.low, [])
        return self._prefixes.setdefault(wanted.low, []) if self._is_prefix(wanted) else self._spans

    def _is_prefix(self, wanted: Interest[W]) -> bool:
        return not _is_key(wanted) and wanted.high == upper_bound(wanted.low)


def _is_key(wanted: Interest[W]) -> bool:
    return wanted.high == wanted.low + b"\0"
