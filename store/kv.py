"""The store's contract: etcd's data model, one machine or many behind it.

Every change makes a new revision of the whole store; a key remembers the revision that created it, the one that changed
it last, and how often it changed since. A transaction is one revision. A watch begins at a revision and misses nothing
after it. A lease is a time to live shared by keys; when it ends they are deleted in one revision. (etcd API reference,
v3.)
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol

from typing_extensions import TypeVar

K = TypeVar("K", str, bytes, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue(Generic[K]):
    """One key at one revision; `lease` is 0 when none holds it; `version` counts changes since creation, from 1."""

    key: K
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeResult(Generic[K]):
    """Keys in the order asked for, the store's revision now, whether the limit cut some off, and how many keys the
    range has, whatever limit and bounds left of them."""

    kvs: tuple[KeyValue[K], ...]
    revision: int
    more: bool = False
    count: int = 0


class EventKind(StrEnum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[K]):
    """One key's change; of a delete, `kv` has the key and the deleting revision; `prev` is what was there before."""

    kind: EventKind
    kv: KeyValue[K]
    prev: KeyValue[K] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBatch(Generic[K]):
    """Every matching event of one revision."""

    revision: int
    events: tuple[Event[K], ...]


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
class Compare(Generic[K]):
    """One condition, `op` one of = != < >; a missing key has version, create, mod and lease 0, and no comparison with
    its value holds, != neither (as in etcd). Of a range (`end`, `prefix`) it must hold for every key; one without keys
    compares as a missing key."""

    key: K
    target: Target
    op: str
    value: int | bytes
    end: K | None = None
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class PutOp(Generic[K]):
    """Set one key, held by `lease` from now on (0: by none). `ignore_value` keeps the value, `ignore_lease` the lease
    of a key that must be there; `prev_kv` asks for what was there before (a `PutResult`)."""

    key: K
    value: bytes
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOp(Generic[K]):
    """Delete one key, those in [key, end), or with `prefix` those that begin with it; what is not there is no error.
    `prev_kv` asks for what was deleted (a `DeleteResult`)."""

    key: K
    end: K | None = None
    prefix: bool = False
    prev_kv: bool = False


@dataclass(frozen=True, slots=True)
class RangeOp(Generic[K]):
    """Read one key, those in [key, end), or with `prefix` those that begin with it; at most `limit` (0: all). An `end`
    of "\\0" is no end.

    `revision` reads the past (0: now). `keys_only` leaves the values out, `count_only` the keys too. `sort` orders by
    something else than the key, ascending unless `descending`. The bounds leave out keys whose mod or create revision
    is less than the min or greater than the max (0: no bound).
    """

    key: K
    end: K | None = None
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
class TxnOp(Generic[K]):
    """`then` when every compare holds, else `otherwise`. Nested, its compares see what was there before the outermost
    transaction (as in etcd)."""

    compares: Sequence[Compare[K]] = ()
    then: "Sequence[Op[K]]" = ()
    otherwise: "Sequence[Op[K]]" = ()


