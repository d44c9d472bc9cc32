"""What can go wrong in the store, by what the caller can do about it."""


class StoreError(Exception):
    """Base of the store's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(StoreError):
    """The request makes no sense as written."""

    kind = "usage"


class EmptyKey(Invalid):
    """No key is given (etcd: `key is not provided`)."""


class ValueGiven(Invalid):
    """A put that keeps the value has one (etcd: `value is provided`)."""


class LeaseGiven(Invalid):
    """A put that keeps the lease has one (etcd: `lease is provided`)."""


class TooLarge(Invalid):
    """The request is too large (etcd: `request is too large`)."""


class TtlTooLarge(Invalid):
    """A lease's time to live is above 9,000,000,000 s (etcd: `too large lease TTL`)."""


class Future(Invalid):
    """The revision asked for is yet to come (etcd: OutOfRange, `required revision is a future revision`)."""


class DuplicateKey(Invalid):
    """A transaction puts a key twice, or puts and deletes it (etcd: `duplicate key given in txn request`)."""


class TooManyOps(Invalid):
    """A transaction is too long (etcd: `too many operations in txn request`)."""


class NoKey(Invalid):
    """The key whose value or lease a put would keep is not there (etcd: `key not found`)."""


class NotFound(StoreError):
    """No such thing."""

    kind = "not-found"


class LeaseNotFound(NotFound):
    """No such lease, or it has ended (etcd: `requested lease not found`)."""


class Conflict(StoreError):
    """Somebody else holds what was asked for."""

    kind = "conflict"


class LeaseExists(Conflict):
    """The id chosen for a lease is taken (etcd: `lease already exists`)."""


class Compacted(StoreError):
    """The revision asked for is no longer kept: range again, then watch from there. `revision` is the last compacted
    one, which a range can still read."""

    kind = "conflict"

    def __init__(self, message: str, revision: int = 0) -> None:
        super().__init__(message)
        self.revision = revision


class Unavailable(StoreError):
    """Not now: disk full or failing, store closed. Nothing was kept, unless it says that the outcome is unknown."""

    kind = "unavailable"


class NoSpace(Unavailable):
    """The store is as large as it may become: only reads, deletes and compaction (etcd: `database space exceeded`)."""


class Denied(StoreError):
    """Who asks may not (etcd: `permission denied`, and whatever is wrong with a name, a password or a token)."""

    kind = "denied"


class Corrupt(StoreError):
    """What is on disk is not a store, or no longer: a person must restore a copy."""
