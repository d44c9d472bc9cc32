"""Watches on the line: one stream carries all of them (gRPC), or each has its own (the JSON gateway).

A line's task opens a stream, asks for every watch that has room, hands each response to its watcher, and does so again
elsewhere when the stream ends. Every watcher knows its next revision, so nothing is lost and nothing comes twice,
however often. A stream is opened so that a member which has no leader ends it.
"""

import asyncio
from collections import deque

from ....errors import Denied, StoreError, Unavailable
from ... import etcd_pb2 as pb
from ...errors import Code, EtcdError
from ...services import WATCH
from ..endpoints import Endpoint
from ..retry import Turn, judge
from ..transport import Failed, Stream
from .pool import Pool, error_of
from .progress import Progress
from .session import SURE
from .watcher import Watcher

ALL = -1  # the watch id of what concerns a whole stream
WatchStream = Stream[pb.WatchRequest, pb.WatchResponse]


class Line:
    """The watches of one stream. `silence` seconds without a word end a stream that cannot be asked for a sign of
    life (None: it can)."""

    def __init__(self, pool: Pool, *, silence: float | None) -> None:
        self._pool, self._silence = pool, silence
        self._watchers: set[Watcher] = set()
        self._ids: dict[int, Watcher] = {}
        self._last_id = 0
        self._asked: deque[int] = deque()
        self._out: asyncio.Queue[pb.WatchRequest] | None = None
        self._wanted = asyncio.Event()
        self._token = ""
        self._progress = Progress(pool)

    def join(self, watcher: Watcher) -> None:
        watcher.emptied = lambda: self._create(watcher)
        watcher.ask = self._ask_progress if self._silence is None else None
        self._watchers.add(watcher)
        self._wanted.set()
        self._create(watcher)

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._cancel(watcher)
        if not self._watchers:
            self._wanted.clear()

    def end(self, error: StoreError) -> None:
        """Every watch ends after what was received."""
        for watcher in self._watchers:
            watcher.end(error)
        self._watchers.clear()
        self._wanted.clear()

    async def run(self) -> None:
        """Keep the watches fed, for ever."""
        while True:
            await self._wanted.wait()
            try:
                await self._session()
            except (EtcdError, Failed) as failure:
                await self._answered(failure)
            except StoreError as error:
                if self._pool.closed or not isinstance(error, Unavailable):
                    self.end(error)
            finally:
                self._hang_up()

    async def _answered(self, failure: EtcdError | Failed) -> None:
        """The stream ended or was refused: log in anew, go elsewhere, or give up."""
        turn = judge(failure, repeatable=True, user=bool(self._token))
        try:
            if turn is Turn.LOG_IN and self._pool.session.credentials:
                await self._pool.session.renew(self._token)
            elif turn is not Turn.ELSEWHERE and isinstance(failure, EtcdError):
                self.end(error_of(failure))
        except Unavailable:
            return
        except StoreError as error:
            self.end(error)

    async def _session(self) -> None:
        """One stream, from its opening to its end. EtcdError, Failed, StoreError."""
        failure: Exception = Failed("the stream ended", sent=True)
        async with self._pool.stream(WATCH) as (stream, endpoint, token):
            self._out, self._token = asyncio.Queue(), token
            self._progress.opened(endpoint, self._out)
            for watcher in self._watchers:
                self._create(watcher)
            try:
                async with asyncio.TaskGroup() as tasks:
                    writing = tasks.create_task(self._write(stream, self._out))
                    await self._read(stream, endpoint)
                    writing.cancel()
            except* (EtcdError, Failed, StoreError) as group:
                failure = _first(group)
            raise failure

    async def _write(self, stream: WatchStream, out: asyncio.Queue[pb.WatchRequest]) -> None:
        while True:
            await stream.send(await out.get())

    async def _read(self, stream: WatchStream, endpoint: Endpoint) -> None:
        worked = False
        while self._watchers or self._silence is None:
            response = await self._receive(stream)
            if response is None:
                return
            if not worked:
                worked = True
                self._pool.roster.worked(endpoint)
            await self._told(response)
            if self._silence is not None:  # a stream of its own: what is not read is held back
                for watcher in self._watchers:
                    await watcher.room.wait()

    async def _receive(self, stream: WatchStream) -> pb.WatchResponse | None:
        """The next response; a creation is answered within the time of a call."""
        limit = self._pool.timeout if self._asked else self._silence
        if limit is None:
            return await stream.receive()
        try:
            async with asyncio.timeout(limit):
                return await stream.receive()
        except TimeoutError:
            raise Failed(f"silent for {limit:g} s", sent=True) from None

    def _hang_up(self) -> None:
        self._out = None
        self._ids.clear()
        self._asked.clear()
        self._progress.closed()

    def _create(self, watcher: Watcher) -> None:
        """Ask for a watch, on the stream that is open."""
        if self._out is None or watcher.ended or watcher not in self._watchers or watcher.id in self._ids:
            return
        if not watcher.room.is_set():
            return
        self._last_id += 1
        watcher.id = self._last_id
        self._ids[watcher.id] = watcher
        self._asked.append(watcher.id)
        request = pb.WatchCreateRequest(start_revision=watcher.start(), watch_id=watcher.id)
        request.MergeFrom(watcher.request)
        self._out.put_nowait(pb.WatchRequest(create_request=request))

    def _cancel(self, watcher: Watcher) -> None:
        """Tell the server not to go on; what it has sent already is nobody's."""
        if self._ids.pop(watcher.id, None) is not None and self._out is not None and self._silence is None:
            self._out.put_nowait(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watcher.id)))

    async def _told(self, response: pb.WatchResponse) -> None:
        if response.created:
            watcher = self._ids.get(self._asked.popleft()) if self._asked else None
            if watcher is not None and not response.canceled:
                watcher.created.set()
        else:
            watcher = self._ids.get(response.watch_id)
        if response.watch_id == ALL and not response.canceled:
            return self._progressed(response)
        if watcher is None:
            return None
        if response.canceled:
            return await self._cancelled(watcher, response)
        if response.created and not response.events:
            return None
        watcher.take(response)
        if not watcher.room.is_set() and self._silence is None:
            self._cancel(watcher)
        return None

    async def _cancelled(self, watcher: Watcher, response: pb.WatchResponse) -> None:
        """The server ended a watch: its past is gone, its user may not, or it shall be asked for again."""
        self._ids.pop(watcher.id, None)
        if response.compact_revision:
            if response.compact_revision >= watcher.cursor.next or not watcher.early:
                self._over(watcher, watcher.too_late(response.compact_revision))
                return
            # a server that refuses what begins at the compacted revision, so we need not begin a revision earlier
            watcher.known = True
            if self._silence is not None:
                raise Failed("it keeps less than etcd would", sent=True)
            self._create(watcher)
            return
        reason = response.cancel_reason.rpartition("desc = ")[2]
        if not reason and self._silence is None:
            self._create(watcher)
            return
        failure = _cancel_error(reason)
        session = self._pool.session
        if isinstance(failure, Denied) and session.credentials and ("auth token" in reason or session.age > SURE):
            # a member may not know the token yet; 3.4 says "permission denied" of one that it forgot, too
            await session.renew(self._token)
            raise Failed("the token was not taken", sent=True)
        if isinstance(failure, Unavailable) or not reason:
            raise Failed(reason, sent=True)
        self._over(watcher, failure)

    def _over(self, watcher: Watcher, error: StoreError) -> None:
        watcher.end(error)
        self._watchers.discard(watcher)
        if not self._watchers:
            self._wanted.clear()

    def _progressed(self, response: pb.WatchResponse) -> None:
        for id in self._progress.told():
            if watcher := self._ids.get(id):
                watcher.cursor.passed(response.header.revision)

    async def _ask_progress(self) -> None:
        await self._progress.ask(lambda: frozenset(self._ids).difference(self._asked))


def _cancel_error(reason: str) -> StoreError:
    code = Code.PERMISSION_DENIED if "permission denied" in reason or "auth token" in reason else Code.UNAVAILABLE
    return error_of(EtcdError(Code.INVALID_ARGUMENT if "empty" in reason else code, reason))


def _first(group: BaseExceptionGroup[EtcdError | Failed | StoreError]) -> EtcdError | Failed | StoreError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
