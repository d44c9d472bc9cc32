"""The lease of one announcement as a machine: held and renewed every third of its ttl, or lost and granted again.

What it wants done is `want(now)`; the driver does it and reports `granted`, `renewed`, `lost` or `failed`. A failure
(the store is away) is tried again with a growing delay; a lease is renewed until the store says that it has ended, and
then a new one is granted and the record put again. Pure: `now` is an argument.
"""

from dataclasses import dataclass
from enum import StrEnum

RETRY_FIRST, RETRY_MAX = 0.1, 5.0


class Want(StrEnum):
    """What is to be done for a lease."""

    NOTHING = "nothing"
    GRANT = "grant"
    RENEW = "renew"


@dataclass(slots=True)
class LeaseHold:
    """`lease` is None while none is held; `ttl` in seconds."""

    ttl: float
    lease: int | None = None
    due: float = 0.0
    delay: float = 0.0

    def want(self, now: float) -> Want:
        """What is to be done now."""
        if now < self.due:
            return Want.NOTHING
        return Want.GRANT if self.lease is None else Want.RENEW

    def deadline(self) -> float:
        """When `want` may want something."""
        return self.due

    def granted(self, lease: int, now: float) -> None:
        """A lease is held and the record hangs on it."""
        self.lease = lease
        self.renewed(now)

    def renewed(self, now: float) -> None:
        """The lease's time began anew."""
        self.due, self.delay = now + self.ttl / 3, 0.0

    def lost(self, now: float) -> None:
        """The lease ended, or the record went away from it: grant again at once."""
        self.lease, self.due, self.delay = None, now, 0.0

    def failed(self, now: float) -> None:
        """The store did not do it: again after 0.1 s, doubling up to 5 s or a third of the ttl."""
        self.delay = min(self.delay * 2 or RETRY_FIRST, RETRY_MAX, self.ttl / 3)
        self.due = now + self.delay
