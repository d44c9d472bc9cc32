"""The Watch service: what a client asks of its stream, and one thing after the other back.

A stream has one lock: who holds it sends. Answers to requests, the events of watches that keep up (`_Pump`), and those
of each that is behind (`_catch_up`) wait for it in order, so a long past holds nobody up for more than one response,
and a client that reads slowly stops all of them. A watch holds no events but those being sent: it is a cursor (a
`Watcher`), which lags.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from ...auth import AuthError
from ...embedded.engine import Engine
from ...embedded.feed import Watcher
from ...errors import Compacted, Unavailable
from ...kv import EventKind, WatchBatch
from .. import etcd_pb2 as pb
from ..errors import told
from .access import Access
from .calls import Caller, Send
from .events import Encoder
from .member import Member

PROGRESS = 600.0
"""Seconds between progress notifications: etcd's."""
REVISIONS, BYTES = 1000, 1 << 20
"""The most of several revisions that one response has."""
LOADS = 4
"""Pages of the past that a stream has in memory at a time."""
NO_WATCH = -1
_FILTERS = {pb.WatchCreateRequest.NOPUT: EventKind.PUT, pb.WatchCreateRequest.NODELETE: EventKind.DELETE}


class _Bell(asyncio.Event):
    """Rung by the feed when a watch that was up to date has events: puts it on its stream's list."""

    def __init__(self, stream: "_Stream", watch: "_Watch") -> None:
        super().__init__()
        self._stream, self._watch = stream, watch

    def set(self) -> None:
        super().set()
        self._stream.queue(self._watch)


@dataclass(slots=True, eq=False)
class _Watch:
    """One of a stream's; `quiet`: no events since the last progress notification."""

    id: int
    watcher: Watcher
    leave: AsyncExitStack
    prev_kv: bool
    progress: bool
    fragment: bool
    quiet: bool = True
    queued: bool = True
    ended: bool = False


class Watches:
    """The service; `progress` in seconds."""

    def __init__(self, engine: Engine, member: Member, access: Access, *, progress: float = PROGRESS) -> None:
        self._engine, self._member, self._access, self._progress = engine, member, access, progress
        self._encoder = Encoder(engine)

    async def watch(self, requests: AsyncIterator[pb.WatchRequest], caller: Caller, send: Send) -> None:
        """Until it is cancelled. Unavailable when the store is closed."""
        stream = _Stream(self._engine, self._member, self._access, self._encoder, caller, send)
        interval = self._progress * random.uniform(1, 1.1)  # not all of them at once
        try:
            async with asyncio.TaskGroup() as tasks:
                stream.tasks = tasks
                tasks.create_task(stream.read(requests))
                tasks.create_task(stream.pump())
                tasks.create_task(stream.notify(interval))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            await stream.close()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a stream ended of."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(eq=False)
