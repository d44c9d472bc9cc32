"""A change as a row of the log, and back."""

from collections.abc import Sequence
from typing import Any

from ...kv import Event, EventKind, KeyValue
from ..overlay import tombstone

COLUMNS = "revision, sub, key, value, created, version, lease, previous"


def row(sub: int, event: Event[bytes]) -> tuple[object, ...]:
    """COLUMNS of a change; `sub` is its place in its revision."""
    entry = event.kv
    return (
        entry.mod_revision,
        sub,
        entry.key,
        entry.value,
        entry.create_revision,
        entry.version,
        entry.lease,
        event.prev.mod_revision if event.prev else 0,
    )


def event(found: Sequence[Any]) -> Event[bytes]:
    """Of (revision, key, value, created, version, lease) and what it superseded: (value, created, revision, version,
    lease), or as many None."""
    revision, key, value, created, version, lease, old_value, *old = found
    prev = None if old_value is None else entry(key, old_value, *old)
    if version:
        return Event(kind=EventKind.PUT, kv=entry(key, value, created, revision, version, lease), prev=prev)
    return Event(kind=EventKind.DELETE, kv=tombstone(key, revision), prev=prev)


def entry(key: bytes, value: bytes, created: int, revision: int, version: int, lease: int) -> KeyValue[bytes]:
    """A key."""
    return KeyValue(key=key, value=value, create_revision=created, mod_revision=revision, version=version, lease=lease)
