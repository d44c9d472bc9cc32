"""What can go wrong in the store, by what the caller can do about it."""


class StoreError(Exception):
    """Base of the store's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(StoreError):
    """The request makes no sense as written."""

    kind = "usage"


class Future(Invalid):
    """The revision asked for is yet to come (etcd: OutOfRange, `required revision is a future revision`)."""


class DuplicateKey(Invalid):
    """A transaction puts a key twice, or puts and deletes it (etcd: `duplicate key given in txn request`)."""


class TooManyOps(Invalid):
    """A transaction is too long (etcd: `too many operations in txn request`)."""


class NoKey(Invalid):
    """The key whose value or lease a put would keep is not there (etcd: `key not found`)."""


class NotFound(StoreError):
    """No such lease."""

    kind = "not-found"


class Conflict(StoreError):
    """Somebody else holds what was asked for."""

    kind = "conflict"


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


class Corrupt(StoreError):
    """What is on disk is not a store, or no longer: a person must restore a copy."""
