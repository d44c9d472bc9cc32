"""The key-value store: one contract (`kv`), a reference in memory, SQLite on disk; and the reconcile core."""

from .drivers.sqlite import SqliteStore
from .errors import Compacted, Conflict, Corrupt, Invalid, NotFound, StoreError, Unavailable
from .kv import (
    Compare,
    DeleteOp,
    Event,
    EventKind,
    KeyValue,
    Lease,
    Op,
    PutOp,
    RangeOp,
    RangeResult,
    Store,
    Target,
    TxnResult,
    WatchBatch,
    absent,
    unchanged,
)
from .memory import MemoryStore

__all__ = [
    "Compacted",
    "Compare",
    "Conflict",
    "Corrupt",
    "DeleteOp",
    "Event",
    "EventKind",
    "Invalid",
    "KeyValue",
    "Lease",
    "MemoryStore",
    "NotFound",
    "Op",
    "PutOp",
    "RangeOp",
    "RangeResult",
    "SqliteStore",
    "Store",
    "StoreError",
    "Target",
    "TxnResult",
    "Unavailable",
    "WatchBatch",
    "absent",
    "unchanged",
]
