"""Changes evaluated over a keyspace and not yet durable.

Each transaction of a draft is one revision and sees those before it; the keyspace beneath is not touched (overlay.py).
When the draft is durable it is merged, and only then anybody can read it; when it could not be made durable it is
dropped, and nothing happened. A request is checked whole before anything of it is applied (requests.py). Pure: no
clock, no I/O.
"""

from collections.abc import Collection
from types import MappingProxyType

from ..errors import Compacted, LeaseExists, LeaseNotFound, NoSpace, StoreError
from ..kv import Event, PutOp, PutResult, TxnOp, TxnResult, WatchBatch
from .keyspace import Keyspace
from .overlay import Overlay
from .quota import LEASE, cost
from .requests import check_put, check_txn
from .transaction import Past, Transaction, future, no_key

NOTHING: Past = MappingProxyType({})
ALARM, NOSPACE = "alarm", b"nospace"


class Draft:
    """Transactions over `base`, the leases they began and ended, and the events they made; `room` is how many bytes
    may be written (None: any number)."""

    def __init__(self, base: Keyspace, room: int | None = None) -> None:
        self.base = base
        self.meta: dict[str, bytes | None] = {}
        self.revision = base.revision
        self.batches: list[WatchBatch[bytes]] = []
        self.granted: dict[int, float] = {}
        self.ended: set[int] = set()
        self.compacted = base.compacted
        self.defragments = False
        self.failure: StoreError | None = None
        self._keys = Overlay(base)
        self._room = room
        self._limited = room is not None or ALARM in base.meta

    def put(self, op: PutOp[bytes]) -> int | PutResult[bytes]:
        """One put, by a shorter way than a transaction; alone it is the lease that is looked at first, as in etcd."""
        check_put(op)
        if self._limited:
            self._afford(cost(op))
        if op.lease:
            self.check_lease(op.lease)
        if (op.ignore_value or op.ignore_lease) and self._keys.get(op.key) is None:
            raise no_key(op)
        revision = self.revision + 1
        event = self._keys.put(op, revision)
        self._close(revision, [event])
        return PutResult(revision=revision, prev=event.prev) if op.prev_kv else revision

    def txn(self, txn: TxnOp[bytes], past: Past = NOTHING) -> TxnResult[bytes]:
        """Evaluate one transaction, whose reads of the past are answered already; raises and changes nothing when any
        part of it is invalid."""
        check_txn(txn)
        if self._limited and (costs := cost(txn)):
            self._afford(costs)
        transaction = Transaction(self._keys, self.revision, self.check_lease, past)
        result = transaction.run(txn)
        self._close(self.revision + 1, transaction.events)
        return result

    def grant(self, lease: int, ttl: float) -> None:
        """Begin a lease. Conflict when it lives already, NoSpace."""
        if self._limited:
            self._afford(LEASE)
        if lease in self.base.leases or lease in self.granted or lease in self.ended:
            raise LeaseExists(f"lease {lease} exists already; choose another id, or none")
        self.granted[lease] = ttl

    def note(self, name: str, value: bytes | None) -> None:
        """Set a value outside the keys, or remove it."""
        self.meta[name] = value
        self._limited = self._limited or name == ALARM

    def end(self, lease: int) -> None:
        """End a lease: its keys go in one revision. NotFound when there is none."""
        self.check_lease(lease)
        keys = set(self.base.leases.get(lease, ())) | set(self._keys.changed)
        revision, events = self.revision + 1, list[Event[bytes]]()
        for key in sorted(keys):
            entry = self._keys.get(key)
            if entry is not None and entry.lease == lease:
                events.append(self._keys.delete(entry, revision))
        self._close(revision, events)
        self.granted.pop(lease, None)
        self.ended.add(lease)

    def compact(self, revision: int) -> None:
        """Keep nothing that is older than the keys at this revision. Future, Compacted."""
        if revision > self.revision:
            raise future(revision, self.revision)
        if revision <= self.compacted:
            raise Compacted(f"revision {revision} is compacted already, as is {self.compacted}", self.compacted)
        self.compacted = revision

    def defragment(self) -> "Draft":
        """Ask for the disk space of what is no longer kept; `failure` says why there is none, though all else of the
        draft is durable."""
        self.defragments = True
        return self

    def merge(self) -> None:
        """The draft is durable: make it what everybody reads."""
        self._keys.merge()
        for batch in self.batches:
            self.base.changes.follow(batch.events)
        for lease in self.granted:
            self.base.leases.setdefault(lease, set())
        for lease in self.ended:
            self.base.leases.pop(lease, None)
        for name, value in self.meta.items():
            if value is None:
                self.base.meta.pop(name, None)
            else:
                self.base.meta[name] = value
        self.base.revision = self.revision
        self.base.compacted = max(self.base.compacted, self.compacted)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to make durable."""
        changes = self.batches or self.granted or self.ended or self.meta or self.defragments
        return not changes and self.compacted == self.base.compacted

    def is_in(self, found: Keyspace, leases: Collection[int]) -> bool:
        """Whether the draft is part of what was found durable."""
        return (
            (not self.batches or found.revision >= self.revision)
            and all(lease in leases for lease in self.granted)
            and not any(lease in leases for lease in self.ended)
            and all(found.meta.get(name) == value for name, value in self.meta.items())
        )

    def check_lease(self, lease: int) -> None:
        """NotFound when there is no such lease."""
        if lease in self.ended or not (lease in self.base.leases or lease in self.granted):
            raise LeaseNotFound(f"lease {lease} does not exist; it has ended or was never granted")

    def _afford(self, costs: int) -> None:
        """Take from the room. NoSpace, and the alarm, when that is too much; NoSpace while there is the alarm."""
        alarm = self.meta[ALARM] if ALARM in self.meta else self.base.meta.get(ALARM)
        if alarm is None and (self._room is None or costs < self._room):
            self._room = None if self._room is None else self._room - costs
            return
        if alarm is None:
            self.meta[ALARM] = NOSPACE
        raise NoSpace("the store has reached its quota: only reads and deletes; compact, defragment, end the alarm")

    def _close(self, revision: int, events: list[Event[bytes]]) -> None:
        if events:
            self.revision = revision
            self.batches.append(WatchBatch(revision=revision, events=tuple(events)))