class _Stream:
    engine: Engine
    member: Member
    access: Access
    encoder: Encoder
    caller: Caller
    send: Send
    watches: dict[int, _Watch] = field(default_factory=dict)
    ready: deque[_Watch] = field(default_factory=deque)
    work: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    loads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOADS))
    next_id: int = 0
    asked: bool = False
    tasks: asyncio.TaskGroup = field(init=False)

    def queue(self, watch: _Watch) -> None:
        """There may be something to send of this watch."""
        if not watch.queued:
            watch.queued = True
            self.ready.append(watch)
            self.work.set()

    async def close(self) -> None:
        for watch in self.watches.values():
            await watch.leave.aclose()

    # requests

    async def read(self, requests: AsyncIterator[pb.WatchRequest]) -> None:
        """Do what the client asks; it may stop asking and go on listening."""
        async for request in requests:
            kind = request.WhichOneof("request_union")
            if kind == "create_request":
                await self._create(request.create_request)
            elif kind == "cancel_request":
                await self._cancel(request.cancel_request.watch_id)
            elif kind == "progress_request":
                self.asked = True
                self.work.set()

    async def _create(self, request: pb.WatchCreateRequest) -> None:
        reason = self._refusal(request)
        if reason is not None:
            await self._tell(pb.WatchResponse(watch_id=NO_WATCH, created=True, canceled=True, cancel_reason=reason))
            return
        watch_id, late = request.watch_id or self._free_id(), None
        leave = AsyncExitStack()
        # as etcd's, a header's revision is the store's when the watch was made: what comes after it is an event
        header = self.member.header()
        try:
            if request.start_revision < 0:
                raise Compacted("a revision before the first", self.engine.compacted)
            watcher = await leave.enter_async_context(
                self.engine.watch(
                    request.key or b"\0",
                    end=request.range_end or None,
                    from_revision=request.start_revision or None,
                    skips={_FILTERS[each] for each in request.filters if each in _FILTERS},
                )
            )
        except Compacted as error:
            late = error
        else:
            watch = _Watch(watch_id, watcher, leave, request.prev_kv, request.progress_notify, request.fragment)
            watcher.wake = _Bell(self, watch)
            self.watches[watch_id] = watch
        await self._tell(pb.WatchResponse(header=header, watch_id=watch_id, created=True))
        if late is not None:
            await self._tell(self._too_late(watch_id, late))
        else:
            watch.queued = False
            self.queue(watch)

    def _refusal(self, request: pb.WatchCreateRequest) -> str | None:
        """Why there is no such watch."""
        key, end = request.key or b"\0", request.range_end
        if self.access.enabled:
            try:
                self.access.guard.range(self.access.who(self.caller), key, end)
            except AuthError as error:
                return told(error).text
        if request.start_revision < 0 and not self.engine.compacted:
            return "etcdserver: mvcc: required revision has been compacted"
        if request.watch_id and request.watch_id in self.watches:
            return "mvcc: duplicate watch ID provided on the WatchStream"
        if end and end != b"\0" and key >= end:
            return "mvcc: watcher range is empty"
        return None

    def _free_id(self) -> int:
        while self.next_id in self.watches:
            self.next_id += 1
        self.next_id += 1
        return self.next_id - 1

    async def _cancel(self, watch_id: int) -> None:
        watch = self.watches.pop(watch_id, None)
        if watch is not None:
            watch.ended = True
            await watch.leave.aclose()
            await self._tell(pb.WatchResponse(watch_id=watch_id, canceled=True))

    def _too_late(self, watch_id: int, error: Compacted) -> pb.WatchResponse:
        header = self.member.header(0)
        return pb.WatchResponse(header=header, watch_id=watch_id, canceled=True, compact_revision=error.revision)

    async def _tell(self, response: pb.WatchResponse) -> None:
        if not response.HasField("header"):
            response.header.CopyFrom(self.member.header())
        async with self.lock:
            await self.send(response.SerializeToString())

    # events

    async def pump(self) -> None:
        """Send what the watches have that keep up, each in its turn."""
        while True:
            if not self.ready:
                await self._answer_progress()
                self.work.clear()
                await self.work.wait()
            while self.ready:
                watch = self.ready.popleft()
                watch.queued = False
                if watch.ended:
                    continue
                if _behind(watch.watcher):
                    watch.queued = True
                    self.tasks.create_task(self._catch_up(watch))
                else:
                    await self._send_new(watch)

    async def _send_new(self, watch: _Watch) -> None:
        watcher, batches, size = watch.watcher, list[WatchBatch[bytes]](), 0
        async with self.lock:
            while len(batches) < REVISIONS and size < BYTES and not _behind(watcher):
                batch = watcher.feed.read(watcher)
                if batch is None:
                    break
                batches.append(batch)
                size += self.encoder.size(batch, watch.prev_kv)
            else:
                self.queue(watch)
            if batches and not watch.ended:
                await self._send(watch, batches)
        if watcher.feed.ended:
            raise Unavailable("the store is closed")

    async def _catch_up(self, watch: _Watch) -> None:
        """Send what is no longer in the feed's ring, a page at a time."""
        watcher = watch.watcher
        try:
            while _behind(watcher) and not watch.ended:
                async with self.loads:
                    await self._send_page(watch)
        except Compacted as error:
            if self.watches.pop(watch.id, None) is watch:
                watch.ended = True
                await watch.leave.aclose()
                await self._tell(self._too_late(watch.id, error))
            return
        watch.queued = False
        self.queue(watch)

    async def _send_page(self, watch: _Watch) -> None:
        watcher = watch.watcher
        if not watcher.page:
            batches, seen = await watcher.history(watcher.low, watcher.high, watcher.next, watcher.feed.first - 1)
            watcher.page.extend(part for batch in batches if (part := watcher.cut(batch)))
            watcher.next = seen + 1
        while watcher.page:
            chunk, size = list[WatchBatch[bytes]](), 0
            while watcher.page and size < BYTES:
                chunk.append(watcher.page.popleft())
                size += self.encoder.size(chunk[-1], watch.prev_kv)
            async with self.lock:
                if watch.ended:
                    return
                await self._send(watch, chunk)

    async def _send(self, watch: _Watch, batches: list[WatchBatch[bytes]]) -> None:
        watch.quiet = False
        header = self.member.header()
        for part in self.encoder.responses(header, watch.id, batches, watch.prev_kv, watch.fragment):
            await self.send(part)

    # progress

    async def notify(self, seconds: float) -> None:
        """Tell watches that asked for it, and have heard of no event for so long, up to where there was none."""
        while True:
            await asyncio.sleep(seconds)
            for watch in [each for each in self.watches.values() if each.progress]:
                if watch.quiet:
                    await self._progress([watch], watch.id)
                watch.quiet = True

    async def _answer_progress(self) -> None:
        if self.asked and await self._progress(list(self.watches.values()), NO_WATCH):
            self.asked = False

    async def _progress(self, watches: list[_Watch], watch_id: int) -> bool:
        async with self.lock:
            if any(watch.ended or watch.queued or watch.watcher.progress is None for watch in watches):
                return False
            await self.send(pb.WatchResponse(header=self.member.header(), watch_id=watch_id).SerializeToString())
            return True


def _behind(watcher: Watcher) -> bool:
    """Whether the ring has gone on without it."""
    return bool(watcher.page) or watcher.next < watcher.feed.first
