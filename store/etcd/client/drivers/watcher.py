"""One watch as its reader sees it: revisions in order from a buffer, whatever happens to the stream behind it.

The buffer is bounded. When it is full the watch is ended at the server (lines.py), and begun again from where it was
when the reader has emptied it; so a slow reader stops nobody else, and is told Compacted when it comes too late.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ....errors import Compacted, StoreError
from ....kv import WatchBatch
from ... import etcd_pb2 as pb
from ..cursor import Cursor

FULL, FULL_BYTES = 4096, 16 * 1024 * 1024  # events, and bytes of their values


def size(batch: WatchBatch[bytes]) -> int:
    """The bytes of its values."""
    return sum(len(each.kv.value) + (len(each.prev.value) if each.prev else 0) for each in batch.events)


class Watcher:
    """A `Watch[bytes]`. `ask` asks the server how far it is, where that can be trusted."""

    def __init__(self, request: pb.WatchCreateRequest, first: int, *, known: bool) -> None:
        self.request = request
        self.cursor = Cursor(first)
        # whether history before `first` was seen to be kept; then a creation need not look back
        self.known = known
        self.early = False  # whether the server was asked to begin a revision earlier (Cursor.again)
        self.id = 0
        self.created = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.ask: Callable[[], Awaitable[None]] | None = None
        self.emptied: Callable[[], None] = lambda: None
        self._news = asyncio.Event()
        self._ready: deque[WatchBatch[bytes]] = deque()
        self._buffered = self._bytes = 0
        self._error: StoreError | None = None

    @property
    def ended(self) -> bool:
        return self._error is not None

    def start(self) -> int:
        """Where the server is to begin."""
        self.early, self.known = not self.known, False
        again = self.cursor.again()
        return again if self.early else self.cursor.next

    def too_late(self, compacted: int) -> Compacted:
        """The error of a watch whose next revision is gone."""
        late = f"revision {self.cursor.next} is no longer kept"
        return Compacted(f"{late}; range again and watch from the revision after its own", compacted)

    def take(self, response: pb.WatchResponse) -> None:
        """Events, or a word that there were none."""
        if not response.events:
            self.cursor.passed(response.header.revision)
            return
        for batch in self.cursor.take(response):
            self._ready.append(batch)
            self._buffered += len(batch.events)
            self._bytes += size(batch)
        if self._ready:
            self._news.set()
        if self._buffered > FULL or self._bytes > FULL_BYTES:
            self.room.clear()

    def end(self, error: StoreError) -> None:
        """No more after what is in the buffer."""
        if self._error is None:
            self._error = error
        self._news.set()
        self.created.set()

    def check(self) -> None:
        """Raise what ended the watch, if anything did."""
        if self._error is not None:
            raise self._error

    def check_unread(self) -> None:
        """The same at entry, where nothing was received yet."""
        if not self._ready:
            self.check()

    def __aiter__(self) -> "Watcher":
        return self

    async def __anext__(self) -> WatchBatch[bytes]:
        while not self._ready:
            self.check()
            self._news.clear()
            await self._news.wait()
        batch = self._ready.popleft()
        self._buffered -= len(batch.events)
        self._bytes -= size(batch)
        if not self._ready and not self.room.is_set():
            self.room.set()
            self.emptied()
        return batch

    async def wait(self, seconds: float) -> WatchBatch[bytes]:
        """The next batch; when none came for so long, how far the watch is known to have come."""
        try:
            async with asyncio.timeout(seconds):
                return await anext(self)
        except TimeoutError:
            pass
        if self.ask is not None:
            await self.ask()
        return await anext(self) if self._ready else WatchBatch(revision=self.cursor.next - 1, events=())
