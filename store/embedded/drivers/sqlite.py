"""The embedded engine: a log in SQLite (log.py), one writer thread, group commit, one process a directory.

The loop hands the thread one group at a time and hears back after the fsync. When the disk fails, the thread closes the
log and opens it again until that works, and everything is refused meanwhile; a group in doubt counts when it is found
then. The directory belongs to who holds a `flock` on its `lock` file, which names the holder; the kernel lets go when
the process ends, however it ends.
"""

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from io import FileIO
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...errors import Corrupt, StoreError, Unavailable
from ...kv import WatchBatch
from ..base import RING, compacted
from ..draft import Draft
from ..engine import Engine
from ..groups import Request
from ..keyspace import Keyspace
from ..past import Entries, Wanted
from ..upkeep import Size, Snapshot
from . import log, reading
from .directory import lock, sync
from .schema import DAMAGED, NAME, Connect, connect, damaged
from .snapshot import sweep, taken

P = ParamSpec("P")
T = TypeVar("T")
KEEP = 50_000
DELAYS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class SqliteEngine(Engine):
    """A durable store in a directory; use `open`."""

    def __init__(
        self,
        lock: FileIO,
        rows: log.Log,
        keys: Keyspace,
        ttls: dict[int, float],
        ring: int,
        age: float | None,
        quota: int | None,
    ) -> None:
        self.quota, self._allocated = quota, rows.allocated
        super().__init__(keys, ttls, ring=ring, age=age)
        self._loop = asyncio.get_running_loop()
        self._lock, self._log = lock, rows
        self._jobs: queue.SimpleQueue[tuple[Draft, list[Request]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        keep: int | None = KEEP,
        age: float | None = None,
        ring: int = RING,
        quota: int | None = None,
        connect: Connect = connect,
    ) -> "SqliteEngine":
        """Open or create the store in `directory`. A watch or a read may go up to `keep` revisions back (None: all),
        and `age` seconds (None: any), `ring` revisions of that from memory; `quota` is how large the database may grow,
        in bytes (None: as the disk allows; etcd's default is 2 GiB); `connect` opens the writer's connection.
        Conflict when another process has it, Unavailable when the disk refuses, Corrupt when it is damaged."""
        lock, rows, keys, ttls = await asyncio.to_thread(_load, directory, keep, connect)
        return cls(lock, rows, keys, ttls, ring, age, quota)

    def persist(self, draft: Draft, requests: list[Request]) -> None:
        self._jobs.put((draft, requests))

    def room(self) -> int | None:
        return None if self.quota is None else self.quota - self._allocated

    def kept_from(self) -> int:
        return self.keys.compacted + 1

    async def history(
        self, low: bytes, high: bytes | None, first: int, last: int
    ) -> tuple[list[WatchBatch[bytes]], int]:
        page = await self._read(reading.history, low, high, first, last)
        if page is None:
            raise compacted(first, self.keys.compacted)
        return page

    async def lookup(self, wanted: Sequence[Wanted]) -> Entries:
        return await self._read(reading.lookup, wanted)

    async def hash_rows(self, oldest: int, upto: int) -> int:
        crc = await self._read(reading.crc, oldest, upto)
        if crc is None:
            raise compacted(oldest, self.keys.compacted)
        return crc

    async def size(self) -> Size:
        """How large the database is."""
        self.groups.check()
        allocated, in_use = await self._read(reading.size)
        return Size(allocated=allocated, in_use=in_use)

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """A copy of everything as of one revision, while writes go on; it needs as much space again in the directory.
        Unavailable. `restore` of the `snapshot` driver makes a store of it."""
        self.groups.check()
        return taken(self._log.file)

    async def _read(self, read: Callable[Concatenate[Path, P], T], *given: P.args, **how: P.kwargs) -> T:
        try:
            return await asyncio.to_thread(read, self._log.file, *given, **how)
        except sqlite3.Error as error:
            raise Unavailable(f"store: cannot read the log: {error}") from error

    async def close(self) -> None:
        await super().close()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._log.close()
        self._lock.close()

    def _write(self) -> None:
        """The writer thread: one transaction a group, then back to the loop."""
        while (job := self._jobs.get()) is not None:
            draft, requests = job
            failure: StoreError | None = None
            try:
                self._log.append(draft)
            except StoreError as error:
                failure = error
            if failure is None or self._log.sound:
                self._tell(self._written, draft, requests, failure, self._log.compacted, self._log.allocated)
                continue
            self._tell(self.groups.lose, requests, failure, _down(self._log.file, failure.__cause__ or failure))
            if not self._recover(draft):
                return

    def _recover(self, draft: Draft) -> bool:
        """Open the log anew, as often as it takes; False when the store is closed before."""
        for delay in itertools.chain(DELAYS, itertools.repeat(DELAYS[-1])):
            with contextlib.suppress(queue.Empty):
                self._jobs.get(timeout=delay)
                return False
            try:
                self._log.reopen()
                keys, ttls = self._log.read()
            except (StoreError, sqlite3.Error) as error:
                self._tell(self.groups.refuse, _down(self._log.file, error))
            else:
                self._log.sound = True
                self._tell(self._found, draft, keys, ttls, self._log.compacted)
                return True
        raise AssertionError("not reached")

    def _tell(self, report: Callable[..., None], *what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who waits
            self._loop.call_soon_threadsafe(report, *what)

    def _written(
        self, draft: Draft, requests: list[Request], failure: StoreError | None, compacted: int, allocated: int
    ) -> None:
        self.keys.compacted, self._allocated = compacted, allocated
        self.groups.settle(draft, requests, failure)

    def _found(self, draft: Draft, keys: Keyspace, ttls: dict[int, float], compacted: int) -> None:
        """The log is open again: go on with what it has, the draft in doubt included when it is there."""
        if draft.is_in(keys, ttls):
            self.groups.merge(draft)
        same = (keys.revision, keys.items, keys.meta) == (self.keys.revision, self.keys.items, self.keys.meta)
        if not same or ttls.keys() != set(self.lessor):
            self.groups.refuse(damaged(self._log.file, "the disk lost what it had acknowledged"))
            return
        self.keys.compacted = compacted
        self.lessor.restart()
        self.groups.resume()


def _down(file: Path, error: BaseException) -> StoreError:
    """What everybody is told while the log cannot be used."""
    if isinstance(error, Corrupt) or getattr(error, "sqlite_errorname", "").startswith(DAMAGED):
        return error if isinstance(error, Corrupt) else damaged(file, error)
    return Unavailable(
        f"store: {file} failed ({error}); it is opened again as soon as the disk allows; nothing was done"
    )


def _load(directory: Path, keep: int | None, connect: Connect) -> tuple[FileIO, log.Log, Keyspace, dict[int, float]]:
    file = directory / NAME
    try:
        with contextlib.ExitStack() as undo:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = undo.enter_context(lock(directory))
            sweep(directory)
            rows = undo.enter_context(contextlib.closing(log.Log(file, keep, connect)))
            keys, ttls = rows.read()
            sync(directory)
            undo.pop_all()
    except sqlite3.Error as error:
        # no name: Python could not make sense of what it read
        if getattr(error, "sqlite_errorname", DAMAGED[0]).startswith(DAMAGED):
            raise damaged(file, error) from error
        raise _unusable(directory, error) from error
    except OSError as error:
        raise _unusable(directory, error.strerror) from error
    return held, rows, keys, ttls


def _unusable(directory: Path, reason: object) -> Unavailable:
    return Unavailable(f"store in {directory}: {reason}; check the directory's rights and the disk's space")
