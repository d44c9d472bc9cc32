"""The current keys in memory: what is committed, and nothing else.

Key order is the byte order of UTF-8. A prefix is the range from itself to its upper bound. Reads are answered from
here; changes come from a `Draft` (draft.py) that has become durable. Pure: no clock, no I/O.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import EmptyKey, Invalid, TooLarge
from ..kv import KeyValue
from .changes import Changes
from .keys import SortedKeys

MAX_KEY = 3 * 512 * 1024  # etcd limits requests only (--max-request-bytes)
FIRST_REVISION = 1
NO_END = b"\0"


def upper_bound(prefix: bytes) -> bytes | None:
    """The first key after every key that begins with `prefix`; None when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def check_key(key: bytes) -> None:
    """EmptyKey, TooLarge unless `key` is 1 to MAX_KEY bytes."""
    if not key:
        raise EmptyKey("an empty key names nothing; give a key")
    _check_length(key)


def bounds(key: bytes, end: bytes | None = None, prefix: bool = False) -> tuple[bytes, bytes | None]:
    """[low, high) of one key, of [key, end), or of a prefix (an empty one is everything); high None is no end, and so
    is an end of "\\0"."""
    if prefix and end is not None:
        raise Invalid("a range has an end or is a prefix; give one of them")
    if not prefix and end is None:
        check_key(key)
        return key, key + b"\0"
    _check_length(key)
    if end is not None:
        _check_length(end)
        return key, None if end == NO_END else end
    return key, upper_bound(key)


def shown(key: bytes) -> str:
    """A key in a message."""
    return key.decode(errors="backslashreplace")


def _check_length(key: bytes) -> None:
    if len(key) > MAX_KEY:
        raise TooLarge(f"a key of {len(key)} bytes is longer than {MAX_KEY}; shorten it")


@dataclass(slots=True)
class Keyspace:
    """Committed keys in order, which lease holds which, the revision (an empty store's is 1, as etcd's), the last
    compacted one, what changed since, and small values outside the keys."""

    revision: int = FIRST_REVISION
    items: dict[bytes, KeyValue[bytes]] = field(default_factory=dict)
    leases: dict[int, set[bytes]] = field(default_factory=dict)
    compacted: int = 0
    meta: dict[str, bytes] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    order: SortedKeys = field(init=False)

    def __post_init__(self) -> None:
        self.order = SortedKeys(self.items)
        for entry in self.items.values():
            if entry.lease:
                self.leases.setdefault(entry.lease, set()).add(entry.key)

    def set(self, entry: KeyValue[bytes]) -> None:
        """Put one committed key."""
        before = self.items.get(entry.key)
        if before is None:
            self.order.add(entry.key)
        elif before.lease and before.lease != entry.lease:
            self.leases.get(before.lease, set()).discard(entry.key)
        if entry.lease:
            self.leases.setdefault(entry.lease, set()).add(entry.key)
        self.items[entry.key] = entry

    def drop(self, key: bytes) -> None:
        """Remove one key, if there."""
        before = self.items.pop(key, None)
        if before is not None:
            self.order.remove(key)
            self.leases.get(before.lease, set()).discard(key)

    def get(self, key: bytes) -> KeyValue[bytes] | None:
        """A key, or None."""
        return self.items.get(key)

    def between(self, low: bytes, high: bytes | None) -> Iterator[bytes]:
        """Keys in [low, high), ascending."""
        return self.order.between(low, high)

    def count(self, low: bytes, high: bytes | None) -> int:
        """How many keys are in [low, high)."""
        return self.order.count(low, high)
