"""The current keys in memory: what is committed, and nothing else.

Key order is the byte order of UTF-8. A prefix is the range from itself to its upper bound. Reads are answered from
here; changes come from a `Draft` (draft.py) that has become durable. Pure: no clock, no I/O.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import Invalid
from .keys import SortedKeys
from .kv import KeyValue

MAX_KEY = 4096
FIRST_REVISION = 1
NO_END = "\0"


def upper_bound(prefix: str) -> str | None:
    """The first key after every key that begins with `prefix`; None when there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        if ord(prefix[index]) < 0x10FFFF:
            following = ord(prefix[index]) + 1
            # no character lives in the surrogate range
            return prefix[:index] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)
    return None


def check_key(key: str) -> None:
    """Invalid unless `key` is 1 to MAX_KEY bytes of UTF-8."""
    if not key:
        raise Invalid("an empty key names nothing; give a key")
    _check_text(key)


def bounds(key: str, end: str | None = None, prefix: bool = False) -> tuple[str, str | None]:
    """[low, high) of one key, of [key, end), or of a prefix (an empty one is everything); high None is no end, and so
    is an end of "\\0"."""
    if prefix and end is not None:
        raise Invalid("a range has an end or is a prefix; give one of them")
    if not prefix and end is None:
        check_key(key)
        return key, key + "\0"
    _check_text(key)
    if end is not None:
        _check_text(end)
        return key, None if end == NO_END else end
    return key, upper_bound(key)


def _check_text(key: str) -> None:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise Invalid(f"the key {key!r} is not valid Unicode; a key is UTF-8 text") from None
    if length > MAX_KEY:
        raise Invalid(f"a key of {length} bytes is longer than {MAX_KEY}; shorten it")


@dataclass(slots=True)
class Keyspace:
    """Committed keys in order, which lease holds which, the revision (an empty store's is 1, as etcd's), and the
    last compacted one."""

    revision: int = FIRST_REVISION
    items: dict[str, KeyValue] = field(default_factory=dict)
    leases: dict[int, set[str]] = field(default_factory=dict)
    compacted: int = 0
    order: SortedKeys = field(init=False)

    def __post_init__(self) -> None:
        self.order = SortedKeys(self.items)
        for entry in self.items.values():
            if entry.lease:
                self.leases.setdefault(entry.lease, set()).add(entry.key)

    def set(self, entry: KeyValue) -> None:
        """Put one committed key."""
        before = self.items.get(entry.key)
        if before is None:
            self.order.add(entry.key)
        elif before.lease and before.lease != entry.lease:
            self.leases.get(before.lease, set()).discard(entry.key)
        if entry.lease:
            self.leases.setdefault(entry.lease, set()).add(entry.key)
        self.items[entry.key] = entry

    def drop(self, key: str) -> None:
        """Remove one key, if there."""
        before = self.items.pop(key, None)
        if before is not None:
            self.order.remove(key)
            self.leases.get(before.lease, set()).discard(key)

    def get(self, key: str) -> KeyValue | None:
        """A key, or None."""
        return self.items.get(key)

    def between(self, low: str, high: str | None) -> Iterator[str]:
        """Keys in [low, high), ascending."""
        return self.order.between(low, high)

    def count(self, low: str, high: str | None) -> int:
        """How many keys are in [low, high)."""
        return self.order.count(low, high)
