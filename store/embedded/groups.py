"""Groups of requests: drafted together, made durable together, and only then answered and seen.

Everything here runs on the event loop's thread. One group at a time is made durable, and it was drafted over what is
committed; requests that come meanwhile form the next group. So a group that fails takes nothing else with it. When the
disk can no longer be trusted the group's outcome may be unknown: everything is refused then, until what is durable has
been read again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import StoreError, Unavailable
from .draft import Draft

GROUP = 1024


@dataclass(slots=True)
class Request:
    """One change that somebody may wait for; `act` runs it on a draft."""

    act: Callable[[Draft], Any]
    done: "asyncio.Future[Any] | None"
    result: Any = None
    error: StoreError | None = None


class Groups:
    """Drafts each group over what is committed (`begin`) and hands it to `persist`, which calls `settle` or `lose` in
    the end; `merged` hears of what is durable."""

    def __init__(
        self,
        begin: Callable[[], Draft],
        persist: Callable[[Draft, list[Request]], None],
        merged: Callable[[Draft], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin, self._persist, self._merged = begin, persist, merged
        self._waiting: deque[Request] = deque()
        self._flying = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._down: StoreError | None = None
        self._closed = False

    def check(self) -> None:
        """Unavailable when the store is closed; why, while it cannot be used."""
        if self._closed:
            raise Unavailable("the store is closed")
        if self._down is not None:
            raise self._down.with_traceback(None)  # the same one each time

    async def submit(self, act: Callable[[Draft], Any]) -> Any:
        """Run a change; returns what it returned when that is durable."""
        self.check()
        done = self._loop.create_future()
        self._enqueue(Request(act, done))
        return await done

    def post(self, act: Callable[[Draft], Any]) -> None:
        """Run a change that nobody waits for; nothing while the store cannot be used."""
        if not self._closed and self._down is None:
            self._enqueue(Request(act, None))

    def settle(self, draft: Draft, requests: list[Request], failure: StoreError | None) -> None:
        """The group is durable, or failed and nothing of it was kept: merge, answer, take the next."""
        if failure is None:
            self.merge(draft)
        _answer(requests, failure)
        if self._waiting:
            self._loop.call_soon(self._depart)
        else:
            self._rest()

    def lose(self, requests: list[Request], failure: StoreError, refusal: StoreError) -> None:
        """The group failed and the disk with it: answer it, and refuse whatever else waits or comes."""
        self._down = refusal
        _answer(requests, failure)
        _answer(self._waiting, refusal)
        self._waiting.clear()
        self._rest()

    def refuse(self, refusal: StoreError) -> None:
        """The disk still cannot be used, for this reason."""
        self._down = refusal

    def resume(self) -> None:
        """What is committed is what is on disk: go on."""
        self._down = None

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything."""
        self._closed = True
        await self._idle.wait()

    def merge(self, draft: Draft) -> None:
        """A draft is durable."""
        draft.merge()
        self._merged(draft)

    def _rest(self) -> None:
        self._flying = False
        self._idle.set()

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if not self._flying:
            self._flying = True
            self._idle.clear()
            self._loop.call_soon(self._depart)

    def _depart(self) -> None:
        """Evaluate everything that waits as one draft and hand it to `persist`."""
        requests = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        draft = self._begin()
        failure: StoreError | None = None
        for request in requests:
            try:
                request.result = request.act(draft)
            except StoreError as error:
                request.error = error
            except Exception as error:  # a defect of ours: half a request may be in the draft, so all of it goes
                failure = StoreError(f"store: {error!r}; nothing of this group was kept; please report this")
        if failure or draft.empty:
            self.settle(draft, requests, failure)
        else:
            self._persist(draft, requests)


def _answer(requests: Iterable[Request], failure: StoreError | None) -> None:
    for request in requests:
        if request.done is None or request.done.done():
            continue
        if error := failure or request.error:
            request.done.set_exception(error)
        else:
            request.done.set_result(request.result)
