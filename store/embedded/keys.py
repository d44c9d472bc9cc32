"""Sorted keys in chunks, so that one insert into a million of them moves a thousand pointers and not a million.

Python orders strings by code point, which is the byte order of their UTF-8 and so SQLite's and etcd's. Pure.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

CHUNK = 1000


class SortedKeys:
    """A set of strings in ascending order."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        ordered = sorted(keys)
        self._chunks = [ordered[at : at + CHUNK] for at in range(0, len(ordered), CHUNK)]
        self._firsts = [chunk[0] for chunk in self._chunks]

    def add(self, key: bytes) -> None:
        """Add a key that is not there."""
        if not self._chunks:
            self._chunks, self._firsts = [[key]], [key]
            return
        at = self._chunk_of(key)
        chunk = self._chunks[at]
        insort(chunk, key)
        self._firsts[at] = chunk[0]
        if len(chunk) > 2 * CHUNK:
            self._chunks.insert(at + 1, chunk[CHUNK:])
            self._firsts.insert(at + 1, chunk[CHUNK])
            del chunk[CHUNK:]

    def remove(self, key: bytes) -> None:
        """Remove a key that is there."""
        at = self._chunk_of(key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if chunk:
            self._firsts[at] = chunk[0]
        else:
            del self._chunks[at], self._firsts[at]

    def between(self, low: bytes, high: bytes | None) -> Iterator[bytes]:
        """Keys in [low, high), ascending; None is no end. Lazy: a limited range costs what it yields."""
        for at in range(self._chunk_of(low), len(self._chunks)):
            chunk = self._chunks[at]
            start = bisect_left(chunk, low)
            if high is not None and chunk[-1] >= high:
                yield from chunk[start : bisect_left(chunk, high)]
                return
            yield from chunk[start:] if start else chunk

    def count(self, low: bytes, high: bytes | None) -> int:
        """How many keys `between` has; costs a step a chunk."""
        return self._rank(high) - self._rank(low) if high is None or low < high else 0

    def _rank(self, key: bytes | None) -> int:
        """How many keys come before `key`; None is the end."""
        if key is None:
            return sum(map(len, self._chunks))
        if not self._chunks:
            return 0
        at = self._chunk_of(key)
        return sum(map(len, self._chunks[:at])) + bisect_left(self._chunks[at], key)

    def _chunk_of(self, key: bytes) -> int:
        return max(bisect_right(self._firsts, key) - 1, 0)
