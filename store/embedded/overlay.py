"""Changes over a keyspace that is not touched: what is read through it sees them. Pure."""

import heapq
from collections.abc import Iterator

from ..kv import Event, EventKind, KeyValue, PutOp
from .keyspace import Keyspace


class Overlay:
    """`changed` has every changed key, deleted ones with None."""

    def __init__(self, base: Keyspace, changed: dict[bytes, KeyValue[bytes] | None] | None = None) -> None:
        self.base = base
        self.changed: dict[bytes, KeyValue[bytes] | None] = {} if changed is None else changed

    def get(self, key: bytes) -> KeyValue[bytes] | None:
        """A key as changed, or as it is beneath."""
        return self.changed[key] if key in self.changed else self.base.items.get(key)

    def between(self, low: bytes, high: bytes | None) -> Iterator[bytes]:
        """Keys in [low, high), ascending; deleted ones too."""
        new = sorted(
            key for key in self.changed if key >= low and (high is None or key < high) and key not in self.base.items
        )
        return heapq.merge(self.base.order.between(low, high), new)

    def count(self, low: bytes, high: bytes | None) -> int:
        """How many keys are in [low, high), as changed."""
        count = self.base.order.count(low, high)
        for key, entry in self.changed.items():
            if key >= low and (high is None or key < high):
                count += (entry is not None) - (key in self.base.items)
        return count

    def put(self, op: PutOp[bytes], revision: int) -> Event[bytes]:
        """Set a key."""
        before = self.get(op.key)
        entry = KeyValue(
            key=before.key if before else op.key,  # one object in memory for all that name it
            value=before.value if before and op.ignore_value else op.value,
            create_revision=before.create_revision if before else revision,
            mod_revision=revision,
            version=before.version + 1 if before else 1,
            lease=before.lease if before and op.ignore_lease else op.lease,
        )
        self.changed[op.key] = entry
        return Event(kind=EventKind.PUT, kv=entry, prev=before)

    def delete(self, before: KeyValue[bytes], revision: int) -> Event[bytes]:
        """Delete a key that is there."""
        self.changed[before.key] = None
        return Event(kind=EventKind.DELETE, kv=tombstone(before.key, revision), prev=before)

    def merge(self) -> None:
        """Make the changes in the keyspace beneath."""
        for key, entry in self.changed.items():
            if entry is None:
                self.base.drop(key)
            else:
                self.base.set(entry)


def tombstone(key: bytes, revision: int) -> KeyValue[bytes]:
    """What a delete's event says: the key and the deleting revision; version 0."""
    return KeyValue(key=key, value=b"", create_revision=0, mod_revision=revision, version=0)
