"""The leases on the event loop's clock: begun and ended by what became durable, ended for good by one more request."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from .draft import Draft
from .leases import Leases


class Lessor:
    """`end(lease)` is called when a lease's time is over, and again until its end is durable."""

    def __init__(self, ttls: Mapping[int, float], end: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._leases = Leases(ttls, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._leases)

    def __iter__(self) -> Iterator[int]:
        return iter(self._leases)

    def renew(self, lease: int) -> float:
        """Begin the lease's time anew; returns its ttl in seconds. NotFound when it has ended."""
        return self._leases.renew(lease, self._loop.time())

    def time_to_live(self, lease: int) -> tuple[float, float]:
        """The seconds a lease was granted and those that remain. NotFound when it has ended."""
        return self._leases.time_to_live(lease, self._loop.time())

    def follow(self, draft: Draft) -> None:
        """A draft is durable: begin and end what it did."""
        now = self._loop.time()
        for lease, ttl in draft.granted.items():
            self._leases.begin(lease, ttl, now)
        for lease in draft.ended:
            self._leases.end(lease)
        if draft.granted:
            self._arm()

    def restart(self) -> None:
        """Begin every lease's time anew: nobody could renew it meanwhile."""
        self._leases.restart(self._loop.time())

    def stop(self) -> None:
        """No lease ends any more."""
        if self._timer:
            self._timer.cancel()

    def _arm(self) -> None:
        self.stop()
        deadline = self._leases.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        for lease in self._leases.due(self._loop.time()):
            self._end(lease)
        self._arm()
