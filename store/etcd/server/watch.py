"""The Watch service: what a client asks of its stream. What comes back, and when, is the stream's (stream.py)."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from ...auth import AuthError
from ...embedded.engine import Engine
from ...errors import Compacted
from ...kv import EventKind
from .. import etcd_pb2 as pb
from ..errors import told
from .access import Access
from .calls import Caller, Send
from .events import Encoder
from .limits import MAX_WATCHES
from .member import Member
from .stream import NO_WATCH, Bell, Stream, Watch

PROGRESS = 600.0
"""Seconds between progress notifications: etcd's."""
_FILTERS = {pb.WatchCreateRequest.NOPUT: EventKind.PUT, pb.WatchCreateRequest.NODELETE: EventKind.DELETE}


class Places:
    """How many watches a server has, of `most` that it takes."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def take(self) -> None:
        self.taken += 1

    def leave(self) -> None:
        self.taken -= 1


class Watches:
    """The service; `progress` in seconds. It takes `most` watches."""

    def __init__(self, engine: Engine, member: Member, access: Access, *, progress: float, most: int) -> None:
        self._engine, self._member, self._access, self._progress = engine, member, access, progress
        self.places = Places(most)
        self._encoder = Encoder(engine)

    async def watch(self, requests: AsyncIterator[pb.WatchRequest], caller: Caller, send: Send) -> None:
        """Until it is cancelled. Unavailable when the store is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                stream = Stream(self._member, self._encoder, send, tasks)
                asking = _Asking(self._engine, self._member, self._access, caller, stream, self.places)
                try:
                    tasks.create_task(stream.pump())
                    await self._read(requests, asking, stream, tasks)
                    await asyncio.Event().wait()  # who has asked for all goes on listening
                finally:
                    await stream.close()
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _read(
        self,
        requests: AsyncIterator[pb.WatchRequest],
        asking: "_Asking",
        stream: Stream,
        tasks: asyncio.TaskGroup,
    ) -> None:
        notifies = False
        async for request in requests:
            kind = request.WhichOneof("request_union")
            if kind == "create_request":
                await asking.create(request.create_request)
                if request.create_request.progress_notify and not notifies:
                    notifies = True
                    # not all streams at once
                    tasks.create_task(stream.notify(self._progress * random.uniform(1, 1.1)))
            elif kind == "cancel_request":
                await asking.cancel(request.cancel_request.watch_id)
            elif kind == "progress_request":
                stream.ask_progress()


class _Asking:
    """The requests of one stream."""

    def __init__(
        self, engine: Engine, member: Member, access: Access, caller: Caller, stream: Stream, places: Places
    ) -> None:
        self._engine, self._member, self._access = engine, member, access
        self._caller, self._stream, self._places = caller, stream, places
        self._next_id = 0

    async def create(self, request: pb.WatchCreateRequest) -> None:
        """Answered before any event of it; a start that is gone is created first, then canceled."""
        reason = self._refusal(request)
        if reason is not None:
            refused = pb.WatchResponse(watch_id=NO_WATCH, created=True, canceled=True, cancel_reason=reason)
            await self._stream.tell(refused)
            return
        watch_id = request.watch_id or self._free_id()
        # as etcd's, the header says of when the watch is: what comes after that is an event
        created = pb.WatchResponse(header=self._member.header(), watch_id=watch_id, created=True)
        try:
            watch = await self._begin(watch_id, request)
        except Compacted as late:
            await self._stream.tell(created)
            await self._stream.tell_late(watch_id, late)
            return
        await self._stream.tell(created)
        watch.queued = False
        self._stream.queue(watch)

    async def _begin(self, watch_id: int, request: pb.WatchCreateRequest) -> Watch:
        if request.start_revision < 0:
            raise Compacted("a revision before the first", self._engine.compacted)
        leave = AsyncExitStack()
        watcher = await leave.enter_async_context(
            self._engine.watch(
                request.key or b"\0",
                end=request.range_end or None,
                from_revision=request.start_revision or None,
                skips={_FILTERS[each] for each in request.filters if each in _FILTERS},
            )
        )
        self._places.take()
        leave.callback(self._places.leave)
        watch = Watch(watch_id, watcher, leave, request.prev_kv, request.progress_notify, request.fragment)
        watcher.wake = Bell(self._stream, watch)
        self._stream.watches[watch_id] = watch
        return watch

    async def cancel(self, watch_id: int) -> None:
        """Nothing when there is no such watch."""
        watch = self._stream.watches.pop(watch_id, None)
        if watch is not None:
            watch.ended = True
            await watch.leave.aclose()
            await self._stream.tell(pb.WatchResponse(watch_id=watch_id, canceled=True))

    def _refusal(self, request: pb.WatchCreateRequest) -> str | None:
        """Why there is no such watch."""
        key, end = request.key or b"\0", request.range_end
        if self._access.enabled:
            try:
                self._access.guard.range(self._access.who(self._caller), key, end)
            except AuthError as error:
                return told(error).text
        if request.start_revision < 0 and not self._engine.compacted:
            return "etcdserver: mvcc: required revision has been compacted"
        if request.watch_id and request.watch_id in self._stream.watches:
            return "mvcc: duplicate watch ID provided on the WatchStream"
        if end and end != b"\0" and key >= end:
            return "mvcc: watcher range is empty"
        if len(self._stream.watches) >= MAX_WATCHES or self._places.taken >= self._places.most:
            return "etcdserver: too many requests"
        return None

    def _free_id(self) -> int:
        while self._next_id in self._stream.watches:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a stream ended of."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
