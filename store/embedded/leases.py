"""Leases on a clock that the caller brings: which live, and which are due to end.

A lease is granted once and renewed at will; its time begins anew at each renewal. A lease past its time cannot be
renewed, though its keys stay until their deletion is durable: `due` names it again every RETRY seconds until `end`.
The heap holds one moment a lease, looked at again when it comes: a renewal costs nothing there. Pure.
"""

import heapq
from collections.abc import Iterator, Mapping

from ..errors import LeaseNotFound

RETRY = 1.0


class Leases:
    """Times to live in seconds, by lease; `now` is any clock that only goes forward."""

    def __init__(self, ttls: Mapping[int, float], now: float) -> None:
        self._ttls: dict[int, float] = {}
        self._until: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        for lease, ttl in ttls.items():
            self.begin(lease, ttl, now)

    def begin(self, lease: int, ttl: float, now: float) -> None:
        """A lease is granted."""
        self._ttls[lease] = ttl
        self._until[lease] = now + ttl
        heapq.heappush(self._heap, (now + ttl, lease))

    def renew(self, lease: int, now: float) -> float:
        """Begin the lease's time anew; returns its ttl. NotFound when it has ended or its time is over."""
        if self._until.get(lease, now) <= now:
            raise LeaseNotFound(f"lease {lease} does not exist; it has ended or was never granted")
        self._until[lease] = now + self._ttls[lease]
        return self._ttls[lease]

    def time_to_live(self, lease: int, now: float) -> tuple[float, float]:
        """The seconds a lease was granted and those that remain. NotFound as `renew`."""
        remaining = self._until.get(lease, now) - now
        if remaining <= 0:
            raise LeaseNotFound(f"lease {lease} does not exist; it has ended or was never granted")
        return self._ttls[lease], remaining

    def restart(self, now: float) -> None:
        """Begin every living lease's time anew."""
        for lease, ttl in self._ttls.items():
            self._until[lease] = now + ttl

    def end(self, lease: int) -> None:
        """A lease is gone, its keys with it."""
        self._ttls.pop(lease, None)
        self._until.pop(lease, None)

    def due(self, now: float) -> list[int]:
        """Leases whose time is over, sorted; each is named again after RETRY seconds if it has not ended by then."""
        over = []
        while self._heap and self._heap[0][0] <= now:
            _, lease = heapq.heappop(self._heap)
            until = self._until.get(lease)
            if until is None:
                continue
            if until <= now:
                over.append(lease)
            heapq.heappush(self._heap, (until if until > now else now + RETRY, lease))
        return sorted(over)

    def deadline(self) -> float | None:
        """When to ask `due` next, or None."""
        return self._heap[0][0] if self._heap else None

    def __contains__(self, lease: int) -> bool:
        return lease in self._ttls

    def __len__(self) -> int:
        return len(self._ttls)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ttls)