Op = PutOp[K] | DeleteOp[K] | RangeOp[K] | TxnOp[K]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult(Generic[K]):
    """A put that was asked what it replaced; None: the key is new."""

    revision: int
    prev: KeyValue[K] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteResult(Generic[K]):
    """A delete that was asked what it deleted."""

    count: int
    prev: tuple[KeyValue[K], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TxnResult(Generic[K]):
    """Which branch ran, the revision after it, and one result an operation: a put's revision or `PutResult`, a
    delete's count or `DeleteResult`, a range's keys, a nested transaction's own."""

    succeeded: bool
    revision: int
    results: "tuple[Result[K], ...]"


Result = int | PutResult[K] | DeleteResult[K] | RangeResult[K] | TxnResult[K]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`ttl` in seconds."""

    id: int
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseStatus(Generic[K]):
    """A living lease: the seconds it was granted, those that remain, and the keys it holds, sorted."""

    id: int
    granted: float
    remaining: float
    keys: tuple[K, ...]


def absent(key: K) -> Compare[K]:
    """True while nobody has the key: the compare of every claim."""
    return Compare(key, Target.CREATE, "=", 0)


def unchanged(entry: KeyValue[K]) -> Compare[K]:
    """True while nobody changed the key since it was read."""
    return Compare(entry.key, Target.MOD, "=", entry.mod_revision)


class Watch(Protocol[K]):
    """Batches in order, each once; see `Store.watch`. A wait that is given up loses nothing: ask again."""

    def __aiter__(self) -> "Watch[K]": ...

    async def __anext__(self) -> WatchBatch[K]: ...

    async def wait(self, seconds: float) -> WatchBatch[K]:
        """The next batch; when none came for so long, one without events: all up to its revision was handed out
        (etcd's progress notification)."""
        ...


class Store(Protocol[K]):
    """What every engine gives. `Store` has text keys, `Store[bytes]` has etcd's.

    A change is acknowledged when it is durable and seen by readers only then; an error means that nothing of it was
    kept, except when it says that the outcome is unknown (the disk failed under it, the server went away), and after
    cancellation: who stops waiting does not know. All calls may raise Unavailable, and Denied where users are told
    apart. Keys are in the order of their bytes; text is UTF-8 of at most 4096 bytes; a request is at most 1.5 MiB, as
    in etcd (else TooLarge).
    """

    async def range(
        self, key: K, *, end: K | None = None, prefix: bool = False, limit: int = 0, revision: int = 0
    ) -> RangeResult[K]:
        """Keys equal to `key`, in [key, end), or beginning with it (the empty prefix is every key); `limit` 0 is no
        limit, `revision` 0 is now."""
        ...

    async def read(self, op: RangeOp[K]) -> RangeResult[K]:
        """A range with everything that it can ask for. Future; Compacted when its revision is older than the last
        compacted one."""
        ...

    async def get(self, key: K) -> KeyValue[K] | None:
        """One key, or None."""
        ...

    async def put(self, key: K, value: bytes, *, lease: int = 0) -> int:
        """Set a key; returns the revision. The key then belongs to `lease`, or to none. LeaseNotFound when it has
        ended."""
        ...

    async def delete(self, key: K, *, end: K | None = None, prefix: bool = False) -> int:
        """Delete keys as `range` selects them; returns how many. None deleted makes no revision."""
        ...

    async def txn(
        self, compares: Sequence[Compare[K]], then: Sequence[Op[K]], otherwise: Sequence[Op[K]] = ()
    ) -> TxnResult[K]:
        """All of `then` when every compare holds, else all of `otherwise`, as one revision; later operations see
        earlier ones. TooManyOps with more than 128 operations, DuplicateKey with a key put twice, or put and deleted
        (nested transactions counted in; only one of their branches runs, so a key may be in both)."""
        ...

    async def apply(self, op: Op[K]) -> Result[K]:
        """One operation with everything that it can ask for, alone in its transaction."""
        ...

    def watch(
        self,
        key: K,
        *,
        end: K | None = None,
        prefix: bool = False,
        from_revision: int | None = None,
        skips: Collection[EventKind] = (),
    ) -> AbstractAsyncContextManager[Watch[K]]:
        """Events after entry, or from a revision on (inclusive; it may be yet to come), in order, each once, a revision
        whole; without those of the kinds it `skips`. Compacted when that is no longer kept, at entry or when a reader
        is too slow: range again, and watch from the range's revision + 1. Unavailable when the store is closed."""
        ...

    async def lease_grant(self, ttl: float, *, id: int = 0) -> Lease:
        """A new lease of `ttl` seconds (> 0, at most 9,000,000,000; etcd has whole seconds and a minimum, 2 s unless
        told otherwise: the answer says what was granted). `id` chooses the lease's (0: none does); LeaseExists when it
        lives already. A restart begins every living lease's time anew, in full."""
        ...

    async def lease_keepalive(self, lease: int) -> Lease:
        """Begin the lease's time anew; LeaseNotFound when it has ended."""
        ...

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and delete its keys in one revision; LeaseNotFound when it has ended."""
        ...

    async def lease_time_to_live(self, lease: int) -> LeaseStatus[K]:
        """How long a lease has, and its keys. LeaseNotFound when it has ended."""
        ...

    async def leases(self) -> tuple[int, ...]:
        """Every lease that has not ended, sorted."""
        ...

    async def compact(self, revision: int) -> None:
        """Keep nothing that is older than the keys at this revision, which stays the oldest that can be read. Watches
        that are further behind end with Compacted. Future; Compacted when that was done before."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything. Again is nothing."""
        ...
