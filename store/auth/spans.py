"""Intervals of keys: what a user's permissions come to, and whether a request lies within them.

`end` is etcd's: empty for one key, b"\\0" for all keys from there on. Intervals that touch or overlap become one, so a
request may cross permissions but no gap between them. One that ends before it begins, or begins at no key, holds
nothing; a request for one asks for its first key, as etcd looks at it.
"""

from bisect import bisect_right
from collections.abc import Iterable

Span = tuple[bytes, bytes | None]
"""[low, high); no high: to the end."""


def span(key: bytes, end: bytes = b"") -> Span:
    if not end:
        return key, key + b"\0"
    return key, None if end == b"\0" else end


def ends_after(high: bytes | None, other: bytes | None) -> bool:
    """Whether a span's end lies at or behind another's."""
    return high is None or (other is not None and high >= other)


class Spans:
    """Disjoint intervals in order."""

    def __init__(self, parts: Iterable[Span]) -> None:
        self._lows = list[bytes]()
        self._highs = list[bytes | None]()
        for low, high in sorted(filter(_holds, parts), key=lambda part: part[0]):
            if self._lows and ends_after(self._highs[-1], low):
                if ends_after(high, self._highs[-1]):
                    self._highs[-1] = high
            else:
                self._lows.append(low)
                self._highs.append(high)

    def covers(self, key: bytes, end: bytes = b"") -> bool:
        low, high = span(key, end)
        if high is not None and high <= low:
            low, high = span(key)
        at = bisect_right(self._lows, low) - 1
        return bool(key) and at >= 0 and ends_after(self._highs[at], high)


def _holds(part: Span) -> bool:
    low, high = part
    return bool(low) and (high is None or low < high)
