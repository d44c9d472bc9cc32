"""A part of a store as a store of its own: every key lies beneath a prefix that its user never sees.

For what concerns one machine only: on an engine of its own and in a cluster that many share it has the same keys.
Revisions, leases, compaction, and the room that a key has, are those of the whole; messages name its keys.
"""

from collections.abc import Iterable
from dataclasses import replace

from .errors import EmptyKey
from .kv import KeyValue, Store
from .mapped import MappedStore

NO_END = "\0"


class _Beneath:
    """Keys without their prefix, which is not empty."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._length = prefix, len(prefix)
        self._after = prefix[:-1] + chr(ord(prefix[-1]) + 1)

    def key(self, key: str, *, ranged: bool) -> str:
        """EmptyKey: beneath the prefix an empty one would name the prefix itself."""
        if not key and not ranged:
            raise EmptyKey("an empty key names nothing; give a key")
        return self._prefix + key

    def end(self, end: str) -> str:
        return self._after if end == NO_END else self._prefix + end

    def entry(self, entry: KeyValue) -> KeyValue:
        return replace(entry, key=entry.key[self._length :])

    def keys(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Of a lease that others use too, the keys beneath the prefix."""
        return tuple(key[self._length :] for key in keys if key.startswith(self._prefix))


class ScopedStore(MappedStore[str, str]):
    """`Store` over the keys of `store` that begin with `prefix`, which is not empty. Closing it closes nothing."""

    def __init__(self, store: Store, prefix: str) -> None:
        super().__init__(store, _Beneath(prefix))

    async def close(self) -> None:
        return None
