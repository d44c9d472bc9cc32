"""What can go wrong in the store, by what the caller can do about it."""


class StoreError(Exception):
    """Base of the store's errors; `kind` decides exit code and HTTP status."""

    kind = "failed"


class Invalid(StoreError):
    """The request makes no sense as written."""

    kind = "usage"


class NotFound(StoreError):
    """No such lease."""

    kind = "not-found"


class Conflict(StoreError):
    """Somebody else holds what was asked for."""

    kind = "conflict"


class Compacted(StoreError):
    """The revision asked for is no longer kept: range again, then watch from there."""

    kind = "conflict"


class Unavailable(StoreError):
    """Not now: disk full or failing, store closed. Nothing was kept, unless it says that the outcome is unknown."""

    kind = "unavailable"


class Corrupt(StoreError):
    """What is on disk is not a store, or no longer: a person must restore a copy."""
