"""The kernel on a thread of its own, and work that a cancellation does not cut in two.

The event loop never waits for a system call: everything asked of the kernel runs on one thread, one after the other. A
caller may go away at any moment (a client that hangs up, a time limit, the node's end); `complete` lets what was begun
come to its end, and takes it back if nobody is left to take it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import NetError
from ..world import Kernel

T = TypeVar("T")


class KernelThread:
    """A kernel and the one thread that speaks to it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netd")
        self._kernel: Kernel | None = None

    async def open(self, make: Callable[[], Kernel]) -> None:
        """Make the kernel on its thread."""
        self._kernel = await asyncio.get_running_loop().run_in_executor(self._thread, make)

    def do(self, act: Callable[[Kernel], T]) -> "asyncio.Future[T]":
        """Begin `act` now, after what was begun before; await the result. NetError when not open."""
        if self._kernel is None:
            raise NetError("netd is not open")
        return asyncio.get_running_loop().run_in_executor(self._thread, act, self._kernel)

    async def close(self) -> None:
        """Let go; nothing is removed."""
        if self._kernel is not None:
            await self.do(lambda kernel: kernel.close())
            self._kernel = None
        self._thread.shutdown()


async def complete(work: Coroutine[Any, Any, T], undo: Callable[[], Coroutine[Any, Any, object]] | None = None) -> T:
    """Await `work` to its end, whatever happens to the caller.

    When the caller is cancelled meanwhile, what `work` made is undone, also to the end, and then the cancellation goes
    on; without `undo` what was done stays done.
    """
    outcome, cancelled = await _to_the_end(work)
    if cancelled is not None:
        if undo is not None and not isinstance(outcome, BaseException):
            await _to_the_end(undo())
        raise cancelled
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _to_the_end(work: Coroutine[Any, Any, T]) -> tuple[T | BaseException, asyncio.CancelledError | None]:
    cancelled: asyncio.CancelledError | None = None
    inner = asyncio.gather(work, return_exceptions=True)
    while not inner.done():
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError as error:
            cancelled = error
    return inner.result()[0], cancelled
