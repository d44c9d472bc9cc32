"""The store's contract: etcd's data model, one machine or many behind it.

Every change makes a new revision of the whole store; a key remembers the revision that created it, the one that changed
it last, and how often it changed since. A transaction is one revision. A watch begins at a revision and misses nothing
after it. A lease is a time to live shared by keys; when it ends they are deleted in one revision. (etcd API reference,
v3.)
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """One key at one revision; `lease` is 0 when none holds it; `version` counts changes since creation, from 1."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeResult:
    """Keys in the order asked for, the store's revision now, whether the limit cut some off, and how many keys the
    range has, whatever limit and bounds left of them."""

    kvs: tuple[KeyValue, ...]
    revision: int
    more: bool = False
    count: int = 0


class EventKind(StrEnum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One key's change; of a delete, `kv` has the key and the deleting revision; `prev` is what was there before."""

    kind: EventKind
    kv: KeyValue
    prev: KeyValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBatch:
    """Every matching event of one revision."""

    revision: int
    events: tuple[Event, ...]


class Target(StrEnum):
    """What of a key is compared: a field of `KeyValue`."""

    VERSION = "version"
    CREATE = "create"
    MOD = "mod"
    VALUE = "value"
    LEASE = "lease"


class SortBy(StrEnum):
    """What of a key a range is sorted by."""

    KEY = "key"
    VERSION = "version"
    CREATE = "create"
    MOD = "mod"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition, `op` one of = != < >; a missing key has version, create, mod and lease 0, and no comparison with
    its value holds, != neither (as in etcd). Of a range (`end`, `prefix`) it must hold for every key; one without keys
    compares as a missing key."""

    key: str
    target: Target
    op: str
    value: int | bytes
    end: str | None = None
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class PutOp:
    """Set one key, held by `lease` from now on (0: by none). `ignore_value` keeps the value, `ignore_lease` the lease
    of a key that must be there; `prev_kv` asks for what was there before (a `PutResult`)."""

    key: str
    value: bytes
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """Delete one key, those in [key, end), or with `prefix` those that begin with it; what is not there is no error.
    `prev_kv` asks for what was deleted (a `DeleteResult`)."""

    key: str
    end: str | None = None
    prefix: bool = False
    prev_kv: bool = False


@dataclass(frozen=True, slots=True)
class RangeOp:
    """Read one key, those in [key, end), or with `prefix` those that begin with it; at most `limit` (0: all). An `end`
    of "\\0" is no end.

    `revision` reads the past (0: now). `keys_only` leaves the values out, `count_only` the keys too. `sort` orders by
    something else than the key, ascending unless `descending`. The bounds leave out keys whose mod or create revision
    is less than the min or greater than the max (0: no bound).
    """

    key: str
    end: str | None = None
    prefix: bool = False
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False
    sort: SortBy | None = None
    descending: bool = False
    min_mod: int = 0
    max_mod: int = 0
    min_create: int = 0
    max_create: int = 0


@dataclass(frozen=True, slots=True)
class TxnOp:
    """`then` when every compare holds, else `otherwise`. Nested, its compares see what was there before the outermost
    transaction (as in etcd)."""

    compares: Sequence[Compare] = ()
    then: "Sequence[Op]" = ()
    otherwise: "Sequence[Op]" = ()


Op = PutOp | DeleteOp | RangeOp | TxnOp


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """A put that was asked what it replaced; None: the key is new."""

    revision: int
    prev: KeyValue | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResult:
    """A delete that was asked what it deleted."""

    count: int
    prev: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnResult:
    """Which branch ran, the revision after it, and one result an operation: a put's revision or `PutResult`, a
    delete's count or `DeleteResult`, a range's keys, a nested transaction's own."""

    succeeded: bool
    revision: int
    results: "tuple[Result, ...]"


Result = int | PutResult | DeleteResult | RangeResult | TxnResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`ttl` in seconds."""

    id: int
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseStatus:
    """A living lease: the seconds it was granted, those that remain, and the keys it holds, sorted."""

    id: int
    granted: float
    remaining: float
    keys: tuple[str, ...]


def absent(key: str) -> Compare:
    """True while nobody has the key: the compare of every claim."""
    return Compare(key, Target.CREATE, "=", 0)


def unchanged(entry: KeyValue) -> Compare:
    """True while nobody changed the key since it was read."""
    return Compare(entry.key, Target.MOD, "=", entry.mod_revision)


class Store(Protocol):
    """What every engine gives. A change is acknowledged when it is durable and seen by readers only then; an error
    means that nothing of it was kept, except when it says that the outcome is unknown (the disk failed under it), and
    after cancellation: who stops waiting does not know. All calls may raise Unavailable. Keys are UTF-8 text of 1 to
    4096 bytes, in byte order; the values of one request together at most 1.5 MiB, as in etcd (else Invalid)."""

    async def range(self, key: str, *, end: str | None = None, prefix: bool = False, limit: int = 0) -> RangeResult:
        """Keys equal to `key`, in [key, end), or beginning with it ("" is every key); `limit` 0 is no limit."""
        ...

    async def get(self, key: str) -> KeyValue | None:
        """One key, or None."""
        ...

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Set a key; returns the revision. The key then belongs to `lease`, or to none. NotFound when it has ended."""
        ...

    async def delete(self, key: str, *, end: str | None = None, prefix: bool = False) -> int:
        """Delete keys as `range` selects them; returns how many. None deleted makes no revision."""
        ...

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        """All of `then` when every compare holds, else all of `otherwise`, as one revision; later operations see
        earlier ones. Invalid with more than 128 operations, a key put twice, or put and deleted (nested transactions
        counted in; only one of their branches runs, so a key may be in both)."""
        ...

    def watch(
        self, key: str, *, prefix: bool = False, from_revision: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        """Events after entry, or from a revision on (inclusive; it may be yet to come), in order, each once, a revision
        whole. Compacted when that is no longer kept, at entry or when a reader is too slow: range again, and watch
        from the range's revision + 1. Unavailable when the store is closed. A wait for
        the next batch that is cancelled loses nothing: ask again."""
        ...

    async def lease_grant(self, ttl: float) -> Lease:
        """A new lease of `ttl` seconds (> 0). A restart begins every living lease's time anew, in full."""
        ...

    async def lease_keepalive(self, lease: int) -> Lease:
        """Begin the lease's time anew; NotFound when it has ended."""
        ...

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and delete its keys in one revision; NotFound when it has ended."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything. Again is nothing."""
        ...
