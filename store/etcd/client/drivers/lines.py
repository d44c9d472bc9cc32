"""All watches of a store, and the tasks of the lines that carry them (line.py)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ....errors import Unavailable
from ... import etcd_pb2 as pb
from .line import Line
from .pool import CLOSED, Pool
from .watcher import Watcher


class Lines:
    """All watches of a store. `tasks` owns the lines."""

    def __init__(self, pool: Pool, tasks: asyncio.TaskGroup, *, silence: float) -> None:
        self._pool, self._tasks, self._silence = pool, tasks, silence
        self._shared: Line | None = None
        self._running: dict[Line, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def watch(self, request: pb.WatchCreateRequest, first: int, *, known: bool) -> AsyncIterator[Watcher]:
        """Events from `first` on; entered when the server has the watch. StoreError."""
        self._pool.check()
        watcher, line = Watcher(request, first, known=known), self._line()
        line.join(watcher)
        try:
            async with asyncio.timeout(self._pool.timeout):
                await watcher.created.wait()
            watcher.check_unread()
            yield watcher
        except TimeoutError:
            if watcher.created.is_set():
                raise
            raise Unavailable(self._pool.story()) from None
        finally:
            line.leave(watcher)
            if line is not self._shared:
                self._end(line)

    def _line(self) -> Line:
        if not self._pool.shares:
            return self._start(Line(self._pool, silence=self._silence))
        if self._shared is None:
            self._shared = self._start(Line(self._pool, silence=None))
        return self._shared

    def _start(self, line: Line) -> Line:
        self._running[line] = self._tasks.create_task(line.run())
        return line

    def _end(self, line: Line) -> None:
        if task := self._running.pop(line, None):
            task.cancel()

    async def close(self) -> None:
        """End every watch after what was received."""
        self._pool.closed = True
        running, self._running = dict(self._running), {}
        for line, task in running.items():
            line.end(Unavailable(CLOSED))
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
